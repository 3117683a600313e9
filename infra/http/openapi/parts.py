"""What many operations share: problems, headers, parameters, and the schemas that stand in no registry."""

from collections.abc import Mapping
from typing import Any

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


def page(item: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items", "next_page_token"],
        "properties": {
            "items": {"type": "array", "items": {"$ref": REF.format(model=item)}},
            "next_page_token": {"type": "string", "description": "Empty when nothing follows."},
            "total": {"type": "integer"},
        },
    }


def ok(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "200": {
            "description": "As it is.",
            "headers": {"Chancery-Position": POSITION_ANSWERED},
            "content": {"application/json": {"schema": dict(schema)}},
        }
    }


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
