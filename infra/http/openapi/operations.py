"""The operations of a command, a collection and a query."""

from collections.abc import Mapping
from typing import Any

from commands.kernel import CommandSpec
from infra.http.openapi.parts import (
    BODY,
    COMPARE,
    ETAG,
    FIELDS,
    FILTER,
    IDEMPOTENCY,
    IF_MATCH,
    IF_NONE_MATCH,
    LIST,
    MOMENT,
    ORDER,
    PAGE,
    POSITION,
    POSITION_ANSWERED,
    READING,
    UUID_SCHEMA,
    answer,
    in_query,
    ok,
    operation,
    page,
    problems,
    ref,
    takes,
)
from infra.http.openapi.schemas import Schemas
from queries.kernel import Collection, QuerySpec


def _compares(spec: CommandSpec) -> bool:
    """Whether there is a record that If-Match is compared with: a command that creates one names none."""
    return spec.target is not None and "{id}" in spec.path


def of_command(spec: CommandSpec, schemas: Schemas) -> dict[str, Any]:
    statuses = [*READING, *BODY, "404", "409", *(["412"] if _compares(spec) else [])]
    body = schemas.body(spec.model, spec.path)
    headers = {
        "Chancery-Position": {"schema": {"type": "string"}, "description": "Send it with a read to see this write."},
        "ETag": {"schema": {"type": "string"}, "description": "The version after this command."},
    }
    again = "It exists already: the first answer, or nothing had to change." if spec.creates else "Done, or nothing had to change."
    return operation(
        spec.name,
        spec.name.partition(".")[0],
        spec.title,
        *schemas.places(spec.path, spec.model),
        IDEMPOTENCY,
        *([IF_MATCH] if _compares(spec) else []),
        description=spec.description,
        body=takes(body, required=bool(body.get("required"))),
        answers={
            "200": answer(again, ref("Answer"), headers=headers),
            **({"201": answer("Created.", ref("Answer"), headers=headers)} if spec.creates else {}),
            **problems(*sorted(statuses)),
        },
        extension={
            "title": spec.title,
            "permission": spec.permission,
            "target": spec.target.type if spec.target else None,
            "undoable": spec.undoable,
        },
    )


def _compared(item: str) -> dict[str, Any]:
    """A row at two moments."""
    side = {"anyOf": [ref(item), {"type": "null"}]}
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
    changes = {**one, "properties": {**properties, "items": {"type": "array", "items": ref(f"{item}Compared")}, "totals": counts}}
    return {"anyOf": [one, changes]}


def of_collection(c: Collection, schemas: Schemas) -> dict[str, dict[str, Any]]:
    """The paths of a collection, each with its operations."""
    item = schemas.row(c)
    id = schemas.places("{id}")

    def one(
        verb: str,
        summary: str,
        *parameters: Mapping[str, Any],
        answers: Mapping[str, Any],
        body: Mapping[str, Any] | None = None,
        extension: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        return operation(
            f"{c.name}.{verb}",
            c.name,
            f"{summary}: {c.title}",
            *parameters,
            answers=answers,
            body=body,
            extension=extension or {"permission": c.permission, "title": c.title},
        )

    schemas.components |= {f"{item}Compared": _compared(item), f"{item}List": _page_or_comparison(item)}
    listed = ok(ref(f"{item}List"))
    got = ok({"anyOf": [ref(item), ref(f"{item}Compared")]})["200"]
    many = {
        "type": "object",
        "required": ["items", "missing"],
        "properties": {
            "items": {"type": "array", "items": ref(item)},
            "missing": {"type": "array", "items": UUID_SCHEMA, "description": "Those there are none of."},
        },
    }
    form = in_query("format", "csv when not given.", enum=["csv", "jsonl"])
    downloaded = {
        "200": {
            "description": "Every row that passes the filter, streamed.",
            "headers": {"Chancery-Position": POSITION_ANSWERED, "Content-Disposition": {"schema": {"type": "string"}}},
            "content": {
                "text/csv; charset=utf-8; header=present": {"schema": {"type": "string"}},
                "application/jsonl": {"schema": {"type": "string"}},
            },
        },
        **problems(*READING),
    }
    field = in_query("field", "All when not given.", maxLength=100)
    return {
        f"/v1/{c.name}": {
            "get": one("list", "List", *LIST, *MOMENT, *COMPARE, POSITION, answers={**listed, **problems(*READING)}),
        },
        f"/v1/{c.name}:search": {
            "post": one(
                "search",
                "List by a filter in the body",
                POSITION,
                body=takes(ref("ListRequest"), required=False),
                answers={**listed, **problems(*READING, *BODY)},
            )
        },
        f"/v1/{c.name}/{{id}}": {
            "get": one(
                "get",
                "One by id",
                *id,
                FIELDS,
                *MOMENT,
                *COMPARE[:2],
                POSITION,
                IF_NONE_MATCH,
                answers={
                    "200": {**got, "headers": {**got["headers"], "ETag": ETAG}},
                    "304": {"description": "Unchanged since the ETag in If-None-Match."},
                    **problems(*READING, "404"),
                },
            )
        },
        f"/v1/{c.name}:batch-get": {
            "post": one(
                "batchGet",
                "Many by id, in the order asked for",
                POSITION,
                body=takes(ref("BatchRequest")),
                answers={**ok(many), **problems(*READING, *BODY)},
            )
        },
        f"/v1/{c.name}:export": {
            "get": one("export", "Download the whole list", form, FILTER, ORDER, FIELDS, *MOMENT, POSITION, answers=downloaded),
            "post": one(
                "exportBy",
                "Download the whole list",
                POSITION,
                body=takes(ref("ExportRequest"), required=False),
                answers={**downloaded, **problems(*BODY)},
            ),
        },
        f"/v1/{c.name}/{{id}}/explain": {
            "get": one(
                "explain",
                "Which event made each field what it is",
                *id,
                field,
                *MOMENT,
                POSITION,
                answers={**ok(ref("Explanation")), **problems(*READING, "404")},
                extension={"permission": "history:read", "title": "Explain"},
            )
        },
        f"/v1/{c.name}/{{id}}/history": {
            "get": one(
                "history",
                "Who changed what, when and why",
                *id,
                *PAGE,
                POSITION,
                answers={**ok(page("HistoryEntry")), **problems(*READING, "404")},
                extension={"permission": "history:read", "title": "History"},
            )
        },
    }


def _with_moment(schema: dict[str, Any]) -> dict[str, Any]:
    """A body may name the moment, too."""
    named = {p["name"]: {**p["schema"], "description": p["description"]} for p in MOMENT}
    return {**schema, "properties": {**named, **schema.get("properties", {})}}


def of_query(spec: QuerySpec, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.body(spec.model, spec.path)
    required = schema.get("required", [])
    asked = spec.method == "GET"
    named = schema.get("properties", {}).items() if asked else ()
    return operation(
        spec.name,
        spec.name.partition(".")[0],
        spec.title,
        *schemas.places(spec.path, spec.model),
        *MOMENT,
        POSITION,
        *({"name": name, "in": "query", "required": name in required, "schema": sub} for name, sub in named),
        description=spec.description,
        body=None if asked else takes(_with_moment(schema), required=bool(required)),
        answers={**ok({}), **problems(*READING, "404", "409", *(() if asked else BODY))},
        extension={"permission": spec.permission, "title": spec.title},
    )
