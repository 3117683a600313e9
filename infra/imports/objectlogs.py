"""Object-centric event logs (OCEL 2.0 and 1.0 JSON) as traces of one type of object.

An event that touches several objects of the type stands in each of their traces. Attribute changes of an object keep their times. Which
type makes the cases is given by the map, or guessed: the one that most events touch exactly once.
"""

import sqlite3
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

import orjson

from infra.imports.eventlogs import MAX_EVENTS, LogColumns, Trace, in_order, make_event
from infra.imports.jsons import plain, values
from infra.imports.rows import FileDefect, RowError, doubt, refusal
from infra.imports.source import Source
from infra.imports.values import moment

EPOCH_YEAR = 1970
_COLUMNS = LogColumns(
    case="ocel:oid", activity="ocel:activity", timestamp="ocel:timestamp", resource="resource", lifecycle=None, event_id="ocel:eid"
)
_RESOURCES = ("org:resource", "resource", "user", "performer")


class ObjectLog:
    """An OCEL JSON file. `object_type` is the type whose objects are the cases; after reading it says which one it was."""

    def __init__(self, source: Source, *, object_type: str | None = None, zone: tzinfo | None = None) -> None:
        self.source = source
        self.columns = _COLUMNS
        self.zone = zone
        self.given = object_type
        self.object_type = object_type
        self.types: dict[str, int] = {}

    def __iter__(self) -> Iterator[Trace]:
        db = sqlite3.connect("")
        try:
            for line in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-32768", "temp_store=FILE"):
                db.execute(f"PRAGMA {line}")
            db.executescript(
                "CREATE TABLE o (id TEXT PRIMARY KEY, type TEXT, data BLOB, seq INTEGER);"
                "CREATE TABLE e (seq INTEGER PRIMARY KEY, data BLOB);"
                "CREATE TABLE r (oid TEXT, seq INTEGER, qualifier TEXT)"
            )
            yield from self._load(db)
            db.executescript("CREATE INDEX r_oid ON r (oid, seq); CREATE INDEX r_seq ON r (seq)")
            yield from self._traces(db)
        finally:
            db.close()

    def _load(self, db: sqlite3.Connection) -> Iterator[Trace]:
        objects = events = 0
        known = False
        for path, value in values(self.source, 2):
            section = str(path[0]).removeprefix("ocel:") if path else ""
            if section in {"objects", "events", "objectTypes", "eventTypes", "global-log"}:
                known = True
            if section not in {"objects", "events"} or len(path) != 2:
                continue
            if not isinstance(value, dict):
                yield Trace(
                    0, events + objects, None, {}, [], [refusal(events + objects, section, value, "this is not an object or event")]
                )
                continue
            if section == "objects":
                objects += 1
                id, type, data = _object(path[1], value)
                if (
                    id is None
                    or db.execute("INSERT OR IGNORE INTO o VALUES (?, ?, ?, ?)", (id, type, orjson.dumps(data), objects)).rowcount
                    != 1
                ):
                    reason = "the object has no id" if id is None else "an object of this id stands in the file already"
                    yield Trace(
                        objects, objects, None, {}, [], [refusal(objects, "objects", id or "", reason)], rejected=[_flat(data)]
                    )
            else:
                events += 1
                data, related = _event(path[1], value)
                db.execute("INSERT INTO e VALUES (?, ?)", (events, orjson.dumps(data)))
                db.executemany("INSERT INTO r VALUES (?, ?, ?)", [(oid, events, q) for oid, q in dict.fromkeys(related)])
                if not related:
                    yield Trace(
                        events,
                        events,
                        None,
                        {},
                        [],
                        [refusal(events, "relationships", data.get("ocel:activity", ""), "the event touches no object")],
                        rejected=[data],
                    )
        if not known:
            raise FileDefect(
                "The JSON file is no object-centric log", "it has neither objects nor events", "Export the log as OCEL 2.0 JSON"
            )

    def _traces(self, db: sqlite3.Connection) -> Iterator[Trace]:
        self.types = dict(db.execute("SELECT coalesce(type, ''), count(*) FROM o GROUP BY 1 ORDER BY 2 DESC LIMIT 1000"))
        if self.given is not None and self.given not in self.types:
            raise FileDefect(
                f"No object has the type {self.given[:80]!r}",
                f"the log has {', '.join(map(repr, list(self.types)[:20])) or 'no objects'}",
                "Correct object_type in the import map",
            )
        chosen = self.object_type = self.given if self.given is not None else self._guess(db)
        if chosen is None:
            self.source.note("The log has no objects.")
            return
        if self.given is None:
            self.source.note(
                f"Each object of the type {chosen!r} was read as one case; name another as object_type in the import map."
            )
        for seq, oid in enumerate(
            db.execute("SELECT DISTINCT r.oid FROM r LEFT JOIN o ON o.id = r.oid WHERE o.id IS NULL LIMIT 1000").fetchall(), 1
        ):
            yield Trace(
                seq,
                seq,
                None,
                {},
                [],
                [refusal(seq, "relationships", oid[0], "events name this object, but the file does not describe it")],
            )
        chosen_objects = db.execute("SELECT id, data, seq FROM o WHERE type = ? ORDER BY seq", (chosen,))
        for number, (id, data, seq) in enumerate(chosen_objects, 1):
            yield self._trace(db, number, id, seq, orjson.loads(data))

    def _trace(self, db: sqlite3.Connection, number: int, id: str, seq: int, data: dict[str, Any]) -> Trace:
        errors: list[RowError] = []
        attributes: dict[str, str] = {"ocel:oid": id, "ocel:type": data["type"]}
        changes: list[tuple[datetime, str, str]] = []
        for name, at, value in data["attributes"]:
            when = moment(at) if at else None
            if at and when is None:
                errors.append(doubt(seq, name, at, "this is not a time that can be read; the value was taken without it"))
            if when is not None and when.year > EPOCH_YEAR:
                changes.append((when, name, value))
            if name not in attributes or when is not None:
                attributes[name] = value
        related = [(oid, q) for oid, q in data["related"]]
        trace = Trace(seq, number, id, attributes, [], errors, sorted(changes, key=lambda c: c[0]), related)
        rows = db.execute(
            "SELECT e.seq, e.data FROM r JOIN e USING (seq) WHERE r.oid = ? ORDER BY e.seq LIMIT ?", (id, MAX_EVENTS + 1)
        ).fetchall()
        if len(rows) > MAX_EVENTS:
            trace.errors.append(refusal(seq, "events", id, f"the object has more than {MAX_EVENTS:,} events"))
        for event_seq, raw in rows[:MAX_EVENTS]:
            own = orjson.loads(raw)
            others = db.execute(
                (
                    "SELECT DISTINCT r.oid, coalesce(o.type, '') FROM r LEFT JOIN o ON o.id = r.oid WHERE r.seq = ? AND r.oid "
                    "<> ? LIMIT 100"
                ),
                (event_seq, id),
            )
            for oid, type in others:
                key = f"objects/{type}"
                own[key] = f"{own[key]}, {oid}" if key in own else oid
            event = make_event(own, event_seq, self.columns, trace.errors, self.zone, self.source)
            if event is None:
                trace.rejected.append(own)
            else:
                event.resource = next((own[k] for k in _RESOURCES if own.get(k)), None)
                trace.events.append(event)
        return in_order(trace)

    def _guess(self, db: sqlite3.Connection) -> str | None:
        found = db.execute(
            "SELECT type, sum(n = 1) AS once, count(*) FROM (SELECT o.type, r.seq, count(*) AS n FROM r JOIN o ON "
            "o.id = r.oid GROUP BY 1, 2) GROUP BY 1 ORDER BY once DESC, 3 DESC LIMIT 1"
        ).fetchone()
        if found is None:
            found = db.execute("SELECT type FROM o GROUP BY type ORDER BY count(*) DESC LIMIT 1").fetchone()
        return found[0] if found else None


def _text(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else ""
        if value is None
        else ("true" if value else "false")
        if isinstance(value, bool)
        else str(plain(value))
    )


def _object(key: str | int, value: dict[str, Any]) -> tuple[str | None, str, dict[str, Any]]:
    if isinstance(key, str):  # OCEL 1.0: {"<id>": {"ocel:type", "ocel:ovmap"}}
        flat = value.get("ocel:ovmap")
        attributes = [(k, "", _text(v)) for k, v in flat.items()] if isinstance(flat, dict) else []
        type = _text(value.get("ocel:type"))
        return key, type, {"type": type, "attributes": attributes, "related": []}
    type = _text(value.get("type"))
    attributes = [(_text(a.get("name")), _text(a.get("time")), _text(a.get("value"))) for a in _dicts(value.get("attributes"))]
    related = [(_text(r.get("objectId")), _text(r.get("qualifier"))) for r in _dicts(value.get("relationships"))]
    return _text(value.get("id")) or None, type, {"type": type, "attributes": attributes, "related": related}


def _event(key: str | int, value: dict[str, Any]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    if isinstance(key, str):
        vmap, omap = value.get("ocel:vmap"), value.get("ocel:omap")
        own = {
            "ocel:eid": key,
            "ocel:activity": _text(value.get("ocel:activity")),
            "ocel:timestamp": _text(value.get("ocel:timestamp")),
        }
        extra = {k: _text(v) for k, v in vmap.items() if k not in own} if isinstance(vmap, dict) else {}
        return own | extra, [(_text(o), "") for o in omap] if isinstance(omap, list) else []
    own = {
        "ocel:eid": _text(value.get("id")),
        "ocel:activity": _text(value.get("type")),
        "ocel:timestamp": _text(value.get("time")),
    }
    extra = {
        _text(a.get("name")): _text(a.get("value")) for a in _dicts(value.get("attributes")) if _text(a.get("name")) not in own
    }
    return own | extra, [(_text(r.get("objectId")), _text(r.get("qualifier"))) for r in _dicts(value.get("relationships"))]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _flat(data: dict[str, Any]) -> dict[str, str]:
    return {k: _text(v) for k, v in data.items()}
