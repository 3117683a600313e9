"""The OpenAPI paths that stand in no registry: identity, changes, content, health."""

from typing import Any

from pydantic import TypeAdapter

from infra.http import openapi
from infra.http.choices import DESCRIBED as CHOICES
from infra.http.log import DESCRIBED
from infra.http.portability import DESCRIBED as PORTABILITY
from infra.http.proofs import DESCRIBED as PROOFS
from queries.graph.cypher import AskCypher

UUID_SCHEMA = {"type": "string", "format": "uuid"}
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


def _open(name: str, summary: str, media: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An operation that needs no key."""
    return {
        "get": {
            "operationId": name,
            "tags": ["operation"],
            "summary": summary,
            "security": [],
            "responses": {"200": {"description": "As it is.", "content": {media: {"schema": schema}}}, **more},
        }
    }


EXTRA: dict[str, Any] = {
    "/healthz": _open("health", "Whether this process answers", "application/json", {"type": "object"}),
    "/readyz": _open(
        "ready",
        "Whether this process can serve, and how far each view is behind",
        "application/json",
        STATE,
        **{"503": {"description": "Not ready: the body says why.", "content": {"application/json": {"schema": STATE}}}},
    ),
    "/metrics": _open("metrics", "Measurements for Prometheus", "text/plain", {"type": "string"}),
    "/openapi.json": _open("openapi", "This document", "application/json", {"type": "object"}),
    "/v1/me": {
        "get": {
            "operationId": "me",
            "tags": ["me"],
            "summary": "Who this key is and what it may do",
            "responses": {
                "200": {"description": "The caller.", "content": {"application/json": {"schema": WHO}}},
                **openapi.problems("400", "401", "403", "429", "503"),
            },
        }
    },
    "/v1/changes": {
        "get": {
            "operationId": "changes",
            "tags": ["changes"],
            "summary": "Live changes of the firm as server-sent events",
            "description": "Each event is named `change`, has the position as its id and `{position, type, occurred_at, changes: [{view, id}]}`"
            " as its data: which rows of which collections an event changed. It comes once every view shows the change, one for a"
            " position. `Last-Event-ID`, or `after`, resumes behind a position: nothing is missed, nothing comes twice.",
            "parameters": [
                {"name": "after", "in": "query", "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}},
                {"name": "views", "in": "query", "schema": {"type": "string"}, "description": "Only these collections, by comma."},
                {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}},
            ],
            "responses": {
                "200": {
                    "description": "A stream that does not end.",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}},
                },
                **openapi.problems("400", "401", "403", "422", "429", "503"),
            },
        }
    },
    "/v1/graph:cypher": {
        "post": {
            "operationId": "graph.cypher",
            "tags": ["graph"],
            "summary": "Ask the graph in Cypher",
            "description": "Read-only Cypher over what stands now, without a personal value. Values travel as parameters; what may do more than"
            " read is refused with the reason; each run is recorded. Only with Neo4j, and where the database holds one firm.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": TypeAdapter(AskCypher).json_schema()}}},
            "responses": {
                "200": {"description": "The rows.", "content": {"application/json": {"schema": ROWS}}},
                **openapi.problems("400", "401", "403", "408", "413", "415", "422", "429", "503"),
            },
        }
    },
    "/v1/uploads": {
        "post": {
            "operationId": "uploads.receive",
            "tags": ["documents"],
            "summary": "Stream a file's bytes into the store",
            "description": "Answers `{sha256, size, media_type}`; add a document or a version that names the sha256.",
            "requestBody": {
                "required": False,
                "description": "The file's bytes; an empty body is an empty file.",
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
                },
            },
            "responses": {
                "201": {"description": "Stored.", "content": {"application/json": {"schema": STORED}}},
                **openapi.problems("400", "401", "403", "408", "409", "413", "415", "422", "429", "503", "507"),
            },
        }
    },
    "/v1/documents/{id}/versions/{number}/content": {
        "get": {
            "operationId": "documents.content",
            "tags": ["documents"],
            "summary": "The bytes of a version",
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
                {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}},
                {"name": "Range", "in": "header", "schema": {"type": "string"}},
            ],
            "responses": {
                "200": {"description": "The content.", "content": {"*/*": {}}},
                "206": {"description": "A part of the content.", "content": {"*/*": {}}},
                "304": {"description": "Unchanged since the ETag in If-None-Match."},
                **openapi.problems("400", "401", "403", "404", "409", "410", "416", "422", "429", "500", "503"),
            },
        }
    },
}
EXTRA |= DESCRIBED | PROOFS | CHOICES | PORTABILITY
EXTRA["/v1/uploads"]["put"] = {**EXTRA["/v1/uploads"]["post"], "operationId": "uploads.put"}

LOG = "/v1/log/"
NEEDED: dict[str, tuple[str, ...]] = {
    "consent.links": ("consent:write",),
    "consent.paper": ("consent:read", "log:read"),
    "consent.proof": ("consent:read", "log:read"),
    "consent.send_request": ("consent:write",),
    "contacts.personal_data": ("privacy:read", "personal:read", "history:read"),
    "documents.certificate": ("documents:read", "log:read"),
    "documents.content": ("documents:read", "personal:read"),
    "graph.cypher": ("graph:cypher",),
    "log.head": ("log:read", "consent:read"),
    "log.seal": ("log:write",),
    "log.stamp": ("log:write",),
    "uploads.put": ("documents:write",),
    "uploads.receive": ("documents:write",),
}
"""The permissions that an operation of no registry needs, the one it is known by first."""

for _path, _operations in EXTRA.items():
    for _operation in _operations.values():
        _needs = NEEDED.get(_operation["operationId"], ("log:read",) if _path.startswith(LOG) else ())
        if _needs:
            _operation["x-chancery"] = {"title": _operation["summary"], "permission": _needs[0], "permissions": list(_needs)}
