"""The OpenAPI 3.1 document, written from the registries: what is registered is described."""

from collections.abc import Mapping
from typing import Any

from commands.kernel import COMMANDS
from infra.http.openapi.compact import compacted
from infra.http.openapi.operations import of_collection, of_command, of_query
from infra.http.openapi.parts import STANDING
from infra.http.openapi.schemas import Schemas
from queries.kernel import COLLECTIONS, QUERIES

TAGS = {
    "activity": "What happened in the firm: counts by day, week or month and by who did it",
    "changes": "Live changes of the firm as server-sent events",
    "compliance": "What a supervisor asks: consents by purpose, gaps of proof, what ends soon, whom to ask again",
    "consent": "Acts of consent, decisions whom we may contact, receipts, and a person's own choices",
    "dashboard": "One page of figures: deals, tasks, trends",
    "graph": "Who knows, worked with or sent whom: neighbourhoods, paths, referrals, communities, Cypher",
    "load": "Who has how much to do",
    "log": "The signed log of the firm: checkpoints, tiles, proofs, cosignatures, timestamps, verification",
    "me": "Who this key is, and the day of whoever holds it",
    "operation": "What watches the installation: health, readiness, measurements, this document",
    "privacy": "What people ask about their data: requests with their deadlines, erasure, legal holds, a copy of everything held",
    "search": "Search over everything, with suggestions while typing",
    "undo": "Taking a change back, with a preview",
}
"""What operations are about that belong to no list."""


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
            "tags": [
                {"name": name, "description": about}
                for name, about in sorted((TAGS | {c.name: c.title for c in COLLECTIONS.values()}).items())
            ],
            "paths": dict(sorted(paths.items())),
            "components": {
                "schemas": schemas.used(paths.values()),
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, chy_…"}},
            },
        }
    )
