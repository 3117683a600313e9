"""The schemas of what the registries hold, from their own types."""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from commands.kernel import COMMANDS
from domain.hints import personal_mark
from infra.http.openapi.parts import REF, UUID_SCHEMA
from queries.kernel import COLLECTIONS, QUERIES, Collection
from queries.listing.fields import is_hidden


def _plain_name(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", ".", key).strip(".")


class Schemas:
    """Component schemas of all models together, so that two of one name in different modules get different names."""

    def __init__(self) -> None:
        commands = [(s.model, "validation", TypeAdapter(s.model)) for s in COMMANDS.values()]
        queries = [(q.model, "validation", TypeAdapter(q.model)) for q in QUERIES.values()]
        rows = [(c.view.row, "serialization", TypeAdapter(c.view.row)) for c in COLLECTIONS.values()]
        inputs: list[Any] = list(
            {(model, mode): (model, mode, adapter) for model, mode, adapter in commands + queries + rows}.values()
        )
        schemas, rest = TypeAdapter.json_schemas(inputs, ref_template=REF)
        components = rest.get("$defs", {})
        names = {name: _plain_name(name) for name in components}
        if len(set(names.values())) != len(names):
            raise ValueError("two component schemas would share a name")
        self.components: dict[str, Any] = {names[name]: _renamed(schema, names) for name, schema in components.items()}
        self._schemas = {key: _renamed(schema, names) for key, schema in schemas.items()}

    def _whole(self, model: Any, mode: str) -> dict[str, Any]:
        schema: dict[str, Any] = copy.deepcopy(self._schemas[(model, mode)])  # type: ignore[index]
        while "$ref" in schema:
            schema = copy.deepcopy(self.components[schema["$ref"].rpartition("/")[2]])
        return schema

    def body(self, model: Any, path: str) -> dict[str, Any]:
        """The model's schema without the fields that stand in the path."""
        schema = self._whole(model, "validation")
        for name in re.findall(r"{(\w+)}", path):
            schema.get("properties", {}).pop(name, None)
            if name in schema.get("required", []):
                schema["required"].remove(name)
        if not schema.get("required"):
            schema.pop("required", None)
        return schema

    def places(self, path: str, model: Any = None) -> list[dict[str, Any]]:
        """The parameters in a path, as the model has them."""
        known = self._whole(model, "validation").get("properties", {}) if model is not None else {}
        return [
            {"name": n, "in": "path", "required": True, "schema": known.get(n, UUID_SCHEMA)} for n in re.findall(r"{(\w+)}", path)
        ]

    def row(self, c: Collection) -> str:
        name = "".join(part.capitalize() for part in re.split(r"[_-]", c.name)) + "Item"
        schema = self._whole(c.view.row, "serialization")
        schema.pop("required", None)
        schema.pop("title", None)
        hints = get_type_hints(c.view.row, include_extras=True)
        for field in [f for f, hint in hints.items() if is_hidden(hint)]:
            schema["properties"].pop(field)
        for field, sub in schema.get("properties", {}).items():
            if personal_mark(hints.get(field)) is not None:
                sub["x-chancery-personal"] = True
        etag = "The ETag, for If-Match." if c.stream is not None else "0: the row lies inside another record, whose version counts."
        schema["properties"] |= {
            "id": UUID_SCHEMA,
            "version": {"type": "integer", "description": f"How many events the record has. {etag}"},
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {"type": "string", "format": "date-time"},
            "position": {"type": "integer", "description": "The event that made it so."},
            "masked": {"type": "array", "items": {"type": "string"}, "description": "Fields withheld from this key."},
        }
        schema["additionalProperties"] = False
        self.components[name] = schema
        return name

    def used(self, document: Iterable[Any]) -> dict[str, Any]:
        """The components that a document refers to, by way of others too."""
        out: dict[str, Any] = {}
        waiting = list(_refs(list(document)))
        while waiting:
            name = waiting.pop()
            if name not in out:
                out[name] = self.components[name]
                waiting.extend(_refs(out[name]))
        return dict(sorted(out.items()))


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, dict):
        out = {k: _renamed(v, names) for k, v in schema.items()}
        if isinstance(schema.get("$ref"), str):
            head, _, name = schema["$ref"].rpartition("/")
            out["$ref"] = f"{head}/{names[name]}"
        return out
    return [_renamed(v, names) for v in schema] if isinstance(schema, list) else schema


def _refs(part: Any) -> Iterable[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rpartition("/")[2]
        for v in part.values():
            yield from _refs(v)
    elif isinstance(part, list):
        for v in part:
            yield from _refs(v)
