"""The OpenAPI 3.1 document, written from the registries: what is registered is described."""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from commands.kernel import COMMANDS, CommandSpec
from infra.projector.tables import is_personal
from queries.kernel import COLLECTIONS, QUERIES, Collection, QuerySpec
from queries.listing.fields import is_hidden

REF = "#/components/schemas/{model}"

PROBLEMS = {
    "400": "The request is malformed: a header, a parameter or the JSON itself.",
    "401": "No good API key came with the request.",
    "403": "The key lacks the permission this needs, or the firm is suspended.",
    "404": "There is no such thing, or it is not yours to see.",
    "408": "The body did not come in time.",
    "409": "A rule says no; the problem's type names it.",
    "410": "It was discarded.",
    "412": "The record has changed since it was read; read it again.",
    "413": "The body is too large.",
    "415": "The body is not of the media type this takes.",
    "416": "The range lies outside the content.",
    "422": "The request is well-formed and can't be accepted; the problem says which field and why.",
    "429": "This key makes too many requests; wait as Retry-After says.",
    "500": "Something broke on our side; it was logged under the request id.",
    "502": "Another server that was asked did not do it.",
    "503": "Busy, behind or unavailable; nothing was changed unless the problem says that the outcome is unknown.",
    "507": "There is no room for the content.",
}


RETRY_AFTER = {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "description": "Seconds to wait."}
POSITION_ANSWERED = {
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    "description": "The answer shows the record up to here at least. Send it with a read to see no less.",
}
ETAG = {"schema": {"type": "string"}, "description": "Names this state of it, for If-None-Match and If-Match."}


def problems(*statuses: str) -> dict[str, Any]:
    return {
        s: {
            "description": PROBLEMS[s],
            **({"headers": {"Retry-After": RETRY_AFTER}} if s in {"429", "503"} else {}),
            "content": {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}},
        }
        for s in statuses
    }


def _header(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": dict(schema)}


IDEMPOTENCY = _header(
    "Idempotency-Key",
    "Names the command: sent again, its first answer comes back.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~][ -~]*$"},
)
IF_MATCH = _header(
    "If-Match", "The ETag the decision rests on; 412 when it is stale.", {"type": "string", "pattern": '^"[0-9]{1,18}"$'}
)
IF_NONE_MATCH = _header("If-None-Match", "An ETag of an earlier answer: 304 when nothing has changed since.", {"type": "string"})
POSITION = _header("Chancery-Position", "Answer from this position or later.", {"type": "string", "pattern": "^[0-9]{1,18}$"})


UUID_SCHEMA = {"type": "string", "format": "uuid"}
NUMBER = "^[0-9]{1,18}$"


def _plain_name(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", ".", key).strip(".")


class _Schemas:
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
            if is_personal(hints.get(field)):
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


def _command(spec: CommandSpec, schemas: _Schemas) -> dict[str, Any]:
    statuses = ["400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "503"] + (["412"] if spec.target else [])
    body = schemas.body(spec.model, spec.path)
    ok = {
        "description": "Done, or nothing had to change."
        if not spec.creates
        else "It exists already: the first answer, or nothing had to change.",
        "headers": {
            "Chancery-Position": {"schema": {"type": "string"}, "description": "Send it with a read to see this write."},
            "ETag": {"schema": {"type": "string"}, "description": "The version after this command."},
        },
        "content": {"application/json": {"schema": {"$ref": REF.format(model="Answer")}}},
    }
    responses: dict[str, Any] = {"200": ok}
    if spec.creates:
        responses["201"] = {**ok, "description": "Created."}
    return {
        "operationId": spec.name,
        "tags": [spec.name.partition(".")[0]],
        "summary": spec.title,
        "description": spec.description,
        "parameters": [*schemas.places(spec.path, spec.model), IDEMPOTENCY, *([IF_MATCH] if spec.target else [])],
        "requestBody": {"required": bool(body.get("required")), "content": {"application/json": {"schema": body}}},
        "responses": {**responses, **problems(*sorted(statuses))},
        "x-chancery": {
            "title": spec.title,
            "permission": spec.permission,
            "target": spec.target.type if spec.target else None,
            "undoable": spec.undoable,
        },
    }


MOMENT = [
    {
        "name": "as_of",
        "in": "query",
        "schema": {"type": "string", "format": "date-time"},
        "description": "What was true then, by business time.",
    },
    {
        "name": "known_at",
        "in": "query",
        "schema": {"type": "string", "maxLength": 40},
        "description": "What was known then: a position, or a time of recording.",
    },
]
COMPARE = [
    {
        "name": "vs_as_of",
        "in": "query",
        "schema": {"type": "string", "format": "date-time"},
        "description": "Compare with what was true then: each item says what was added, removed or changed since, with its values before.",
    },
    {
        "name": "vs_known_at",
        "in": "query",
        "schema": {"type": "string", "maxLength": 40},
        "description": "Compare with what was known then: a position, or a time of recording.",
    },
    {
        "name": "kinds",
        "in": "query",
        "schema": {"type": "string", "maxLength": 60},
        "description": "Which of added, removed, changed and unchanged a comparison shows, by comma; the first three when not given.",
    },
]
LIST = [
    {
        "name": "filter",
        "in": "query",
        "schema": {"type": "string", "maxLength": 4096},
        "description": 'A filter in the language of AIP-160, such as `status = "open" AND created_at > 2026-01-01`.',
    },
    {
        "name": "order_by",
        "in": "query",
        "schema": {"type": "string", "maxLength": 1000},
        "description": "Fields, each with `desc` or not.",
    },
    {
        "name": "fields",
        "in": "query",
        "schema": {"type": "string", "maxLength": 4000},
        "description": "The fields wanted, by comma.",
    },
    {"name": "page_size", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}},
    {"name": "page_token", "in": "query", "schema": {"type": "string", "maxLength": 4000}},
    {"name": "include_total", "in": "query", "schema": {"type": "boolean"}, "description": "Count all that match."},
]


def _page(item: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items", "next_page_token"],
        "properties": {
            "items": {"type": "array", "items": {"$ref": REF.format(model=item)}},
            "next_page_token": {"type": "string", "description": "Empty when nothing follows."},
            "total": {"type": "integer"},
        },
    }


def _compared(item: str) -> dict[str, Any]:
    """A row at two moments."""
    side = {"anyOf": [{"$ref": REF.format(model=item)}, {"type": "null"}]}
    return {
        "type": "object",
        "required": ["id", "change", "changed", "passes", "before", "after"],
        "properties": {
            "id": UUID_SCHEMA,
            "change": {"enum": ["added", "removed", "changed", "unchanged"]},
            "changed": {"type": "array", "items": {"type": "string"}, "description": "The fields that differ."},
            "passes": {
                "type": "object",
                "properties": {"before": {"type": "boolean"}, "after": {"type": "boolean"}},
                "description": "At which of the moments it passes the filter.",
            },
            "before": side,
            "after": side,
        },
        "additionalProperties": False,
    }


def _page_or_comparison(item: str) -> dict[str, Any]:
    """What a list answers: a page, or when it was asked to compare a page of changes."""
    page = _page(item)
    properties = page["properties"]
    counts = {"type": "object", "additionalProperties": {"type": "integer"}, "description": "How many of each kind."}
    changes = {**page, "properties": {**properties, "items": {"type": "array", "items": _compared(item)}, "totals": counts}}
    return {"anyOf": [page, changes]}


def _ok(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "200": {
            "description": "As it is.",
            "headers": {"Chancery-Position": POSITION_ANSWERED},
            "content": {"application/json": {"schema": dict(schema)}},
        }
    }


def _collection(c: Collection, schemas: _Schemas) -> dict[str, dict[str, Any]]:
    item = schemas.row(c)
    one = _ok({"anyOf": [{"$ref": REF.format(model=item)}, _compared(item)]})["200"]
    extension = {"permission": c.permission, "title": c.title}
    out: dict[str, dict[str, Any]] = {
        f"/v1/{c.name}": {
            "get": {
                "operationId": f"{c.name}.list",
                "tags": [c.name],
                "summary": f"List: {c.title}",
                "parameters": [*LIST, *MOMENT, *COMPARE, POSITION],
                "responses": {**_ok(_page_or_comparison(item)), **problems("400", "401", "403", "422", "429", "503")},
                "x-chancery": extension,
            }
        },
        f"/v1/{c.name}:search": {
            "post": {
                "operationId": f"{c.name}.search",
                "tags": [c.name],
                "summary": f"List by a filter in the body: {c.title}",
                "parameters": [POSITION],
                "requestBody": {
                    "required": False,
                    "content": {"application/json": {"schema": {"$ref": REF.format(model="ListRequest")}}},
                },
                "responses": {
                    **_ok(_page_or_comparison(item)),
                    **problems("400", "401", "403", "408", "413", "415", "422", "429", "503"),
                },
                "x-chancery": extension,
            }
        },
        f"/v1/{c.name}/{{id}}": {
            "get": {
                "operationId": f"{c.name}.get",
                "tags": [c.name],
                "summary": f"One by id: {c.title}",
                "parameters": [*schemas.places("{id}"), LIST[2], *MOMENT, *COMPARE[:2], POSITION, IF_NONE_MATCH],
                "responses": {
                    "200": {**one, "headers": {**one["headers"], "ETag": ETAG}},
                    "304": {"description": "Unchanged since the ETag in If-None-Match."},
                    **problems("400", "401", "403", "404", "422", "429", "503"),
                },
                "x-chancery": extension,
            }
        },
    }
    out[f"/v1/{c.name}:batch-get"] = {
        "post": {
            "operationId": f"{c.name}.batchGet",
            "tags": [c.name],
            "summary": f"Many by id, in the order asked for: {c.title}",
            "parameters": [POSITION],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": REF.format(model="BatchRequest")}}},
            },
            "responses": {
                **_ok(
                    {
                        "type": "object",
                        "required": ["items", "missing"],
                        "properties": {
                            "items": {"type": "array", "items": {"$ref": REF.format(model=item)}},
                            "missing": {"type": "array", "items": UUID_SCHEMA, "description": "Those there are none of."},
                        },
                    }
                ),
                **problems("400", "401", "403", "408", "413", "415", "422", "429", "503"),
            },
            "x-chancery": extension,
        }
    }
    download: dict[str, Any] = {
        "tags": [c.name],
        "summary": f"Download the whole list: {c.title}",
        "responses": {
            "200": {
                "description": "Every row that passes the filter, streamed.",
                "headers": {"Chancery-Position": POSITION_ANSWERED, "Content-Disposition": {"schema": {"type": "string"}}},
                "content": {
                    "text/csv; charset=utf-8; header=present": {"schema": {"type": "string"}},
                    "application/jsonl": {"schema": {"type": "string"}},
                },
            },
            **problems("400", "401", "403", "422", "429", "503"),
        },
        "x-chancery": extension,
    }
    form = {"name": "format", "in": "query", "schema": {"enum": ["csv", "jsonl"]}, "description": "csv when not given."}
    out[f"/v1/{c.name}:export"] = {
        "get": {**download, "operationId": f"{c.name}.export", "parameters": [form, *LIST[:3], *MOMENT, POSITION]},
        "post": {
            **download,
            "operationId": f"{c.name}.exportBy",
            "parameters": [POSITION],
            "requestBody": {
                "required": False,
                "content": {"application/json": {"schema": {"$ref": REF.format(model="ExportRequest")}}},
            },
            "responses": {**download["responses"], **problems("408", "413", "415")},
        },
    }
    field = {"name": "field", "in": "query", "schema": {"type": "string", "maxLength": 100}, "description": "All when not given."}
    out[f"/v1/{c.name}/{{id}}/explain"] = {
        "get": {
            "operationId": f"{c.name}.explain",
            "tags": [c.name],
            "summary": f"Which event made each field what it is: {c.title}",
            "parameters": [*schemas.places("{id}"), field, *MOMENT, POSITION],
            "responses": {
                **_ok({"$ref": REF.format(model="Explanation")}),
                **problems("400", "401", "403", "404", "422", "429", "503"),
            },
            "x-chancery": {"permission": "history:read", "title": "Explain"},
        }
    }
    out[f"/v1/{c.name}/{{id}}/history"] = {
        "get": {
            "operationId": f"{c.name}.history",
            "tags": [c.name],
            "summary": f"Who changed what, when and why: {c.title}",
            "parameters": [*schemas.places("{id}"), *LIST[3:5], POSITION],
            "responses": {**_ok(_page("HistoryEntry")), **problems("400", "401", "403", "404", "422", "429", "503")},
            "x-chancery": {"permission": "history:read", "title": "History"},
        }
    }
    return out


def _query(spec: QuerySpec, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": spec.name,
        "tags": [spec.name.partition(".")[0]],
        "summary": spec.title,
        "description": spec.description,
        "parameters": [*schemas.places(spec.path, spec.model), *MOMENT, POSITION],
        "responses": {**_ok({}), **problems("400", "401", "403", "404", "409", "422", "429", "503")},
        "x-chancery": {"permission": spec.permission, "title": spec.title},
    }
    schema = schemas.body(spec.model, spec.path)
    if spec.method == "GET":
        required = schema.get("required", [])
        for name, sub in schema.get("properties", {}).items():
            operation["parameters"].append({"name": name, "in": "query", "required": name in required, "schema": sub})
    else:
        operation["requestBody"] = {
            "required": bool(schema.get("required")),
            "content": {"application/json": {"schema": schema}},
        }
        operation["responses"] |= problems("408", "413", "415")
    return operation


STANDING: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
        "additionalProperties": True,
    },
    "Answer": {
        "type": "object",
        "required": ["position", "events"],
        "properties": {
            "id": {"type": "string"},
            "version": {"type": "integer"},
            "position": {"type": "integer"},
            "events": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "type"],
                    "properties": {"id": {"type": "string", "format": "uuid"}, "type": {"type": "string"}},
                },
            },
        },
        "additionalProperties": True,
    },
    "ListRequest": {
        "type": "object",
        "additionalProperties": False,
        "properties": {p["name"]: p["schema"] for p in [*LIST, *MOMENT]}
        | {"known_at": {"type": ["string", "integer"], "minimum": 0}},
    },
    "Explanation": {
        "type": "object",
        "required": ["id", "fields"],
        "properties": {
            "id": UUID_SCHEMA,
            "fields": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "event"],
                    "properties": {
                        "field": {"type": "string"},
                        "value": {},
                        "old": {},
                        "masked": {"type": "boolean"},
                        "event": {
                            "type": ["object", "null"],
                            "description": "Null where no event ever said anything of it.",
                            "properties": {
                                "id": UUID_SCHEMA,
                                "type": {"type": "string"},
                                "version": {"type": "integer"},
                                "position": {"type": "integer"},
                                "actor": {"type": "string"},
                                "command_id": {"type": "string"},
                                "origin": {"type": ["string", "null"], "description": "The import or rule it came from."},
                                "occurred_at": {"type": "string", "format": "date-time"},
                                "recorded_at": {"type": "string", "format": "date-time"},
                                "reason": {"type": "string"},
                                "reason_masked": {"type": "boolean"},
                            },
                        },
                    },
                },
            },
        },
    },
    "BatchRequest": {
        "type": "object",
        "required": ["ids"],
        "additionalProperties": False,
        "properties": {
            "ids": {"type": "array", "items": UUID_SCHEMA, "minItems": 1, "maxItems": 1000},
            **{p["name"]: p["schema"] for p in [LIST[2], *MOMENT]},
        },
    },
    "ExportRequest": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"format": {"enum": ["csv", "jsonl"]}, **{p["name"]: p["schema"] for p in [*LIST[:3], *MOMENT]}},
    },
    "HistoryEntry": {
        "type": "object",
        "required": ["version", "position", "event_id", "type", "occurred_at", "recorded_at", "actor", "changes"],
        "properties": {
            "version": {"type": "integer"},
            "position": {"type": "integer"},
            "event_id": {"type": "string", "format": "uuid"},
            "type": {"type": "string"},
            "occurred_at": {"type": "string", "format": "date-time"},
            "recorded_at": {"type": "string", "format": "date-time"},
            "actor": {"type": "string"},
            "origin": {"type": ["string", "null"], "description": "The import or rule it came from."},
            "command_id": {"type": "string"},
            "correlation_id": {"type": ["string", "null"]},
            "causation_id": {"type": ["string", "null"]},
            "changes": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field"],
                    "properties": {"field": {"type": "string"}, "old": {}, "new": {}, "masked": {"type": "boolean"}},
                },
            },
        },
    },
}


def document(version: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document; `extra` holds the paths that stand in no registry."""
    schemas = _Schemas()
    schemas.components.update(STANDING)
    paths: dict[str, Any] = {}
    for spec in COMMANDS.values():
        if spec.permission != "operator":
            paths.setdefault(f"/v1{spec.path}", {})[spec.method.lower()] = _command(spec, schemas)
    for c in COLLECTIONS.values():
        for path, operations in _collection(c, schemas).items():
            paths.setdefault(path, {}).update(operations)
    for q in QUERIES.values():
        paths.setdefault(f"/v1{q.path}", {})[q.method.lower()] = _query(q, schemas)
    for path, operations in extra.items():
        paths.setdefault(path, {}).update(operations)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chancery",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Commands in, queries out, every change on one append-only record.",
        },
        "security": [{"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.used(paths.values()),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, chy_…"}},
        },
    }
