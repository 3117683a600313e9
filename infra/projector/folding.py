"""Folding events into a view's rows and their history: what was true when, and since when it was known (spec/decisions/0007)."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import psycopg

from infra.projector.tables import FOREVER, Key, Slice, Table
from infra.record import wire
from projections.kernel import Recorded, View

Row = TypeVar("Row")


class Poisoned(Exception):
    """An event could not be applied to a view. `position` is None when the batch failed as a whole."""

    def __init__(self, view: str, position: int | None, error: Exception) -> None:
        super().__init__(f"{view} at {position}: {type(error).__name__}")
        self.view = view
        self.position = position
        self.error = error


class _Line(Generic[Row]):
    """One key's slices while a batch is applied: the one that stands, and those to be written to the history."""

    __slots__ = ("_kept", "closed", "current", "key", "table", "there", "view")

    def __init__(self, view: View[Row], table: Table[Row], key: Key, current: Slice[Row] | None) -> None:
        self.view = view
        self.table = table
        self.key = key
        self.current = current
        self.there = current is not None and current.row is not None
        self.closed: list[Slice[Row]] = []
        self._kept: list[Slice[Row]] | None = None

    def _after(self, before: Slice[Row] | None, r: Recorded, valid_from: datetime) -> Slice[Row]:
        """What an event makes of a slice, from a business time on."""
        row = None if before is None else before.row
        created = r.occurred_at if before is None or row is None else before.created_at
        version = 0 if before is None else before.version
        if r.stream_id == self.key[1]:
            version = r.version
        return Slice(self.view.fold(row, self.key[1], r), version, created, valid_from, r.position, r.position)

    def apply(self, r: Recorded, c: psycopg.Connection[Any]) -> None:
        current = self.current
        if current is not None and r.occurred_at < current.updated_at:
            self._late(r, current, c)
            return
        self.current = self._after(current, r, r.occurred_at)
        if current is not None:
            current.valid_to = wire.micros(r.occurred_at)
            current.known_to = r.position
            self.closed.append(current)

    def _late(self, r: Recorded, current: Slice[Row], c: psycopg.Connection[Any]) -> None:
        """Apply an event whose business time is before the latest: what holds from then on is believed anew, with the event in it."""
        if self._kept is None:
            ours = {(s.updated_at, s.known_from) for s in (*self.closed, current)}
            self._kept = [s for s in self.table.believed(c, self.key) if (s.updated_at, s.known_from) not in ours]
        chain = [s for s in (*self._kept, *self.closed) if s.known_end == FOREVER and wire.micros(s.updated_at) < s.valid_to] + [
            current
        ]
        chain.sort(key=lambda s: s.updated_at)
        place = next(i for i, s in enumerate(chain) if s.updated_at > r.occurred_at)
        base = chain[place - 1] if place else None
        anew = [self._after(base, r, r.occurred_at), *[self._after(s, r, s.updated_at) for s in chain[place:]]]
        if base is not None:
            if base.updated_at < r.occurred_at:
                until = wire.micros(r.occurred_at)
                self.closed.append(replace(base, known_from=r.position, valid_to=until, known_to=0, kept=False))
            self._end(base, r.position)
        for s in chain[place:]:
            self._end(s, r.position)
        for s, successor in itertools.pairwise(anew):
            s.valid_to = wire.micros(successor.updated_at)
            s.known_to = 0
            self.closed.append(s)
        self.current = anew[-1]

    def _end(self, s: Slice[Row], position: int) -> None:
        s.known_end = position
        if not any(s is other for other in self.closed):
            self.closed.append(s)


def fold_batch(view: View[Any], table: Table[Any], c: psycopg.Connection[Any], events: Iterable[Recorded]) -> None:
    """Apply events to a view: each key's row is read once, folded in memory, and written once with what it superseded.

    Raises Poisoned with the event's position when a fold fails, without one when the database refuses the batch.
    """
    touched: list[tuple[Recorded, list[UUID]]] = []
    wanted: dict[Key, bool] = {}  # whether the key may have been known before
    for r in events:
        try:
            keys = list(dict.fromkeys(view.keys(r)))
        except Exception as e:
            raise Poisoned(view.name, r.position, e) from e
        if keys:
            touched.append((r, keys))
            for key in keys:
                wanted.setdefault((r.firm, key), not (r.stream_id == key and r.version == 1))
    if not touched:
        return
    try:
        found = table.load(c, list(wanted), gone=[k for k, before in wanted.items() if before])
        lines = {key: _Line(view, table, key, found.get(key)) for key in wanted}
        for r, keys in touched:
            for key in keys:
                try:
                    lines[(r.firm, key)].apply(r, c)
                except psycopg.Error:
                    raise
                except Exception as e:
                    raise Poisoned(view.name, r.position, e) from e
        _save(table, c, lines)
    except (psycopg.OperationalError, psycopg.InterfaceError, Poisoned):
        raise
    except Exception as e:
        raise Poisoned(view.name, None, e) from e


def _save(table: Table[Any], c: psycopg.Connection[Any], lines: Mapping[Key, _Line[Any]]) -> None:
    current: dict[Key, Slice[Any]] = {}
    gone: list[Key] = []
    closed: list[tuple[Key, Slice[Any]]] = []
    for key, line in lines.items():
        closed += [(key, s) for s in line.closed]
        standing = line.current
        if standing is None:
            continue
        if standing.row is not None:
            current[key] = standing
            continue
        if line.there:
            gone.append(key)
        if not standing.kept:
            closed.append((key, standing))
    table.save(c, current, gone)
    if closed:
        table.keep(c, closed)
