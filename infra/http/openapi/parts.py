"""What operations are made of: parameters, bodies, answers and problems, and the schemas that stand in no registry."""

from collections.abc import Mapping, Sequence
from typing import Any

REF = "#/components/schemas/{model}"
UUID_SCHEMA = {"type": "string", "format": "uuid"}
NUMBER = "^[0-9]{1,18}$"

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
READING = ("400", "401", "403", "422", "429", "503")  # what every read may answer
BODY = ("408", "413", "415")  # and what takes a body


def ref(model: str) -> dict[str, str]:
    return {"$ref": REF.format(model=model)}


def answer(description: str, schema: Mapping[str, Any], media: str = "application/json", **more: Any) -> dict[str, Any]:
    return {"description": description, **more, "content": {media: {"schema": dict(schema)}}}


def problems(*statuses: str) -> dict[str, Any]:
    """Answers of these statuses, each with a problem (RFC 9457) as its body."""
    retry = {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "description": "Seconds to wait."}
    return {
        s: answer(
            PROBLEMS[s],
            ref("Problem"),
            "application/problem+json",
            **({"headers": {"Retry-After": retry}} if s in {"429", "503"} else {}),
        )
        for s in statuses
    }


def in_path(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}


def in_query(name: str, description: str = "", **schema: Any) -> dict[str, Any]:
    about = {"name": name, "in": "query", "schema": {"type": "string", **schema}}
    return about | ({"description": description} if description else {})


def in_header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string", **schema}}


def takes(schema: Mapping[str, Any], media: str = "application/json", *, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {media: {"schema": dict(schema)}}}


def operation(
    name: str,
    tag: str,
    summary: str,
    *parameters: Mapping[str, Any],
    answers: Mapping[str, Any],
    description: str = "",
    body: Mapping[str, Any] | None = None,
    extension: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    about: dict[str, Any] = {"operationId": name, "tags": [tag], "summary": summary}
    if description:
        about["description"] = description
    if parameters:
        about["parameters"] = list(parameters)
    if body is not None:
        about["requestBody"] = body
    if extension is not None:
        about["x-chancery"] = extension
    return {**about, "responses": dict(answers)}


def served(
    name: str,
    tag: str,
    summary: str,
    *parameters: Mapping[str, Any],
    answers: Mapping[str, Any],
    needs: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """An operation of no registry; `needs` are its permissions, the one it is known by first."""
    extension = {"title": summary, "permission": needs[0], "permissions": list(needs)} if needs else None
    return operation(name, tag, summary, *parameters, answers=answers, extension=extension, **more)


def open_to_all(about: Mapping[str, Any]) -> dict[str, Any]:
    """The operation as one that needs no key."""
    return {**about, "security": []}


JSON = {"type": "object"}
BYTES = {"type": "string", "format": "binary"}
ID = in_path("id", format="uuid")
IDEMPOTENCY = in_header(
    "Idempotency-Key",
    "Names the command: sent again, its first answer comes back.",
    minLength=1,
    maxLength=255,
    pattern="^[!-~][ -~]*$",
)
IF_MATCH = in_header("If-Match", "The ETag the decision rests on; 412 when it is stale.", pattern='^"[0-9]{1,18}"$')
IF_NONE_MATCH = in_header("If-None-Match", "An ETag of an earlier answer: 304 when nothing has changed since.")
POSITION = in_header("Chancery-Position", "Answer from this position or later.", pattern=NUMBER)
POSITION_ANSWERED = {
    "schema": {"type": "string", "pattern": NUMBER},
    "description": "The answer shows the record up to here at least. Send it with a read to see no less.",
}
ETAG = {"schema": {"type": "string"}, "description": "Names this state of it, for If-None-Match and If-Match."}
MOMENT = [
    in_query("as_of", "What was true then, by business time.", format="date-time"),
    in_query("known_at", "What was known then: a position, or a time of recording.", maxLength=40),
]
COMPARE = [
    in_query(
        "vs_as_of",
        "Compare with what was true then: each item says what was added, removed or changed since, with its values before.",
        format="date-time",
    ),
    in_query("vs_known_at", "Compare with what was known then: a position, or a time of recording.", maxLength=40),
    in_query(
        "kinds",
        "Which of added, removed, changed and unchanged a comparison shows, by comma; the first three when not given.",
        maxLength=60,
    ),
]
FILTER = in_query(
    "filter", 'A filter in the language of AIP-160, such as `status = "open" AND created_at > 2026-01-01`.', maxLength=4096
)
ORDER = in_query("order_by", "Fields, each with `desc` or not.", maxLength=1000)
FIELDS = in_query("fields", "The fields wanted, by comma.", maxLength=4000)
PAGE = [in_query("page_size", type="integer", minimum=1, maximum=1000), in_query("page_token", maxLength=4000)]
LIST = [FILTER, ORDER, FIELDS, *PAGE, in_query("include_total", "Count all that match.", type="boolean")]


def page(item: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items", "next_page_token"],
        "properties": {
            "items": {"type": "array", "items": ref(item)},
            "next_page_token": {"type": "string", "description": "Empty when nothing follows."},
            "total": {"type": "integer"},
        },
    }


def ok(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a read."""
    return {"200": answer("As it is.", schema, headers={"Chancery-Position": POSITION_ANSWERED})}


STANDING: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string", "format": "uri", "examples": ["urn:chancery:problem:not-found"]},
            "title": {"type": "string", "examples": ["It is missing, or another firm's"]},
            "status": {"type": "integer", "examples": [404]},
            "detail": {"type": "string", "description": "What happened, why, and what to do."},
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
                    "properties": {"id": UUID_SCHEMA, "type": {"type": "string"}},
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
            **{p["name"]: p["schema"] for p in [FIELDS, *MOMENT]},
        },
    },
    "ExportRequest": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"format": {"enum": ["csv", "jsonl"]}, **{p["name"]: p["schema"] for p in [FILTER, ORDER, FIELDS, *MOMENT]}},
    },
    "HistoryEntry": {
        "type": "object",
        "required": ["version", "position", "event_id", "type", "occurred_at", "recorded_at", "actor", "changes"],
        "properties": {
            "version": {"type": "integer"},
            "position": {"type": "integer"},
            "event_id": UUID_SCHEMA,
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
