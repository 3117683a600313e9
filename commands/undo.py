"""Undoing what a command did, by new events: nothing that is recorded is ever taken off the record.

UN1  Each event of the command gets its inverse, the last first; all of them are recorded, or none.
UN2  What has changed since is not overwritten: a field that a later event changed stops the undo, which names that event.
UN3  A rule that stands against an inverse stops it too; where a later event brought that about, the refusal names it.
UN4  After it, every field that the command changed is as it was before. What was created is archived or removed, with all it holds.
UN5  Nobody undoes what they might not have done: each kind of record needs its own permission.
UN6  Undoing twice changes nothing more; an undo is a command and can itself be undone.

Inverses are declared in `commands/inverses`, beside each other, with `undoing(STREAM, permission)`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from inspect import isawaitable
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from pydantic import Field, model_validator

from commands.kernel import Answer, Command, Entity, Work, command
from domain.kernel import STREAMS, NotFound, Refused, Stream, fold

UNDONE = "Undone"
ASIDE = frozenset({"folder_tree", "member_address"})  # streams that follow what is recorded on others

# --- what is declared


class Recorded(Protocol):
    """An event as it stands on the record."""

    @property
    def event(self) -> Any: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def event_id(self) -> UUID: ...
    @property
    def stream_type(self) -> str: ...
    @property
    def stream_id(self) -> UUID: ...
    @property
    def actor(self) -> str: ...
    @property
    def command_id(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def recorded_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """One event to undo, as its inverse sees it: the state before it, the state now, and the record of its stream."""

    e: Any
    was: Any
    now: Any
    id: UUID
    w: Work
    past: Sequence[Recorded]
    version: int
    reason: str

    def before(self, *kinds: type) -> Any:
        """The last event of one of these kinds before the one to undo."""
        return next((r.event for r in reversed(self.past) if r.version < self.version and isinstance(r.event, kinds)), None)


Inverted = Callable[[Undo], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverse:
    """How one kind of event is undone. `exact`: every field is as it was; `over`: what changed since stays and stops nothing;
    `aside`: it only follows what is undone elsewhere, so a command that records it for its own sake can't be undone."""

    stream: Stream[Any, Any]
    permission: str
    each: frozenset[str]
    decide: Inverted
    exact: bool = True
    over: bool = False
    aside: bool = False


INVERSES: dict[type, Inverse] = {}
FINAL: dict[type, str] = {}


class NotTheWay(Refused):
    """There is no way back from this."""


def undoing(
    stream: Stream[Any, Any], permission: str, *, each: Iterable[str] = ()
) -> Callable[..., Callable[[Inverted], Inverted]]:
    """Declares inverses for the events of a stream: `@deal(DealMoved)`. `each` names lists whose inverses take single entries."""

    def of(*kinds: type, exact: bool = True, over: bool = False, aside: bool = False) -> Callable[[Inverted], Inverted]:
        def declare(decide: Inverted) -> Inverted:
            for kind in kinds:
                if kind in INVERSES:
                    raise ValueError(f"inverse declared twice: {kind.__name__}")
                INVERSES[kind] = Inverse(
                    stream=stream,
                    permission=permission,
                    each=frozenset(each),
                    decide=decide,
                    exact=exact,
                    over=over,
                    aside=aside,
                )
            return decide

        return declare

    return of


def final(kind: type, because: str) -> None:
    """Declares that there is no way back from an event, and why, in a sentence."""
    if kind in FINAL:
        raise ValueError(f"declared final twice: {kind.__name__}")
    FINAL[kind] = because


# --- refusals


class NothingToUndo(NotFound):
    """There is no such command here, or it recorded nothing."""


class CantBeUndone(Refused):
    """The command recorded something that has no inverse. Correct it by a command of its own."""


class ChangedSince(Refused):
    """What the command changed was changed again later. Undo the later change first, or correct it by hand."""


class StandsInTheWay(Refused):
    """What has happened since does not let it be undone. Undo the later event first."""


class NoLongerPossible(Refused):
    """A rule does not let it be undone as things stand."""


class NotYoursToUndo(Refused):
    """You may not undo this, because you may not do what it takes."""


# --- what infra supplies


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One event of a command: where it stands."""

    stream_type: str
    stream_id: UUID
    version: int


class Past(Protocol):
    """The record, as an undo looks back on it."""

    async def of_command(self, firm: UUID, command_id: UUID) -> Sequence[Done]: ...

    async def stream(self, firm: UUID, type: str, id: UUID) -> Sequence[Recorded]: ...


class HasPast(Protocol):
    past: Past


# --- states as paths

Path = tuple[object, ...]


def paths(state: Any, each: frozenset[str]) -> dict[Path, object]:
    """A state as a flat mapping: parts of dataclasses, entries of mappings and of the lists in `each` one by one."""
    out: dict[Path, object] = {}
    for f in fields(state):
        value = getattr(state, f.name)
        if isinstance(value, Mapping):
            out |= {(f.name, key): part for key, part in value.items()}
        elif hasattr(value, "adding"):  # a roll
            out |= {(f.name, id): value.get(id) for id in value}
        elif f.name in each:
            out |= {(f.name, entry): True for entry in value}
        elif is_dataclass(value):
            out |= {(f.name, part.name): getattr(value, part.name) for part in fields(value)}
        else:
            out[(f.name,)] = value
    return out


def names_of(at: Iterable[Path], *states: Any) -> list[str]:
    """Where states differ, in the words of the views: parts by their own names, entries of mappings behind the mapping's."""
    return sorted({_name(p, states) for p in at})


def _name(path: Path, states: tuple[Any, ...]) -> str:
    values = [getattr(s, str(path[0]), None) for s in states]
    if len(path) == 1:
        return str(path[0])
    if any(is_dataclass(v) and not hasattr(v, "adding") for v in values):
        return str(path[1])
    if any(isinstance(v, Mapping) for v in values) and isinstance(path[1], str):
        return f"{path[0]}.{path[1]}"
    return str(path[0])


def differing(before: Mapping[Path, object], after: Mapping[Path, object]) -> set[Path]:
    return {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)}


# --- the plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An event that is undone, and what is recorded for it."""

    undone: Recorded
    entity: Entity[Any, Any]
    events: Sequence[Any]


@dataclass(slots=True)
class _Line:
    """One stream that the command wrote to."""

    entity: Entity[Any, Any]
    past: Sequence[Recorded]
    mine: frozenset[int]
    states: list[Any] = field(default_factory=list)

    def later(self, version: int) -> list[Recorded]:
        return [r for r in self.past if r.version > version and r.version not in self.mine]


async def plan(w: Work, command_id: UUID, *, reason: str = UNDONE) -> list[Step]:
    """Record the inverses of what a command did; answers them step by step."""
    past = cast("HasPast", w.outside).past
    done = await past.of_command(w.firm, command_id)
    if not done:
        raise NothingToUndo(command_id=str(command_id))
    lines: dict[tuple[str, UUID], _Line] = {}
    for d in done:
        at = (d.stream_type, d.stream_id)
        if at not in lines:
            stream = STREAMS[d.stream_type]
            entity = await w.load(stream, d.stream_id)
            events = [r for r in await past.stream(w.firm, *at) if r.version <= entity.version]
            mine = frozenset(x.version for x in done if (x.stream_type, x.stream_id) == at)
            lines[at] = _Line(entity, events, mine)
            lines[at].states.append(stream.initial)
            for r in events:
                lines[at].states.append(stream.evolve(lines[at].states[-1], r.event))
    steps: list[Step] = []
    backwards = list(reversed(done))
    for d in sorted(backwards, key=lambda d: d.stream_type in ASIDE):
        line = lines[(d.stream_type, d.stream_id)]
        if 1 in line.mine and d.version != 1:
            continue  # part of a creation, which is taken back as a whole
        steps.append(await _step(w, line, d.version, reason))
    return steps


async def _step(w: Work, line: _Line, version: int, reason: str) -> Step:
    undone = line.past[version - 1]
    inverse = INVERSES.get(type(undone.event))
    if inverse is None:
        because = FINAL.get(type(undone.event))
        raise CantBeUndone(event=undone.name, event_id=str(undone.event_id), **({"because": because} if because else {}))
    if inverse.permission not in w.permissions:
        raise NotYoursToUndo(permission=inverse.permission)
    last = max(line.mine) if version == 1 else version
    before, after = line.states[version - 1], line.states[last]
    changed = differing(paths(before, inverse.each), paths(after, inverse.each))
    if not inverse.over:
        now = paths(line.entity.state, inverse.each)
        here = paths(after, inverse.each)
        touched = set(here) | set(now) if version == 1 else changed
        moved = {p for p in touched if here.get(p) != now.get(p)}
        rival = _who_changed(line, last, moved, inverse.each)
        if rival is not None:
            raise ChangedSince(**_named(rival), fields=names_of(moved, after, line.entity.state))
    undo = Undo(
        e=undone.event, was=before, now=line.entity.state, id=line.entity.id, w=w, past=line.past, version=version, reason=reason
    )
    try:
        events = await _decided(inverse, undo)
    except ChangedSince:
        raise
    except Refused as why:
        culprit = await _who_stands_in_the_way(inverse, line, undo, last)
        about = {"because": why.why, "rule": type(why).__name__}
        if culprit is None:
            raise NoLongerPossible(**about, event=undone.name, event_id=str(undone.event_id)) from why
        raise StandsInTheWay(**about, **_named(culprit)) from why
    if inverse.exact and not inverse.over and version != 1:
        now = paths(line.entity.state, inverse.each)
        besides = differing(now, paths(fold(line.entity.state, line.entity.stream.evolve, events), inverse.each)) - changed
        rival = _who_changed(line, last, besides, inverse.each)
        if rival is not None:  # taking it back would take something later with it
            raise ChangedSince(**_named(rival), fields=names_of(besides, line.entity.state))
    w.record(line.entity, events)
    if inverse.exact and not inverse.over and version != 1:
        new, old = paths(line.entity.state, inverse.each), paths(before, inverse.each)
        if any(new.get(p) != old.get(p) for p in changed):
            raise NoLongerPossible(because=NotTheWay().why, rule="NotTheWay", event=undone.name, event_id=str(undone.event_id))
    return Step(undone=undone, entity=line.entity, events=events)


async def _decided(inverse: Inverse, undo: Undo) -> Sequence[Any]:
    found = inverse.decide(undo)
    return list(await found if isawaitable(found) else found)


def _who_changed(line: _Line, version: int, moved: set[Path], each: frozenset[str]) -> Recorded | None:
    """The last later event, not of this command, that changed one of these."""
    for r in reversed(line.later(version)):
        if moved & differing(paths(line.states[r.version - 1], each), paths(line.states[r.version], each)):
            return r
    return None


async def _who_stands_in_the_way(inverse: Inverse, line: _Line, undo: Undo, version: int) -> Recorded | None:
    """The last later event after which the inverse is refused, while it was not before."""
    for r in reversed(line.later(version)):
        if not await _refused(inverse, undo, line.states[r.version - 1]):
            return r
    return None


async def _refused(inverse: Inverse, undo: Undo, now: Any) -> bool:
    then = Undo(e=undo.e, was=undo.was, now=now, id=undo.id, w=undo.w, past=undo.past, version=undo.version, reason=undo.reason)
    try:
        await _decided(inverse, then)
    except Refused:
        return True
    return False


def _named(r: Recorded) -> dict[str, object]:
    """A later event, as a refusal names it."""
    return {
        "event": r.name,
        "event_id": str(r.event_id),
        "position": r.position,
        "actor": r.actor,
        "command_id": r.command_id,
        "occurred_at": r.occurred_at.isoformat(),
        "stream": f"{r.stream_type}/{r.stream_id}",
    }


# --- the command


class UndoCommand(Command):
    command_id: UUID | None = Field(None, description="The command to undo: its Idempotency-Key, or as the history names it.")
    merged_id: UUID | None = Field(None, description="A contact or an organisation whose merge into another is undone.")
    import_id: UUID | None = Field(None, description="The import to take back.")
    reason: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    preview: bool = Field(False, description="Only say what would be recorded and what would change.")

    @model_validator(mode="after")
    def one(self) -> "UndoCommand":
        if sum(x is not None for x in (self.command_id, self.merged_id, self.import_id)) != 1:
            raise ValueError("name one of command_id, merged_id and import_id")
        return self


async def planned(c: UndoCommand, w: Work) -> list[Step]:
    """What the command asked for, recorded in the work."""
    target = c.command_id
    if c.merged_id is not None:
        target = await _merge_of(w, c.merged_id)
    if target is None:
        raise NothingToUndo
    w.causation_id = str(target)
    return await plan(w, target, reason=c.reason or UNDONE)


async def _merge_of(w: Work, id: UUID) -> UUID:
    """The command that merged this record into another."""
    past = cast("HasPast", w.outside).past
    for type in ("contact", "organisation"):
        for r in reversed(await past.stream(w.firm, type, id)):
            if r.name.endswith(".MergedInto.v1"):
                return UUID(r.command_id)
    raise NothingToUndo(id=str(id))


@command("undo", "POST /undo", permission="history:read", title="Undo a command, a merge or an import")
async def undo(c: UndoCommand, w: Work) -> Answer:
    """Records the inverse of each event that a command recorded, all of them or none.

    Refused where a later event depends on what is undone; the refusal names it. With `preview` nothing is recorded.
    """
    steps = await planned(c, w)
    return {"undone": [{"id": str(s.undone.event_id), "type": s.undone.name} for s in steps]}
