"""Folding events into a view's rows and their history: what was true when, and since when it was known (spec/decisions/0007).

Rows stay in memory from one batch to the next, up to a limit, those touched last. That is sound because a view's position moves by
compare-and-set: whoever has moved it from P to Q knows its rows at Q. When a batch does not come to stand, `forget` drops them.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import psycopg

from infra.projector.routing import Touched
from infra.projector.tables import Key, Slice, Table, Write, run
from infra.record import wire
from projections.kernel import Recorded, View

Row = TypeVar("Row")

MOST_LINES = 20_000  # rows of one view held in memory
MOST_LINES_IN_ALL = 60_000  # of all views of a process: 1 to 2 KB each
MOST_KEPT = 1_000  # superseded slices of one row held in memory, for late events
MOST_KEPT_IN_ALL = 100_000  # of all rows of one view


class Poisoned(Exception):
    """An event could not be applied to a view. `position` is None when the batch failed as a whole."""

    def __init__(self, view: str, position: int | None, error: Exception) -> None:
        super().__init__(f"{view} at {position}: {type(error).__name__}")
        self.view = view
        self.position = position
        self.error = error


class Line(Generic[Row]):
    """One key's slices: the one that stands, and those of this batch that are to be written to the history."""

    __slots__ = ("batch", "closed", "current", "kept", "key", "there")

    def __init__(self, key: Key, current: Slice[Row] | None) -> None:
        self.key = key
        self.begin(current)
        self.closed: list[Slice[Row]] = []
        self.batch = 0  # the last one that touched it
        self.kept: list[Slice[Row]] | None = None  # those in the history that a late event may change; None when not known

    @property
    def number(self) -> "Number":
        return self.key[0].int, self.key[1].int

    def begin(self, current: Slice[Row] | None) -> None:
        self.current = current
        self.there = current is not None and current.row is not None

    def _after(self, view: View[Row], before: Slice[Row] | None, r: Recorded, valid_from: datetime) -> Slice[Row]:
        """What an event makes of a slice, from a business time on."""
        row = None if before is None else before.row
        created = r.occurred_at if before is None or row is None else before.created_at
        version = 0 if before is None else before.version
        if r.stream_id.int == self.key[1].int:  # five times as fast as asking whether the ids are equal
            version = r.version
        return Slice(view.fold(row, self.key[1], r), version, created, valid_from, r.position, r.position)

    def apply(self, view: View[Row], r: Recorded, believed: Callable[[Key], list[Slice[Row]]]) -> bool:
        """Apply an event; answers whether it came late."""
        current = self.current
        if current is not None and r.occurred_at < current.updated_at:
            self._late(view, r, current, believed)
            return True
        self.current = self._after(view, current, r, r.occurred_at)
        if current is not None:
            current.valid_to = wire.micros(r.occurred_at)
            current.known_to = r.position
            self._close(current)
        return False

    def _late(self, view: View[Row], r: Recorded, current: Slice[Row], believed: Callable[[Key], list[Slice[Row]]]) -> None:
        """Apply an event whose business time is before the latest: what holds from then on is believed anew, with the event in it."""
        if self.kept is None:
            ours = {(s.updated_at, s.known_from) for s in (*self.closed, current)}
            self.kept = [s for s in believed(self.key) if (s.updated_at, s.known_from) not in ours]
        chain = [s for s in (*self.kept, *self.closed) if s.lasting]
        chain.append(current)
        chain.sort(key=lambda s: s.updated_at)
        place = next(i for i, s in enumerate(chain) if s.updated_at > r.occurred_at)
        base = chain[place - 1] if place else None
        anew = [self._after(view, base, r, r.occurred_at), *[self._after(view, s, r, s.updated_at) for s in chain[place:]]]
        if base is not None:
            if base.updated_at < r.occurred_at:
                until = wire.micros(r.occurred_at)
                self._close(replace(base, known_from=r.position, valid_to=until, known_to=0, kept=False, closed=False))
            self._end(base, r.position)
        for s in chain[place:]:
            self._end(s, r.position)
        for s, successor in itertools.pairwise(anew):
            s.valid_to = wire.micros(successor.updated_at)
            s.known_to = 0
            self._close(s)
        self.current = anew[-1]

    def _end(self, s: Slice[Row], position: int) -> None:
        s.known_end = position
        self._close(s)

    def _close(self, s: Slice[Row]) -> None:
        if not s.closed:
            s.closed = True
            self.closed.append(s)

    def written(self) -> None:
        """What was superseded stands in the history now."""
        if self.kept is not None:
            self.kept = [s for s in (*self.kept, *self.closed) if s.lasting]
            if len(self.kept) > MOST_KEPT:
                self.kept = None
        for s in self.closed:
            s.kept = True
            s.closed = False
            s.fields = None
        self.closed = []


Number = tuple[int, int]
"""A key as numbers, whose hash is worked out ten times as fast as that of ids."""

Fetch = Callable[[Sequence[Key], Sequence[Key]], Mapping[Key, Slice[Any]]]
"""The current slices of keys; of those in the second list also the slice that took the row away."""
Believed = Callable[[Key], list[Slice[Any]]]


class Folding(Generic[Row]):
    """One view's rows in memory, and what events make of them."""

    def __init__(self, view: View[Row], table: Table[Row]) -> None:
        self.view = view
        self.table = table
        self.lines: dict[Number, Line[Row]] = {}  # those touched last at the end
        self._batch = 0
        self._late = False  # whether any event came late so far

    def forget(self) -> None:
        self.lines.clear()

    def fold(self, touched: Touched, fetch: Fetch, believed: Believed) -> list[Line[Row]]:
        """Apply events; answers the lines they touched. Raises Poisoned with the event's position, and then has forgotten everything."""
        self._batch += 1
        try:
            return self._fold(touched, fetch, believed)
        except (psycopg.OperationalError, psycopg.InterfaceError, Poisoned):
            self.forget()
            raise
        except Exception as e:
            self.forget()
            raise Poisoned(self.view.name, None, e) from e

    def _fold(self, touched: Touched, fetch: Fetch, believed: Believed) -> list[Line[Row]]:
        lines, view, batch = self.lines, self.view, self._batch
        if view.once:
            return self._made(touched)
        steps: list[tuple[Line[Row], Recorded]] = []
        unknown: list[Line[Row]] = []
        before: list[Key] = []  # those that may have been known and gone
        for r, keys in touched:
            firm = r.firm.int
            for id in keys:
                number = (firm, id.int)
                line = lines.get(number)
                if line is None:
                    line = lines[number] = Line((r.firm, id), None)
                    if id.int != r.event_id.int:  # a row that has an event's own id begins with it
                        unknown.append(line)
                        if r.version != 1 or id.int != r.stream_id.int:
                            before.append(line.key)
                steps.append((line, r))
        if unknown:
            found = fetch([line.key for line in unknown], before)
            for line in unknown:
                if found and line.key in found:
                    line.begin(found[line.key])
                elif self._late:
                    line.kept = []  # it has no history yet, and what it gets is worth holding on to
        mine: list[Line[Row]] = []
        for line, r in steps:
            if line.batch != batch:
                line.batch = batch
                mine.append(line)
            try:
                if line.apply(view, r, believed):
                    self._late = True
            except psycopg.Error:
                raise
            except Exception as e:
                raise Poisoned(view.name, r.position, e) from e
        for line in mine:
            lines[line.number] = lines.pop(line.number)
        return mine

    def _made(self, touched: Touched) -> list[Line[Row]]:
        """The lines of rows that begin with these events and that no later one touches: none of them stays in memory."""
        view, fold, made = self.view, self.view.fold, []
        for r, keys in touched:
            for id in keys:
                try:
                    row = fold(None, id, r)
                except Exception as e:
                    raise Poisoned(view.name, r.position, e) from e
                version = r.version if id.int == r.stream_id.int else 0
                made.append(Line((r.firm, id), Slice(row, version, r.occurred_at, r.occurred_at, r.position, r.position)))
        return made

    def writing(self, lines: Iterable[Line[Row]]) -> list[Write]:
        """The statements that write these lines; the lines take them as carried out."""
        current: list[tuple[Key, Slice[Row]]] = []
        gone: list[Key] = []
        closed: list[tuple[Key, Slice[Row]]] = []
        try:
            for line in lines:
                like: Slice[Row] | None = None
                for s in line.closed:
                    closed.append((line.key, s))
                    if not s.kept:
                        self.table.pack(s, like)
                        like = s
                standing = line.current
                if standing is None:
                    continue
                if standing.row is not None:
                    self.table.pack(standing, like)
                    current.append((line.key, standing))
                elif line.there:
                    gone.append(line.key)
                if standing.row is None and not standing.kept:
                    closed.append((line.key, standing))
            writes = [*self.table.saving(current, gone), *self.table.keeping(closed)]
            for line in lines:
                line.written()
                if line.current is not None:
                    line.there = line.current.row is not None
                    line.current.kept = not line.there
        except Exception as e:
            self.forget()
            raise Poisoned(self.view.name, None, e) from e
        return writes

    def trim(self, most: int, young: int = 2) -> list[Line[Row]]:
        """Take the lines out of memory that were touched longest ago, none of the last `young` batches; answers them."""
        if self._late and sum(len(line.kept) for line in self.lines.values() if line.kept) > MOST_KEPT_IN_ALL:
            for line in self.lines.values():
                line.kept = None
        if len(self.lines) <= most:
            return []
        old = [line for line in itertools.islice(self.lines.values(), len(self.lines) - most) if line.batch <= self._batch - young]
        for line in old:
            del self.lines[line.number]
        return old


def fold_lines(folding: Folding[Any], c: psycopg.Connection[Any], touched: Touched) -> None:
    """Read, fold and write on one connection."""
    table = folding.table
    lines = folding.fold(touched, lambda keys, gone: table.load(c, keys, gone=gone), lambda key: table.believed(c, key))
    try:
        run(c, folding.writing(lines))
    except (psycopg.OperationalError, psycopg.InterfaceError, Poisoned):
        raise
    except Exception as e:
        raise Poisoned(folding.view.name, None, e) from e
