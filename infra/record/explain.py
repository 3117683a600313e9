"""Why a record is as it is: for each field the event that made it so; and what changed in a record since a version of it.

Both fold the stream through the view, as the history does, so that they can't say anything else than the view shows.
"""

import typing
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

import psycopg

from domain.hints import personal_mark
from infra.record.history import Source, shape_of
from infra.record.reader import read_stream
from infra.record.vault import Vault
from projections.kernel import Recorded


async def rows_along(
    c: psycopg.AsyncConnection[Any], vault: Vault, s: Source, *, until: int | None = None, as_of: datetime | None = None
) -> AsyncIterator[tuple[Recorded, Any]]:
    """Each event of the stream up to a position and a business time, with the row after it."""
    row = None
    async for recorded in read_stream(c, vault, s.firm, s.stream_type, s.stream_id):
        if (until is not None and recorded.position > until) or (as_of is not None and recorded.occurred_at > as_of):
            continue
        if s.id in s.view.keys(recorded):
            row = s.view.fold(row, s.id, recorded)
        yield recorded, row


async def explain(
    c: psycopg.AsyncConnection[Any],
    vault: Vault,
    s: Source,
    *,
    personal: bool,
    field: str | None = None,
    until: int | None = None,
    as_of: datetime | None = None,
) -> list[Mapping[str, Any]] | None:
    """For each field, or the one named, its value and what made it so; None when there is no such row at that moment."""
    shape = shape_of(s.view.row)
    made: dict[str, tuple[Recorded, Any]] = {}
    before: dict[str, Any] = {}
    row = None
    async for recorded, row in rows_along(c, vault, s, until=until, as_of=as_of):
        after = shape.values(row)
        for name in after.keys() | before.keys():
            if before.get(name) != after.get(name):
                made[name] = (recorded, before.get(name))
        before = after
    if row is None:
        return None
    out: list[Mapping[str, Any]] = []
    for name, _, marked in shape.fields:
        if field is not None and name != field:
            continue
        hidden = marked and not personal
        entry: dict[str, Any] = {"field": name}
        known = made.get(name)
        if hidden:
            entry["masked"] = True
        else:
            entry["value"] = before.get(name)
            entry["old"] = known[1] if known else None
        entry["event"] = _told(known[0], personal=personal) if known else None
        out.append(entry)
    return out


def _told(r: Recorded, *, personal: bool) -> Mapping[str, Any]:
    told: dict[str, Any] = {
        "id": r.event_id,
        "type": r.name,
        "version": r.version,
        "position": r.position,
        "actor": r.actor,
        "command_id": r.command_id,
        "origin": r.origin,
        "occurred_at": r.occurred_at,
        "recorded_at": r.recorded_at,
    }
    reason = getattr(r.event, "reason", None)
    if reason is not None:
        sealed = personal_mark(typing.get_type_hints(type(r.event), include_extras=True)["reason"]) is not None
        told |= {"reason_masked": True} if sealed and not personal else {"reason": reason}
    return told


async def changed_since(
    c: psycopg.AsyncConnection[Any], vault: Vault, s: Source, version: int, *, personal: bool
) -> tuple[int, list[Mapping[str, Any]]]:
    """The version a record has now, and each field that differs from what it was at `version`."""
    shape = shape_of(s.view.row)
    then: Mapping[str, Any] = {}
    now: Mapping[str, Any] = {}
    reached = 0
    async for recorded, row in rows_along(c, vault, s):
        reached = recorded.version
        now = shape.values(row)
        if recorded.version <= version:
            then = now
    return reached, [
        {"field": name, "masked": True} if marked and not personal else {"field": name, "old": then.get(name), "new": now.get(name)}
        for name, _, marked in shape.fields
        if then.get(name) != now.get(name)
    ]
