"""The OpenAPI 3.1 document, written from the registries: what is registered is described."""

from collections.abc import Mapping
from typing import Any

from commands.kernel import COMMANDS
from infra.http.openapi.compact import compacted
from infra.http.openapi.operations import of_collection, of_command, of_query
from infra.http.openapi.parts import STANDING
from infra.http.openapi.schemas import Schemas
from queries.kernel import COLLECTIONS, QUERIES


def document(version: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document; `extra` holds the paths that stand in no registry."""
    schemas = Schemas()
    schemas.components.update(STANDING)
    paths: dict[str, Any] = {}
    for spec in COMMANDS.values():
        if spec.permission != "operator":
            paths.setdefault(f"/v1{spec.path}", {})[spec.method.lower()] = of_command(spec, schemas)
    for c in COLLECTIONS.values():
        for path, operations in of_collection(c, schemas).items():
            paths.setdefault(path, {}).update(operations)
    for q in QUERIES.values():
        paths.setdefault(f"/v1{q.path}", {})[q.method.lower()] = of_query(q, schemas)
    for path, operations in extra.items():
        paths.setdefault(path, {}).update(operations)
    return compacted(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Chancery",
                "version": version,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                "description": "Commands in, queries out, every change on one append-only record.",
            },
            "security": [{"key": []}],
            "tags": [{"name": c.name, "description": c.title} for c in sorted(COLLECTIONS.values(), key=lambda c: c.name)],
            "paths": dict(sorted(paths.items())),
            "components": {
                "schemas": schemas.used(paths.values()),
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, chy_…"}},
            },
        }
    )
