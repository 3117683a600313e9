"""The pipelines that deals of a file need: found by name, defined from the map or the stages seen, or redefined with those that lack."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import psycopg

from commands.kernel import Work
from domain import pipelines
from domain.deals import StageAt
from domain.kernel import FirmId
from domain.pipelines import DEFAULT, MOST_STAGES, PIPELINE, Pipeline, PipelineId, Stage, StageDraft, StageId
from infra.imports.into.kernel import Names, folded, line_of

Kind = Literal["open", "won", "lost"]
MOST_PIPELINES = 50
MOST_SEEN = 10_000
CLOSING: dict[Kind, str] = {"won": "Won", "lost": "Lost"}


@dataclass(slots=True)
class Seen:
    """The stages of one pipeline as the file shows them: how often, and how early in their deals."""

    name: str
    count: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    place: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    outcomes: set[Kind] = field(default_factory=set)

    def stage(self, name: str, kind: Kind, place: int) -> None:
        key = (name, kind)
        if key in self.count or len(self.count) < MOST_SEEN:
            self.count[key] += 1
            self.place[key] += place

    def in_order(self, room: int) -> list[tuple[str, Kind]]:
        """The stages, at most `room` of them, open ones first, each group in the order deals pass through it."""
        kept = [key for key, _ in self.count.most_common(room)]
        return sorted(kept, key=lambda k: (("open", "won", "lost").index(k[1]), self.place[k] / self.count[k], k[0]))


class Pipelines:
    """What the first reading of a file saw, and the stages that came of it."""

    def __init__(self, names: Names, c: psycopg.Connection[Any], firm: FirmId) -> None:
        self._names = names
        self._c = c
        self._firm = firm
        self._seen: dict[str, Seen] = {}
        self._at: dict[str, dict[tuple[str, Kind], StageAt]] = {}
        self._first: dict[str, StageAt] = {}
        self._closing: dict[tuple[str, Kind], StageAt] = {}
        self.notes: list[str] = []

    def seen(self, name: str | None) -> Seen:
        called = line_of(name, 60) or "Imported"
        key = folded(called)
        found = self._seen.get(key)
        if found is None:
            if len(self._seen) >= MOST_PIPELINES:
                return next(iter(self._seen.values()))
            found = self._seen[key] = Seen(called)
        return found

    def prepare(self) -> Iterable[Callable[[Work], Awaitable[None]]]:
        known = [
            i
            for (i,) in self._c.execute(
                "SELECT stream_id FROM record.events WHERE firm_id = %s AND type = 'pipelines.Defined.v1' ORDER BY position LIMIT 1000",
                (self._firm,),
            )
        ]
        for key, seen in self._seen.items():
            yield self._definition(key, seen, known)

    def _definition(self, key: str, seen: Seen, known: list[UUID]) -> Callable[[Work], Awaitable[None]]:
        async def define(w: Work) -> None:
            id = self._names.id("pipeline", key)
            for other in known:
                state = (await w.find(PIPELINE, other)).state
                if folded(state.name) == key and not state.archived:
                    id = other
                    break
            entity = await w.find(PIPELINE, id)
            if entity.state.archived:
                w.record(entity, pipelines.restore(entity.state))
            drafts = self._drafts(w, id, seen, entity.state)
            if entity.version == 0:
                default = await w.find(DEFAULT, w.derive_id(DEFAULT.type))
                w.record(entity, pipelines.define(entity.state, name=seen.name, stages=drafts, description=None))
                if default.version == 0:
                    w.record(default, pipelines.choose_default(default.state, pipeline=PipelineId(id)))
                    w.record(entity, pipelines.make_default(entity.state, previous=None))
            else:
                w.record(entity, pipelines.redefine(entity.state, stages=drafts, reason="Stages that an import needs"))
            self._learn(key, id, entity.state)

        return define

    def _drafts(self, w: Work, id: UUID, seen: Seen, state: Pipeline) -> list[StageDraft]:
        """The stages in use, and behind those of its kind each one that lacks."""
        have = [
            StageDraft(id=s.id, name=s.name, kind=s.kind, probability=s.probability, time_limit_days=s.time_limit_days)
            for s in state.in_use
        ]
        known = {(folded(s.name), s.kind) for s in state.in_use}
        taken = {folded(s.name) for s in state.in_use}
        wanted = seen.in_order(MOST_STAGES - 3)
        if not any(k == "open" for _, k in wanted) and not any(s.kind == "open" for s in state.in_use):
            wanted.insert(0, ("Open", "open"))
        wanted += [
            (CLOSING[k], k) for k in ("won", "lost") if k in seen.outcomes and not any(kind == k for _, kind in (*wanted, *known))
        ]
        retired = {(folded(s.name), s.kind): s for s in state.stages if s.retired}
        left_out = 0
        for name, kind in wanted:
            called = line_of(name, 60) or "Unnamed"
            if (folded(called), kind) in known:
                continue
            if len(have) >= MOST_STAGES:
                left_out += 1
                continue
            if folded(called) in taken:
                called = f"{called[:50]} ({kind})"
                if folded(called) in taken:
                    continue
            was = retired.get((folded(called), kind))
            stage = was.id if was else StageId(w.derive_id("import", "stage", str(id), kind, folded(called)))
            at = max((i for i, d in enumerate(have) if _rank(d.kind) <= _rank(kind)), default=-1) + 1
            have.insert(at, StageDraft(id=stage, name=called, kind=kind))
            known.add((folded(called), kind))
            taken.add(folded(called))
        if left_out + max(0, len(seen.count) - (MOST_STAGES - 3)):
            note = f"A pipeline has at most {MOST_STAGES} stages; the rarest activities of {seen.name} were recorded as activities of their deals."
            if note not in self.notes:
                self.notes.append(note)
        return have

    def _learn(self, key: str, id: UUID, state: Pipeline) -> None:
        stages: dict[tuple[str, Kind], StageAt] = {}
        for s in state.in_use:
            stages[(folded(s.name), s.kind)] = stages[(folded(s.name.removesuffix(f" ({s.kind})")), s.kind)] = _at(id, s)
        self._at[key] = stages
        self._first[key] = _at(id, pipelines.first_stage(state))
        for kind in ("won", "lost"):
            closing = pipelines.closing_stage(state, kind)
            if closing is not None:
                self._closing[(key, kind)] = _at(id, closing)

    def stage(self, pipeline: str | None, name: str | None, kind: Kind) -> StageAt | None:
        """The stage of this name and kind."""
        key = folded(self.seen(pipeline).name)
        return self._at[key].get((folded(line_of(name, 60) or "Unnamed"), kind)) if name else None

    def first(self, pipeline: str | None) -> StageAt:
        return self._first[folded(self.seen(pipeline).name)]

    def closing(self, pipeline: str | None, kind: Kind) -> StageAt | None:
        return self._closing.get((folded(self.seen(pipeline).name), kind))


def _rank(kind: str) -> int:
    return ("open", "won", "lost").index(kind)


def _at(pipeline: UUID, s: Stage) -> StageAt:
    return StageAt(
        pipeline=pipeline, id=s.id, name=s.name, kind=s.kind, probability=s.probability, time_limit_days=s.time_limit_days
    )
