"""The OpenAPI paths that stand in no registry: identity, changes, content, health; the log, proofs and what a person is served."""

from typing import Any

from pydantic import TypeAdapter

from infra.http.described import log, people, proofs
from infra.http.openapi.parts import (
    BODY,
    ID,
    NUMBER,
    READING,
    UUID_SCHEMA,
    answer,
    in_path,
    in_query,
    open_to_all,
    problems,
    served,
    takes,
)
from queries.graph.cypher import AskCypher

WHO: dict[str, Any] = {
    "type": "object",
    "required": ["firm_id", "member_id", "key_id", "actor", "roles", "permissions", "collections", "limits"],
    "properties": {
        "firm_id": UUID_SCHEMA,
        "firm_name": {"type": ["string", "null"]},
        "member_name": {"type": ["string", "null"]},
        "key_name": {"type": ["string", "null"]},
        "key_expires_at": {"type": ["string", "null"], "format": "date-time"},
        "roles": {"type": "array", "items": {"type": "string"}},
        "collections": {"type": "array", "items": {"type": "string"}, "description": "The lists this key may read."},
        "limits": {"type": "object", "description": "How much it may ask, and how much of the day's requests the firm has used."},
        "member_id": {"anyOf": [UUID_SCHEMA, {"type": "null"}]},
        "key_id": UUID_SCHEMA,
        "actor": {"type": "string"},
        "permissions": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}
STORED: dict[str, Any] = {
    "type": "object",
    "required": ["sha256", "size", "media_type"],
    "properties": {
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "size": {"type": "integer", "minimum": 0},
        "media_type": {"type": "string"},
    },
    "additionalProperties": False,
}
STATE: dict[str, Any] = {
    "type": "object",
    "required": ["status", "database", "position", "lag", "stopped", "processes", "catching_up"],
    "properties": {
        "status": {"enum": ["ready", "not ready"]},
        "database": {"enum": ["ok", "away"]},
        "position": {"type": "integer", "description": "The last position of the record."},
        "lag": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "Events each view is behind."},
        "stopped": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "Views an event has stopped."},
        "processes": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "The process that carries each view, as `1/2`: the first of two.",
        },
        "catching_up": {"type": "array", "items": {"type": "string"}},
    },
}
ROWS: dict[str, Any] = {
    "type": "object",
    "required": ["columns", "rows", "truncated"],
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "rows": {"type": "array", "items": {"type": "array"}, "description": "Nodes and edges are objects with their kind."},
        "truncated": {
            "type": "boolean",
            "description": "Whether there are more rows than were asked for, or than an answer holds.",
        },
    },
}


def _watched(name: str, summary: str, media: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What tells of the installation itself."""
    return {"get": open_to_all(served(name, "operation", summary, answers={"200": answer("As it is.", schema, media), **more}))}


def _uploaded(method: str) -> dict[str, Any]:
    return served(
        f"uploads.{method}",
        "documents",
        "Stream a file's bytes into the store",
        description="Answers `{sha256, size, media_type}`; add a document or a version that names the sha256.",
        needs=("documents:write",),
        body={
            "required": False,
            "description": "The file's bytes; an empty body is an empty file.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}},
        },
        answers={"201": answer("Stored.", STORED), **problems(*READING, *BODY, "409", "507")},
    )


EXTRA: dict[str, Any] = {
    "/healthz": _watched("health", "Whether this process answers", "application/json", {"type": "object"}),
    "/readyz": _watched(
        "ready",
        "Whether this process can serve, and how far each view is behind",
        "application/json",
        STATE,
        **{"503": answer("Not ready: the body says why.", STATE)},
    ),
    "/metrics": _watched("metrics", "Measurements for Prometheus", "text/plain", {"type": "string"}),
    "/openapi.json": _watched("openapi", "This document", "application/json", {"type": "object"}),
    "/v1/me": {
        "get": served(
            "me",
            "me",
            "Who this key is and what it may do",
            answers={"200": answer("The caller.", WHO), **problems("400", "401", "403", "429", "503")},
        )
    },
    "/v1/changes": {
        "get": served(
            "changes",
            "changes",
            "Live changes of the firm as server-sent events",
            in_query("after", pattern=NUMBER),
            in_query("views", "Only these collections, by comma."),
            {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": NUMBER}},
            description="Each message is named `change` and has `{position, view, type, id, occurred_at}` as its data: the row of a collection"
            " that an event changed. It comes once every view shows the change. The last message of a position has the position as its id."
            " `Last-Event-ID`, or `after`, resumes behind a position: nothing is missed, nothing comes twice.",
            answers={
                "200": answer("A stream that does not end.", {"type": "string"}, "text/event-stream"),
                **problems(*READING),
            },
        )
    },
    "/v1/graph:cypher": {
        "post": served(
            "graph.cypher",
            "graph",
            "Ask the graph in Cypher",
            description="Read-only Cypher over what stands now, without a personal value. Values travel as parameters; what may do more than"
            " read is refused with the reason; each run is recorded. Only with Neo4j, and where the database holds one firm.",
            needs=("graph:cypher",),
            body=takes(TypeAdapter(AskCypher).json_schema()),
            answers={"200": answer("The rows.", ROWS), **problems(*READING, *BODY)},
        )
    },
    "/v1/uploads": {"post": _uploaded("receive"), "put": _uploaded("put")},
    "/v1/documents/{id}/versions/{number}/content": {
        "get": served(
            "documents.content",
            "documents",
            "The bytes of a version",
            ID,
            in_path("number", type="integer", minimum=1),
            {"name": "Range", "in": "header", "schema": {"type": "string"}},
            needs=("documents:read", "personal:read"),
            answers={
                "200": {"description": "The content.", "content": {"*/*": {}}},
                "206": {"description": "A part of the content.", "content": {"*/*": {}}},
                "304": {"description": "Unchanged since the ETag in If-None-Match."},
                **problems(*READING, "404", "409", "410", "416", "500"),
            },
        )
    },
    **log.DESCRIBED,
    **people.DESCRIBED,
    **proofs.DESCRIBED,
}
