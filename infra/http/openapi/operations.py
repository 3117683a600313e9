"""The operations of a command, a collection and a query."""

from typing import Any

from commands.kernel import CommandSpec
from infra.http.openapi.parts import (
    COMPARE,
    ETAG,
    IDEMPOTENCY,
    IF_MATCH,
    IF_NONE_MATCH,
    LIST,
    MOMENT,
    POSITION,
    POSITION_ANSWERED,
    REF,
    UUID_SCHEMA,
    ok,
    page,
    problems,
)
from infra.http.openapi.schemas import Schemas
from queries.kernel import Collection, QuerySpec


def of_command(spec: CommandSpec, schemas: Schemas) -> dict[str, Any]:
    statuses = ["400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "503"] + (["412"] if spec.target else [])
    body = schemas.body(spec.model, spec.path)
    done = {
        "description": "Done, or nothing had to change."
        if not spec.creates
        else "It exists already: the first answer, or nothing had to change.",
        "headers": {
            "Chancery-Position": {"schema": {"type": "string"}, "description": "Send it with a read to see this write."},
            "ETag": {"schema": {"type": "string"}, "description": "The version after this command."},
        },
        "content": {"application/json": {"schema": {"$ref": REF.format(model="Answer")}}},
    }
    responses: dict[str, Any] = {"200": done}
    if spec.creates:
        responses["201"] = {**done, "description": "Created."}
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
    one = page(item)
    properties = one["properties"]
    counts = {"type": "object", "additionalProperties": {"type": "integer"}, "description": "How many of each kind."}
    changes = {**one, "properties": {**properties, "items": {"type": "array", "items": _compared(item)}, "totals": counts}}
    return {"anyOf": [one, changes]}


def of_collection(c: Collection, schemas: Schemas) -> dict[str, dict[str, Any]]:
    item = schemas.row(c)
    one = ok({"anyOf": [{"$ref": REF.format(model=item)}, _compared(item)]})["200"]
    extension = {"permission": c.permission, "title": c.title}
    out: dict[str, dict[str, Any]] = {
        f"/v1/{c.name}": {
            "get": {
                "operationId": f"{c.name}.list",
                "tags": [c.name],
                "summary": f"List: {c.title}",
                "parameters": [*LIST, *MOMENT, *COMPARE, POSITION],
                "responses": {**ok(_page_or_comparison(item)), **problems("400", "401", "403", "422", "429", "503")},
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
                    **ok(_page_or_comparison(item)),
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
                **ok(
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
                **ok({"$ref": REF.format(model="Explanation")}),
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
            "responses": {**ok(page("HistoryEntry")), **problems("400", "401", "403", "404", "422", "429", "503")},
            "x-chancery": {"permission": "history:read", "title": "History"},
        }
    }
    return out


def of_query(spec: QuerySpec, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": spec.name,
        "tags": [spec.name.partition(".")[0]],
        "summary": spec.title,
        "description": spec.description,
        "parameters": [*schemas.places(spec.path, spec.model), *MOMENT, POSITION],
        "responses": {**ok({}), **problems("400", "401", "403", "404", "409", "422", "429", "503")},
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
