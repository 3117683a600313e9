"""`python -m infra.spec` writes spec/events, for each declared event its schema and samples of its stored form, and spec/asyncapi.json.

The files are append-only. A field may be added when it is optional; whatever else changes an event is refused, because the record
has events of the old form: declare the next version and an upcaster instead. Every sample ever committed decodes for ever.
"""

import dataclasses
import hashlib
import json
import sys
import types
import typing
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson

import spec
from domain.hints import bare, personal_mark
from domain.kernel import EVENTS
from infra import registry
from infra.bus import asyncapi
from infra.record.codec import CODECS, MAX_INTEGER, b64url, disclose

FOLDER = Path(spec.__file__).parent / "events"
DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"

Schema = dict[str, Any]


class Changed(Exception):
    """An event that may be on the record was changed. Declare its next version and an upcaster instead."""


def schema_of(hint: Any) -> Schema:
    """JSON Schema (2020-12) of a hint's stored form."""
    hint = bare(hint)
    simple: dict[Any, Schema] = {
        str: {"type": "string"},
        int: {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
        bool: {"type": "boolean"},
        UUID: {"type": "string", "format": "uuid"},
        Decimal: {"type": "string", "pattern": DECIMAL},
        datetime: {"type": "string", "format": "date-time"},
        date: {"type": "string", "format": "date"},
    }
    if hint in simple:
        return dict(simple[hint])
    if get_origin(hint) is Literal:
        return {"enum": sorted(get_args(hint))}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"enum": sorted(str(m) for m in hint)}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": schema_of(get_args(hint)[0])}
    if get_origin(hint) in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(get_args(hint)[1])}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint, include_extras=True)
        fields = dataclasses.fields(hint)
        return {
            "type": "object",
            "properties": {f.name: schema_of(hints[f.name]) for f in fields},
            "required": sorted(f.name for f in fields if _required(f, hints[f.name])),
            "additionalProperties": False,
        }
    raise TypeError(f"not storable: {hint}")


def _optional(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _optional(get_args(hint)[0])
    return get_origin(hint) in (typing.Union, types.UnionType) and type(None) in get_args(hint)


def _required(f: "dataclasses.Field[Any]", hint: Any) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and not _optional(hint)


def sample_of(hint: Any, path: str) -> Any:
    """One value of a hint, every optional part present, the same in every run."""
    hint = bare(hint)
    if hint is str:
        return path.rsplit(".", 1)[-1]
    if hint is int:
        return 1 + hashlib.sha256(path.encode()).digest()[0] % 9
    if hint is bool:
        return True
    if hint is UUID:
        return uuid5(NAMESPACE_URL, path)
    if hint is Decimal:
        return Decimal("1250.50")
    if hint is datetime:
        return datetime(2026, 1, 5, 9, 30, 0, 250_000, tzinfo=UTC)
    if hint is date:
        return date(2026, 1, 5)
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return next(iter(hint))
    if get_origin(hint) is tuple:
        return (sample_of(get_args(hint)[0], f"{path}.item"),)
    if get_origin(hint) in (dict, Mapping):
        return {"key": sample_of(get_args(hint)[1], f"{path}.value")}
    hints = typing.get_type_hints(hint, include_extras=True)
    return hint(**{f.name: sample_of(hints[f.name], f"{path}.{f.name}") for f in dataclasses.fields(hint)})


def describe(name: str, cls: type) -> dict[str, Any]:
    """What is written of one event, with one sample."""
    hints = typing.get_type_hints(cls, include_extras=True)
    marks = {field: mark for field, hint in hints.items() if (mark := personal_mark(hint)) is not None}
    whole = schema_of(cls)
    data: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {field: shape for field, shape in whole["properties"].items() if field not in marks},
        "required": [field for field in whole["required"] if field not in marks],
        "additionalProperties": False,
    }
    if marks:
        data["properties"]["_sd"] = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    personal = {
        field: {"subject": mark.subject or "(the stream)", "purpose": mark.purpose, "value": whole["properties"][field]}
        for field, mark in marks.items()
    }
    return {"type": name, "schema": data, "personal": personal, "samples": [sample(name, cls)]}


def sample(name: str, cls: type) -> dict[str, Any]:
    """The stored form of a sample: its public data, and its disclosures under salts that are the same in every run."""
    stored, found = CODECS.named(name).encode(sample_of(cls, name), uuid5(NAMESPACE_URL, name))
    disclosures = []
    for field, value in disclose([d.text for d in found]).items():
        salt = b64url(hashlib.sha256(f"{name}.{field}".encode()).digest()[:16])
        disclosures.append(b64url(orjson.dumps([salt, field, value])))
    if disclosures:
        stored["_sd"] = sorted(b64url(hashlib.sha256(d.encode()).digest()) for d in disclosures)
    return {"data": stored, "disclosures": disclosures}


def decode(name: str, stored: Mapping[str, Any]) -> Any:
    """The event of a sample, as today's classes see it."""
    return CODECS.decode(name, dict(stored["data"]), disclose(list(stored["disclosures"])))


def merged(before: Mapping[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    """What to write when there is a file already: all its samples and the new one; `Changed` when it is another event."""
    if before is None:
        return after
    _only_grown(after["type"], before["schema"], after["schema"])
    for field, was in before["personal"].items():
        now = after["personal"].get(field)
        if now is None or (was["subject"], was["purpose"]) != (now["subject"], now["purpose"]):
            raise Changed(f"{after['type']}: {field} is another personal field, or none")
        _only_grown(f"{after['type']}: {field}", was["value"], now["value"])
    samples = list(before["samples"])
    after["samples"] = samples + [s for s in after["samples"] if s not in samples]
    return after


def _only_grown(where: str, before: Any, after: Any) -> None:
    """A stored value of the schema before must be one of the schema after."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        if before != after:
            raise Changed(f"{where} was {before}, is {after}")
        return
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if key == "properties":
            for field in old or {}:
                if field not in (new or {}):
                    raise Changed(f"{where}: {field} is gone")
                _only_grown(f"{where}: {field}", (old or {})[field], (new or {})[field])
        elif key == "required":
            if added := set(new or ()) - set(old or ()):
                raise Changed(f"{where}: {', '.join(sorted(added))} must be optional")
        elif key == "enum":
            if gone := set(old or ()) - set(new or ()):
                raise Changed(f"{where}: {', '.join(sorted(gone))} is no value any more")
        else:
            _only_grown(f"{where}: {key}", old, new)


def files() -> dict[Path, str]:
    """What should stand in spec/events for everything that is declared."""
    registry.load()
    out = {}
    for name, cls in sorted(EVENTS.items()):
        path = FOLDER / f"{name}.json"
        before = json.loads(path.read_text()) if path.exists() else None
        out[path] = json.dumps(merged(before, describe(name, cls)), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return out


def published(wanted: Mapping[Path, str]) -> str:
    """What should stand in spec/asyncapi.json, given what should stand in spec/events; `Changed` when a consumer would miss something."""
    stored = {path: path.read_text() for path in FOLDER.glob("*.json")}  # retired versions too: they are on the record
    after = {path.stem: json.loads(text) for path, text in (stored | dict(wanted)).items()}
    if asyncapi.FILE.exists():
        missed = asyncapi.incompatible(json.loads(asyncapi.FILE.read_text()), asyncapi.document(after))
        if missed:
            raise Changed("\n".join(missed))
    return asyncapi.text(after)


def main() -> int:
    """Write what is new; answers 1 when an event was changed."""
    FOLDER.mkdir(exist_ok=True)
    try:
        wanted = files()
        events = len(wanted)
        wanted[asyncapi.FILE] = published(wanted)
    except Changed as e:
        sys.stderr.write(f"{e}\n{Changed.__doc__}\n")
        return 1
    written = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in written:
        path.write_text(wanted[path])
    sys.stdout.write(f"{events} events, {len(written)} files written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
