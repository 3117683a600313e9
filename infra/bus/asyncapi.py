"""`spec/asyncapi.json`: the bus as an AsyncAPI 3.0 document, written from spec/events by `python -m infra.spec`.

BUS13  What was published stays readable: an event does not go away, a field stays of its type and stays where it was promised. What may come is a
       new event, a new optional field, a new value of a list of values; consumers pass over what they do not know.

The schemas here are those of spec/events but open: a consumer made today must accept the optional field of tomorrow.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import spec
from infra.bus.messages import BESIDE_LEAF, CONTENT_TYPE, IN_LEAF, OPTIONAL
from infra.bus.topics import Names, control, events
from infra.settings import Settings

FILE: Final = Path(spec.__file__).parent / "asyncapi.json"
VERSION: Final = "1"  # of the interface: rises when consumers have to change
KAFKA: Final = "0.5.0"  # of AsyncAPI's bindings for Kafka
NOT_READ: Final = frozenset({"$schema", "description", "title", "examples", "x-personal"})

_UUID = {"type": "string", "format": "uuid"}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "string", "pattern": "^[0-9]+$"}
_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "actor": {"type": "string", "description": "Who acted: member, key, person or system, a slash, and their id."},
    "causationid": {"type": "string", "description": "What caused the event, when it was another event or a command."},
    "commandid": {"type": "string", "description": "The command that recorded the event."},
    "correlationid": {"type": "string", "description": "What the event belongs together with, as the caller said."},
    "id": {**_UUID, "description": "The event's id: the same wherever and however often it is published. Know events again by it."},
    "origin": {"type": "string", "description": "Where the event came from when nobody typed it: an import, an undo."},
    "recordedtime": {**_TIME, "description": "When the server decided it. The message's timestamp is the same, in milliseconds."},
    "source": {"type": "string", "pattern": "^/firms/", "description": "The firm: /firms/ and its id."},
    "specversion": {"const": "1.0"},
    "streamversion": {**_COUNT, "description": "The event's place in its stream, from 1."},
    "subject": {"type": "string", "description": "The stream: its type, a slash, its id."},
    "time": {**_TIME, "description": "When it happened, in business time."},
    "type": {"type": "string", "description": "The event's stored name."},
    "position": {**_COUNT, "description": "The event's place in the whole record, from 1. It rises within a partition, with gaps."},
    "firmposition": {
        **_COUNT,
        "description": "The event's place among its firm's events, from 0, without gaps: the leaf index in the firm's log. A gap means a loss.",
    },
    "leafhash": {
        "type": "string",
        "contentEncoding": "base64",
        "description": "RFC 6962 hash of the leaf that headers and payload make up.",
    },
    "sealed": {
        "type": "string",
        "description": "Personal values, sealed: JSON [[key id, base64url of nonce and ciphertext], …]. Absent when there are none (any more).",
    },
}

Document = dict[str, Any]


def document(described: Mapping[str, Mapping[str, Any]]) -> Document:
    """The document for these events, given as in spec/events, by name."""
    names = Names("{prefix}")
    settings = Settings.model_construct()  # as it is when nothing is set, whatever is set here
    topic, relay = events(settings, 1), control(settings)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Chancery",
            "version": VERSION,
            "description": (
                "Everything that is recorded, as it is recorded. Each event is one message: CloudEvents 1.0, Kafka protocol binding, binary mode."
                " The key is the firm, so one firm's events stand in one partition, in order. Published in transactions: read with"
                " isolation.level=read_committed. The topic is of a generation; the last record under the key `live` of the relay's topic names"
                " the one to read, and a rebuild changes it. Pass over fields, values and events that you do not know."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            "events": {
                "address": names.events(1).removesuffix("1") + "{generation}",
                "title": "Events",
                "description": "The events of all firms. Partitions and retention as the settings say.",
                "parameters": {**_prefix(), "generation": {"description": "The live generation, a number.", "default": "1"}},
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in sorted(described)},
                "bindings": {
                    "kafka": {
                        "partitions": topic.partitions,
                        "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": int(topic.config["retention.ms"])},
                        "bindingVersion": KAFKA,
                    }
                },
            },
            "relay": {
                "address": names.control,
                "title": "Where the relay is",
                "description": "Which generation is live and how far each is.",
                "parameters": _prefix(),
                "messages": {n: {"$ref": f"#/components/messages/{n}"} for n in ("live", "standing")},
                "bindings": {
                    "kafka": {
                        "partitions": relay.partitions,
                        "topicConfiguration": {"cleanup.policy": ["compact"]},
                        "bindingVersion": KAFKA,
                    }
                },
            },
        },
        "operations": {
            "publish": {
                "action": "send",
                "title": "Publish what was recorded",
                "channel": {"$ref": "#/channels/events"},
                "messages": [{"$ref": f"#/channels/events/messages/{name}"} for name in sorted(described)],
            },
            "show": {
                "action": "send",
                "title": "Show where the relay is",
                "channel": {"$ref": "#/channels/relay"},
                "messages": [{"$ref": f"#/channels/relay/messages/{n}"} for n in ("live", "standing")],
            },
        },
        "components": {
            "messages": {name: _message(name, event) for name, event in sorted(described.items())} | _of_relay(),
            "schemas": {"headers": _headers()} | {name: _payload(event) for name, event in sorted(described.items())},
        },
    }


def _prefix() -> Document:
    return {"prefix": {"description": "CHANCERY_KAFKA_PREFIX", "default": "chancery"}}


def _headers() -> Document:
    return {
        "type": "object",
        "properties": {
            "content-type": {"const": CONTENT_TYPE},
            **{f"ce_{n}": dict(_HEADERS[n]) for n in (*IN_LEAF, *BESIDE_LEAF)},
        },
        "required": ["content-type", *(f"ce_{n}" for n in (*IN_LEAF, *BESIDE_LEAF) if n not in OPTIONAL and n != "sealed")],
    }


def _message(name: str, event: Mapping[str, Any]) -> Document:
    sealed = sorted(event["personal"])
    said = f"Sealed: {', '.join(sealed)}." if sealed else "Nothing in it is personal."
    return {
        "name": name,
        "title": name,
        "summary": said,
        "contentType": CONTENT_TYPE,
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/headers"},
                {"type": "object", "properties": {"ce_type": {"const": name}}},
            ]
        },
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"kafka": {"key": {**_UUID, "description": "The firm."}, "bindingVersion": KAFKA}},
        "examples": [{"payload": sample["data"]} for sample in event["samples"]],
    }


def _payload(event: Mapping[str, Any]) -> Document:
    found: Document = _opened({k: v for k, v in event["schema"].items() if k != "$schema"})
    if event["personal"]:
        found["x-personal"] = {
            field: {"subject": mark["subject"], "purpose": mark["purpose"], "value": _opened(mark["value"])}
            for field, mark in sorted(event["personal"].items())
        }
    return found


def _opened(schema: Any) -> Any:
    """The schema without its bar to fields it does not name."""
    if isinstance(schema, list):
        return [_opened(s) for s in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {k: _opened(v) for k, v in schema.items() if not (k == "additionalProperties" and v is False)}


def _of_relay() -> Document:
    count = {"type": "integer", "minimum": 0}
    return {
        "live": {
            "name": "live",
            "title": "The generation that consumers read",
            "contentType": CONTENT_TYPE,
            "payload": {
                "type": "object",
                "properties": {"generation": {"type": "integer", "minimum": 1}},
                "required": ["generation"],
            },
            "bindings": {"kafka": {"key": {"const": "live"}, "bindingVersion": KAFKA}},
            "examples": [{"payload": {"generation": 1}}],
        },
        "standing": {
            "name": "standing",
            "title": "How far a generation is; no payload when it is gone",
            "contentType": CONTENT_TYPE,
            "payload": {
                "type": "object",
                "properties": {
                    "generation": {"type": "integer", "minimum": 1},
                    "topic": {"type": "string"},
                    "topicid": {"type": "string"},
                    "partitions": {"type": "integer", "minimum": 1},
                    "position": count,
                    "leafhash": {"type": "string", "description": "Of the event at that position."},
                    "tails": {
                        "type": "object",
                        "additionalProperties": count,
                        "description": "The last position in each partition.",
                    },
                },
                "required": ["generation", "topic", "topicid", "partitions", "position", "leafhash", "tails"],
            },
            "bindings": {"kafka": {"key": {"type": "string", "pattern": "^generation/[0-9]+$"}, "bindingVersion": KAFKA}},
        },
    }


# --- what may change


def incompatible(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What a consumer of the document before would miss in the one after, a sentence each; nothing when it can go on."""
    was, now = before["components"], after["components"]
    found = [f"{name} is gone" for name in was["messages"] if name not in now["messages"]]
    for name in was["messages"].keys() & now["messages"].keys():
        old, new = was["messages"][name], now["messages"][name]
        found += _narrowed(f"{name}: its key", old.get("bindings"), new.get("bindings"))
        if name not in was["schemas"]:
            found += _narrowed(name, old["payload"], new["payload"])
    for name in was["schemas"].keys() & now["schemas"].keys():
        found += _narrowed(name, was["schemas"][name], now["schemas"][name])
        found += _marks(name, was["schemas"][name].get("x-personal", {}), now["schemas"][name].get("x-personal", {}))
    for channel, old in before["channels"].items():
        if channel not in after["channels"] or after["channels"][channel]["address"] != old["address"]:
            found.append(f"the topic of {channel} is another")
    return sorted(found)


def _marks(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for field, mark in old.items():
        if field not in new:
            yield f"{name}: {field} was sealed and is not there"
        elif (mark["subject"], mark["purpose"]) != (new[field]["subject"], new[field]["purpose"]):
            yield f"{name}: {field} is sealed for another subject or purpose"
        else:
            yield from _narrowed(f"{name}: {field}", mark["value"], new[field]["value"])


def _narrowed(where: str, old: Any, new: Any) -> list[str]:
    """In what a value of the new schema would surprise who reads by the old one."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return [] if old == new else [f"{where} was {json.dumps(old)}, is {json.dumps(new)}"]
    found: list[str] = []
    for key in (old.keys() | new.keys()) - NOT_READ:
        was, now = old.get(key), new.get(key)
        if key == "properties":
            there = now or {}
            for field, shape in (was or {}).items():
                found += _narrowed(f"{where}: {field}", shape, there[field]) if field in there else [f"{where}: {field} is gone"]
        elif key == "required":
            found += [f"{where}: {field} was always there and need not be now" for field in was or () if field not in (now or ())]
            # a field that was not there before is not on the record of yesterday's events, which stand beside today's
            found += [f"{where}: {field} must be optional" for field in now or () if field not in (was or ())]
        elif key == "enum":
            found += [f"{where}: {value} is no value any more" for value in was or () if value not in (now or ())]
            if was is None:
                found.append(f"{where} has a list of values and had none")
        else:
            found += _narrowed(f"{where}: {key}", was, now)
    return found


def text(described: Mapping[str, Mapping[str, Any]]) -> str:
    """The document as it stands in its file."""
    return json.dumps(document(described), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
