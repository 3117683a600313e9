"""Where each group stands in each firm's sequence: one row per group and firm, moved under its lock in the handler's own transaction.

CS4   A place moves with what the handler wrote, so whatever is delivered again is known and dropped.
CS5   Who handles a firm for a group holds the row's lock; a rival passes by. A consumer that was stopped and woken has lost its transaction.
CS6   A group that is ahead of the store, or has handled an event that is not the store's, stops loudly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from infra.bus.subscription import Subscription

CHANNEL = "chancery_bus"
"""Notified with a group's name when an operator has changed something of it."""


class Halted(Exception):
    """The group can't go on. Nothing was lost; the message says why and what to do."""


class AheadOfStore(Halted):
    """The group has handled, or was sent, events that the store does not have: the database was restored to an earlier moment, or is another.
    See what its handlers wrote since, then run `chancery bus replay` from a position that both share."""


class Forked(Halted):
    """The last event the group handled in a firm is not the one the store has there: the store's history was replaced by another.
    See what its handlers wrote of the other history, then run `chancery bus replay` from a position that both share."""


class Forgotten(Halted):
    """The group was forgotten (`chancery bus forget`) while it was at work. Started again, it begins anew."""


class NoSuchGroup(Exception):
    """No consumer has worked for this group, so there is nothing to see or to replay. `chancery bus lag` lists groups."""


@dataclass(frozen=True, slots=True)
class Place:
    """A group's place in a firm, locked. `head` is how many events the firm has; `origin` where the event there was first delivered
    from, when it has failed."""

    next: int
    furthest: int
    attempts: int
    wait: float
    head: int
    origin: dict[str, Any] | None


def open_group(c: psycopg.Connection[Any], subscription: Subscription) -> None:
    """Make the group known; refuse when it is ahead of the store."""
    firms = None if subscription.firms is None else sorted(subscription.firms)
    start = "0" if subscription.start == "beginning" else "(SELECT position FROM record.head)"
    c.execute(
        f"INSERT INTO chancery.bus_groups (name, start, firms, seen_at) VALUES (%s, {start}, %s, now())"
        " ON CONFLICT (name) DO UPDATE SET firms = excluded.firms, seen_at = now()",
        (subscription.group, firms),
    )
    enroll(c, subscription.group)
    check_not_ahead(c, subscription.group)
    c.execute("UPDATE chancery.bus_groups SET stopped = NULL WHERE name = %s", (subscription.group,))


def check_not_ahead(c: psycopg.Connection[Any], group: str) -> None:
    """The store has all that the group has handled, in every firm, or AheadOfStore."""
    ahead = c.execute(
        "SELECT p.firm_id, p.next FROM chancery.bus_positions p LEFT JOIN record.firm_heads h USING (firm_id)"
        " WHERE p.group_name = %s AND p.next > coalesce(h.firm_position, 0) LIMIT 1",
        (group,),
    ).fetchone()
    if ahead is not None:
        raise AheadOfStore(f"firm {ahead[0]}, at {ahead[1]}")


def enroll(c: psycopg.Connection[Any], group: str, firm: UUID | None = None) -> int:
    """Give the group a place in this firm, or in every firm, where it has none yet; answers how many there were."""
    return c.execute(
        "INSERT INTO chancery.bus_positions (firm_id, group_name, next, furthest)"
        " SELECT n.firm_id, n.name, n.at, n.at FROM (SELECT h.firm_id, g.name,"
        "  CASE WHEN g.start = 0 THEN 0 ELSE chancery.bus_place(h.firm_id, g.start) END AS at"
        "  FROM chancery.bus_groups g CROSS JOIN record.firm_heads h WHERE g.name = %(group)s AND (g.firms IS NULL OR h.firm_id = ANY(g.firms))"
        "  AND (%(firm)s::uuid IS NULL OR h.firm_id = %(firm)s)"
        "  AND NOT EXISTS (SELECT FROM chancery.bus_positions p WHERE p.firm_id = h.firm_id AND p.group_name = g.name)) n"
        " ON CONFLICT DO NOTHING",
        {"group": group, "firm": firm},
    ).rowcount


def behind(c: psycopg.Connection[Any], group: str, *, most: int = 64, besides: Sequence[UUID] = ()) -> list[tuple[UUID, int, bool]]:
    """Firms that have events for the group and may be worked on now, the longest waiting first; with its place in each, and
    whether nobody will send it what comes next: it has failed, or the group was set back."""
    return c.execute(
        "SELECT p.firm_id, p.next, p.attempts > 0 OR p.next < p.furthest FROM chancery.bus_positions p"
        " JOIN record.firm_heads h USING (firm_id) JOIN chancery.bus_groups g ON g.name = p.group_name"
        " WHERE p.group_name = %s AND p.next < h.firm_position AND (p.retry_at IS NULL OR p.retry_at <= now())"
        " AND (g.firms IS NULL OR p.firm_id = ANY(g.firms)) AND p.firm_id <> ALL(%s) ORDER BY p.updated_at LIMIT %s",
        (group, list(besides), most),
    ).fetchall()


def lock(c: psycopg.Connection[Any], group: str, firm: UUID) -> Place | None:
    """Hold the group's place in a firm until the transaction ends; None when another holds it, or the group has none there."""
    row = c.execute(
        "SELECT next, furthest, attempts, greatest(extract(epoch FROM retry_at - clock_timestamp()), 0)::float8, place"
        " FROM chancery.bus_positions WHERE firm_id = %s AND group_name = %s FOR UPDATE SKIP LOCKED",
        (firm, group),
    ).fetchone()
    if row is None:
        return None
    # a statement of its own, after the lock: its snapshot is not older than the place
    head = c.execute("SELECT firm_position FROM record.firm_heads WHERE firm_id = %s", (firm,)).fetchone()
    place = Place(row[0], row[1], row[2], row[3] or 0.0, 0 if head is None else head[0], row[4])
    if place.next > place.head:
        raise AheadOfStore(f"firm {firm}, at {place.next}")
    return place


def check_known(c: psycopg.Connection[Any], firm: UUID) -> None:
    """The store has this firm, or AheadOfStore."""
    if c.execute("SELECT FROM record.firm_heads WHERE firm_id = %s", (firm,)).fetchone() is None:
        raise AheadOfStore(f"firm {firm}, which the store has not")


def check_history(c: psycopg.Connection[Any], group: str, firm: UUID) -> None:
    """The last event that the group handled in a firm is still the store's, or Forked."""
    row = c.execute(
        "SELECT p.last_at, p.last_event, e.event_id FROM chancery.bus_positions p LEFT JOIN record.events e"
        " ON e.firm_id = p.firm_id AND e.firm_position = p.last_at"
        " WHERE p.firm_id = %s AND p.group_name = %s AND p.last_event IS NOT NULL",
        (firm, group),
    ).fetchone()
    if row is not None and row[1] != row[2]:
        raise Forked(f"firm {firm}, at {row[0]}")


def move(c: psycopg.Connection[Any], group: str, firm: UUID, next: int, last: tuple[UUID, int] | None) -> None:
    """Set the place, of which this transaction holds the lock. What failed before is behind it."""
    event, at = last or (None, None)
    c.execute(
        "UPDATE chancery.bus_positions SET next = %s, furthest = greatest(furthest, %s), last_event = coalesce(%s, last_event),"
        " last_at = coalesce(%s, last_at), attempts = 0, retry_at = NULL, error = NULL, place = NULL, updated_at = clock_timestamp()"
        " WHERE firm_id = %s AND group_name = %s",
        (next, next, event, at, firm, group),
    )


def fail(
    c: psycopg.Connection[Any], group: str, firm: UUID, attempts: int, pause: float, error: str, origin: dict[str, Any]
) -> None:
    """The event at the place has failed so often and rests so many seconds."""
    c.execute(
        "UPDATE chancery.bus_positions SET attempts = %s, retry_at = clock_timestamp() + make_interval(secs => %s), error = %s,"
        " place = %s, updated_at = clock_timestamp() WHERE firm_id = %s AND group_name = %s",
        (attempts, pause, error, Jsonb(origin), firm, group),
    )


def halt(c: psycopg.Connection[Any], group: str, error: BaseException) -> None:
    """Remember for `chancery bus lag` and `status` what stopped the group."""
    c.execute("UPDATE chancery.bus_groups SET stopped = %s WHERE name = %s", (type(error).__name__, group))


def seen(c: psycopg.Connection[Any], group: str) -> None:
    """A consumer of the group is at work."""
    if c.execute("UPDATE chancery.bus_groups SET seen_at = now() WHERE name = %s", (group,)).rowcount == 0:
        raise Forgotten(group)


# --- what operators do


def need(c: psycopg.Connection[Any], group: str) -> None:
    if c.execute("SELECT FROM chancery.bus_groups WHERE name = %s", (group,)).fetchone() is None:
        raise NoSuchGroup(group)


def replay(
    c: psycopg.Connection[Any], group: str, start: int | datetime, firm: UUID | None = None, *, skip: bool = False
) -> list[dict[str, Any]]:
    """Set the group back to the first event at or after a position of the record, or recorded then or later; answers what moved.

    With `skip` it is set forward too, where it stands before that: what lies between is then never handled.
    """
    place = f"chancery.bus_place(p.firm_id, {'%(start)s::timestamptz' if isinstance(start, datetime) else '%(start)s::bigint'})"
    with c.transaction():
        need(c, group)
        enroll(c, group)
        c.execute("UPDATE chancery.bus_groups SET stopped = NULL WHERE name = %s", (group,))
        rows = c.execute(
            "WITH held AS (SELECT firm_id, group_name, next AS was FROM chancery.bus_positions WHERE group_name = %(group)s"
            "  AND (%(firm)s::uuid IS NULL OR firm_id = %(firm)s) ORDER BY firm_id FOR UPDATE),"
            f" put AS (SELECT p.*, {place if skip else f'least(p.was, {place})'} AS at FROM held p)"
            " UPDATE chancery.bus_positions p SET next = put.at, attempts = 0, retry_at = NULL, error = NULL, place = NULL,"
            " last_event = NULL, last_at = NULL"
            " FROM put WHERE p.firm_id = put.firm_id AND p.group_name = put.group_name RETURNING p.firm_id, put.was, p.next",
            {"group": group, "firm": firm, "start": start if isinstance(start, datetime) else start - 1},
        ).fetchall()
        c.execute("SELECT pg_notify(%s, %s)", (CHANNEL, group))
    return [{"firm": str(f), "was": was, "next": next, "events": was - next} for f, was, next in sorted(rows) if was != next]


def forget(c: psycopg.Connection[Any], group: str) -> None:
    """Drop all that is known of a group: its places and its dead letters."""
    if c.execute("DELETE FROM chancery.bus_groups WHERE name = %s", (group,)).rowcount == 0:
        raise NoSuchGroup(group)


def lags(c: psycopg.Connection[Any], group: str | None = None) -> list[dict[str, Any]]:
    """For each group and firm: where it stands, how many events and how many seconds it is behind, what it failed at."""
    cursor = c.execute(
        "SELECT g.name, h.firm_id, coalesce(p.next, s.at), h.firm_position, p.attempts, p.retry_at, p.error,"
        " extract(epoch FROM now() - e.recorded_at)::float8"
        " FROM chancery.bus_groups g JOIN record.firm_heads h ON g.firms IS NULL OR h.firm_id = ANY(g.firms)"
        " LEFT JOIN chancery.bus_positions p ON p.firm_id = h.firm_id AND p.group_name = g.name"
        " LEFT JOIN LATERAL (SELECT chancery.bus_place(h.firm_id, g.start) AS at WHERE p.firm_id IS NULL) s ON true"
        " LEFT JOIN record.events e ON e.firm_id = h.firm_id AND e.firm_position = coalesce(p.next, s.at)"
        " WHERE %(group)s::text IS NULL OR g.name = %(group)s ORDER BY g.name, h.firm_id",
        {"group": group},
    )
    return [
        {
            "group": name,
            "firm": str(firm),
            "next": next,
            "head": head,
            "lag": head - next,
            "seconds": None if seconds is None else round(max(0.0, seconds), 1),
            "attempts": attempts or 0,
            "retry_at": retry_at,
            "error": error,
        }
        for name, firm, next, head, attempts, retry_at, error, seconds in cursor
    ]


def groups(c: psycopg.Connection[Any], group: str | None = None) -> list[dict[str, Any]]:
    """Each group: events and seconds behind over all its firms, dead letters, what stopped it, when it was last at work."""
    dead = dict(
        c.execute("SELECT group_name, count(*) FROM chancery.bus_dead_letters WHERE state <> 'gone' GROUP BY group_name").fetchall()
    )
    rows = c.execute(
        "SELECT name, stopped, seen_at FROM chancery.bus_groups WHERE %(group)s::text IS NULL OR name = %(group)s ORDER BY name",
        {"group": group},
    ).fetchall()
    found: dict[str, dict[str, Any]] = {
        name: {"group": name, "lag": 0, "seconds": 0.0, "dead_letters": dead.get(name, 0), "stopped": stopped, "seen_at": seen_at}
        for name, stopped, seen_at in rows
    }
    for row in lags(c, group):
        of = found.get(row["group"])
        if of is not None:
            of["lag"] += row["lag"]
            of["seconds"] = max(of["seconds"], row["seconds"] or 0.0)
    return list(found.values())
