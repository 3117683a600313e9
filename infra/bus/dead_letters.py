"""Events that a group could not handle: kept in a table, shown in a topic when there is Kafka, replayed to that one group.

CS16  A letter is written by the transaction that goes past its event, and taken away by the transaction that handles it.
CS17  It holds no personal value: what an exception said is kept only where the handler's author speaks to people (`Reject`, a refusal);
      the event itself is read from the record when it is shown or replayed.
CS18  The topic follows the table (a letter, then a tombstone, under one key); it can be made anew from it at any time.
"""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import orjson
import psycopg
from psycopg.types.json import Jsonb

from domain.kernel import Refused
from infra.bus import positions
from infra.bus.gaps import read
from infra.bus.messages import encode
from infra.bus.positions import CHANNEL
from infra.bus.subscription import Reject, Retry
from infra.record.reader import EventRow

REASON = 500  # characters
TRACE = 12  # places in the code
PUBLISHED_AT_ONCE = 100


class NoSuchLetter(Exception):
    """The group has no such dead letter. `chancery bus dead-letters list --group GROUP` shows those it has."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it stands in the table."""

    group: str
    event_id: UUID
    firm: UUID
    position: int
    firm_position: int
    stream: str
    type: str
    state: str
    attempts: int
    replays: int
    error: str
    reason: str | None
    trace: list[str]
    place: dict[str, Any]
    died_at: datetime


_COLUMNS = (
    "group_name, event_id, firm_id, position, firm_position, stream_type || '/' || stream_id, type, state, attempts, replays, error, reason,"
    " trace, place, died_at"
)


def bury(c: psycopg.Connection[Any], group: str, row: EventRow, attempts: int, error: Exception, place: dict[str, Any]) -> None:
    """Write a letter; one that is there for the same event is written over."""
    c.execute(
        "INSERT INTO chancery.bus_dead_letters (firm_id, group_name, event_id, position, firm_position, stream_type, stream_id, type,"
        " attempts, error, reason, trace, place) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (firm_id, group_name, event_id) DO UPDATE SET state = 'dead', attempts = excluded.attempts, tries = 0, retry_at = NULL,"
        " error = excluded.error, reason = excluded.reason, trace = excluded.trace, place = excluded.place, died_at = now(),"
        " published = false",
        (
            row.firm_id,
            group,
            row.event_id,
            row.position,
            row.firm_position,
            row.stream_type,
            row.stream_id,
            row.type,
            attempts,
            type(error).__name__,
            reason(error),
            trace(error),
            Jsonb(place),
        ),
    )


def reason(error: Exception) -> str | None:
    """What may be told of an error: the words of those who know that they are kept."""
    if isinstance(error, Reject):
        return str(error)[:REASON] or None
    return error.why[:REASON] if isinstance(error, Refused) else None


def trace(error: Exception) -> list[str]:
    """Where in the code it happened, without values."""
    return [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-TRACE:]]


# --- what operators do


def letters(c: psycopg.Connection[Any], group: str, *, firm: UUID | None = None, most: int = 1_000) -> list[Letter]:
    """The group's dead letters in the order of the record."""
    rows = c.execute(
        f"SELECT {_COLUMNS} FROM chancery.bus_dead_letters WHERE group_name = %(group)s AND state <> 'gone'"
        " AND (%(firm)s::uuid IS NULL OR firm_id = %(firm)s) ORDER BY position LIMIT %(most)s",
        {"group": group, "firm": firm, "most": most},
    ).fetchall()
    return [Letter(*row) for row in rows]


def letter(c: psycopg.Connection[Any], group: str, event: UUID) -> Letter:
    row = c.execute(
        f"SELECT {_COLUMNS} FROM chancery.bus_dead_letters WHERE group_name = %s AND event_id = %s AND state <> 'gone'",
        (group, event),
    ).fetchone()
    if row is None:
        raise NoSuchLetter
    return Letter(*row)


def count(c: psycopg.Connection[Any], group: str) -> int:
    row = c.execute("SELECT count(*) FROM chancery.bus_dead_letters WHERE group_name = %s AND state <> 'gone'", (group,)).fetchone()
    return 0 if row is None else int(row[0])


def event_of(c: psycopg.Connection[Any], of: Letter) -> EventRow | None:
    """The event, from the record."""
    return next(iter(read(c, of.firm, of.firm_position, of.firm_position + 1)), None)


def replay(c: psycopg.Connection[Any], group: str, events: Iterable[UUID] | None = None) -> list[UUID]:
    """Hand these letters (all when None) to the group's consumers again; answers their event ids."""
    chosen = None if events is None else list(events)
    with c.transaction():
        positions.need(c, group)
        rows = c.execute(
            "UPDATE chancery.bus_dead_letters SET state = 'replaying', tries = 0, retry_at = NULL, replays = replays + 1"
            " WHERE group_name = %(group)s AND state = 'dead' AND (%(events)s::uuid[] IS NULL OR event_id = ANY(%(events)s)) RETURNING event_id",
            {"group": group, "events": chosen},
        ).fetchall()
        if chosen and not rows and all(not _there(c, group, e) for e in chosen):
            raise NoSuchLetter
        c.execute("SELECT pg_notify(%s, %s)", (CHANNEL, group))
    return [id for (id,) in rows]


def _there(c: psycopg.Connection[Any], group: str, event: UUID) -> bool:
    try:
        letter(c, group, event)
    except NoSuchLetter:
        return False
    return True


def drop(c: psycopg.Connection[Any], group: str, events: Iterable[UUID] | None = None) -> list[UUID]:
    """Give these letters (all when None) up: the group never handles their events."""
    chosen = None if events is None else list(events)
    with c.transaction():
        positions.need(c, group)
        rows = c.execute(
            "SELECT firm_id, event_id FROM chancery.bus_dead_letters WHERE group_name = %(group)s AND state <> 'gone'"
            " AND (%(events)s::uuid[] IS NULL OR event_id = ANY(%(events)s)) ORDER BY position FOR UPDATE",
            {"group": group, "events": chosen},
        ).fetchall()
        if chosen and not rows:
            raise NoSuchLetter
        for firm, event in rows:
            take_away(c, group, firm, event)
        c.execute("SELECT pg_notify(%s, %s)", (CHANNEL, group))
    return [event for _, event in rows]


# --- what consumers do


def waiting(c: psycopg.Connection[Any], group: str, firms: frozenset[UUID] | None = None) -> list[tuple[UUID, UUID]]:
    """(firm, event id) of letters that are to be replayed now, in the order of the record."""
    return c.execute(
        "SELECT firm_id, event_id FROM chancery.bus_dead_letters WHERE group_name = %(group)s AND state = 'replaying'"
        " AND (retry_at IS NULL OR retry_at <= now()) AND (%(firms)s::uuid[] IS NULL OR firm_id = ANY(%(firms)s)) ORDER BY position LIMIT 100",
        {"group": group, "firms": None if firms is None else sorted(firms)},
    ).fetchall()


@dataclass(frozen=True, slots=True)
class Taken:
    """A letter that is being replayed: how often its event was tried in all, and in this replay."""

    row: EventRow
    attempts: int
    tries: int


def take(c: psycopg.Connection[Any], group: str, firm: UUID, event: UUID) -> Taken | None:
    """Hold a letter that is to be replayed until the transaction ends; None when it is no longer there to be handled."""
    row = c.execute(
        "SELECT firm_position, attempts, tries FROM chancery.bus_dead_letters"
        " WHERE firm_id = %s AND group_name = %s AND event_id = %s AND state = 'replaying' FOR UPDATE SKIP LOCKED",
        (firm, group, event),
    ).fetchone()
    if row is None:
        return None
    found = next(iter(read(c, firm, row[0], row[0] + 1)), None)
    if found is None or found.event_id != event:
        raise positions.Forked(f"firm {firm}, at {row[0]}")
    return Taken(found, row[1], row[2])


def failed_again(c: psycopg.Connection[Any], group: str, taken: Taken, error: Exception, retry: Retry) -> float | None:
    """A replayed letter failed: it rests and is tried again, or is dead again; answers the seconds it rests."""
    row, attempts, tries = taken.row, taken.attempts + 1, taken.tries + 1
    pause = None if tries >= retry.tries or isinstance(error, Reject) else retry.pause(tries)
    c.execute(
        "UPDATE chancery.bus_dead_letters SET state = %s, attempts = %s, tries = %s,"
        " retry_at = clock_timestamp() + make_interval(secs => %s), error = %s, reason = %s, trace = %s, published = false"
        " WHERE firm_id = %s AND group_name = %s AND event_id = %s",
        (
            "dead" if pause is None else "replaying",
            attempts,
            tries,
            pause,
            type(error).__name__,
            reason(error),
            trace(error),
            row.firm_id,
            group,
            row.event_id,
        ),
    )
    return pause


def take_away(c: psycopg.Connection[Any], group: str, firm: UUID, event: UUID) -> None:
    """The letter is settled. One that the topic shows is kept, unseen, until the topic says so too."""
    key = (firm, group, event)
    where = "WHERE firm_id = %s AND group_name = %s AND event_id = %s"
    c.execute(f"UPDATE chancery.bus_dead_letters SET state = 'gone', published = false {where}", key)


def settle(c: psycopg.Connection[Any], group: str, firm: UUID, start: int, end: int, besides: Iterable[UUID]) -> None:
    """The group has handled these places again, but for `besides`: letters of them are settled."""
    c.execute(
        "UPDATE chancery.bus_dead_letters SET state = 'gone', published = false WHERE firm_id = %s AND group_name = %s"
        " AND firm_position >= %s AND firm_position < %s AND event_id <> ALL(%s) AND state <> 'gone'",
        (firm, group, start, end, list(besides)),
    )


# --- the topic


class Unpublished(Exception):
    """Kafka did not take what the dead-letter topic is to show. The table has it; a consumer of the group offers it again."""


class Publisher(Protocol):
    """Puts messages into the dead-letter topic; `flush` answers when all are there, or raises Unpublished."""

    def put(self, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]) -> None: ...

    def flush(self) -> None: ...


def publish(c: psycopg.Connection[Any], group: str, publisher: Publisher | None) -> int:
    """Bring the topic to what the table says, as far as it is not; answers how many letters. Without a topic, forget what is gone."""
    if publisher is None:
        c.execute("DELETE FROM chancery.bus_dead_letters WHERE group_name = %s AND state = 'gone' AND NOT published", (group,))
        return 0
    done = 0
    while True:
        with c.transaction():
            rows = [
                Letter(*row)
                for row in c.execute(
                    f"SELECT {_COLUMNS} FROM chancery.bus_dead_letters WHERE group_name = %s AND NOT published"
                    " ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED",
                    (group, PUBLISHED_AT_ONCE),
                ).fetchall()
            ]
            if not rows:
                return done
            for each in rows:
                if each.state == "gone":
                    publisher.put(key_of(each), None, [])
                else:
                    publisher.put(key_of(each), *_message(c, each))
            publisher.flush()
            gone = [r.event_id for r in rows if r.state == "gone"]
            kept = [r.event_id for r in rows if r.state != "gone"]
            c.execute("DELETE FROM chancery.bus_dead_letters WHERE group_name = %s AND event_id = ANY(%s)", (group, gone))
            c.execute(
                "UPDATE chancery.bus_dead_letters SET published = true WHERE group_name = %s AND event_id = ANY(%s)", (group, kept)
            )
            done += len(rows)


def key_of(of: Letter) -> bytes:
    """A letter's key in the topic: group and event id."""
    return f"{of.group}/{of.event_id}".encode()


def _message(c: psycopg.Connection[Any], of: Letter) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The event as the bus carries it, without what is sealed, and what became of it."""
    texts = {
        "group": of.group,
        "error": of.error,
        "reason": of.reason or "",
        "attempts": str(of.attempts),
        "replays": str(of.replays),
        "at": of.died_at.astimezone(UTC).isoformat(),
        "place": orjson.dumps(of.place).decode(),
        "trace": "\n".join(of.trace),
    }
    about = [(f"dead_{name}", text.encode()) for name, text in texts.items()]
    row = event_of(c, of)
    try:
        if row is None:
            return b"", about
        encoded = encode(row._replace(sealed=None))
    except ValueError:  # not a leaf of ours: an application of the eventsourcing library wrote it
        return b"", about
    return encoded.value, [*encoded.headers, *about]
