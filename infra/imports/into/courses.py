"""What deals did, from logs: the steps they took, their offers and the work done for them.

One event of the log is one event of the record (D9): a stage moves the deal, an offer's step is the offer's, a piece of work is a
step of a task of its own that is linked to the deal, and anything else is an activity. A log that has grown adds what its kept row
did not have.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from commands.kernel import Entity, Work
from domain import deals, tasks
from domain.deals import Deal, Event, OfferId, offers
from domain.deals.offers import Step as OfferStep
from domain.deals.offers import offer_meant
from domain.kernel import Refused
from domain.tasks import TASK
from domain.tasks.lifecycle import step_of
from infra.imports.activities import Step
from infra.imports.deals import DealRecord
from infra.imports.into.kernel import Carrying, RowUnusable, line_of, slug, text_of
from infra.imports.into.people import Members
from infra.imports.into.pipelines import Kind, Pipelines
from infra.imports.keep import json_of
from infra.record.execute import FAR

OFFER_STEPS: tuple[tuple[re.Pattern[str], OfferStep], ...] = (
    (re.compile(r"sent.?back|return|zurück|retour"), "returned"),
    (re.compile(r"accept|signed|angenommen|aceptad|accettat|geaccepteerd"), "accepted"),
    (re.compile(r"declin|reject|refus|abgelehnt|afgewezen|rechaz|rifiut"), "declined"),
    (re.compile(r"cancel|withdr|storn|ingetrokken|annul"), "cancelled"),
    (re.compile(r"expire|lapse|abgelaufen|verlopen"), "expired"),
    (re.compile(r"creat|draft|drawn|erstell|opgesteld|crée"), "created"),
    (re.compile(r"sent|send|issued|versandt|verstuurd|envoy|enviad|inviat"), "sent"),
)
DECIDE: Mapping[OfferStep, Callable[..., list[Event]]] = {
    "created": offers.create,
    "sent": offers.send,
    "returned": offers.send_back,
    "accepted": offers.accept,
    "declined": offers.decline,
    "cancelled": offers.cancel,
    "expired": offers.expire,
}
MOST_TASKS = 500  # pieces of work of one case


class Course:
    """The courses of the deals of one file."""

    def __init__(self, members: Members, pipelines: Pipelines, shown: str | None) -> None:
        self._members = members
        self._pipelines = pipelines
        self._shown = shown
        self._offer_steps: dict[str, OfferStep | None] = {}

    async def carry(
        self,
        r: DealRecord,
        source: Mapping[str, Any],
        w: Work,
        c: Carrying,
        entity: Entity[Deal, Event],
        work: Sequence[int],
        tasks_of: Sequence[UUID],
        opened: Callable[[Step], bool],
    ) -> None:
        """Tell the deal what its log says and its kept row did not. `opened` opens a new deal and says whether that told the first step.

        `work` says which piece of work each step belongs to, `tasks_of` holds the ids of their tasks.
        """
        if any(s.at > w.now + FAR for s in r.steps):
            raise RowUnusable("An event of the case lies more than a day in the future. Correct its time.")
        fresh = new_steps(source, c, len(r.steps)) if entity.version else None
        told = -1
        if entity.version == 0 and opened(r.steps[0]):
            told = 0
        changes = sorted(
            (x for x in r.changes if fresh is None or [x[0].isoformat(), x[1], x[2]] not in _changes_before(c)), key=lambda x: x[0]
        )
        later = iter([*changes, None])
        change = next(later)
        for i, s in enumerate(r.steps):
            while change is not None and change[0] < s.at:
                self._change(w, c, entity, change)
                change = next(later)
            if s.role == "task":
                if fresh is None or i in fresh:
                    await self._work(s, w, c, entity, work[i], tasks_of)
            elif i != told and (fresh is None or i in fresh):
                self._step(r, s, w, entity)
        while change is not None:
            self._change(w, c, entity, change)
            change = next(later)
        for id in tasks_of if c.undone else ():
            task = await w.find(TASK, id)
            w.record(task, tasks.restore(task.state))

    def _step(self, r: DealRecord, s: Step, w: Work, entity: Entity[Deal, Event]) -> None:
        performer = self._members.find(s.by)
        deal = entity.state
        events: list[Event] | None = None
        if s.role in {"stage", "won", "lost"}:
            stage = self._pipelines.stage(r.pipeline, s.name, kind_of(s))
            if stage is not None:
                reason = text_of(s.reason, 1_000)
                events = deals.arrive(
                    deal,
                    stage=stage,
                    on=s.at.date(),
                    reason_code=slug(s.reason, 60) if s.reason else deals.NOT_STATED,
                    reason=reason,
                    performer=performer,
                )
        elif s.role == "offer":
            events = self._offer(s, w, entity, performer)
        if events is None:
            details = {"resource": s.by} if s.by and performer is None else {}
            events = deals.record_activity(deal, name=line_of(s.activity, 200) or "?", details=details, performer=performer)
        w.record(entity, events, occurred_at=s.at)

    def _offer(self, s: Step, w: Work, entity: Entity[Deal, Event], performer: UUID | None) -> list[Event] | None:
        """One step of an offer. A step that fits no offer there is selects the offer it begins, or is an activity."""
        said = (s.step or s.name).casefold()
        if said not in self._offer_steps and len(self._offer_steps) < 10_000:
            self._offer_steps[said] = next((step for pattern, step in OFFER_STEPS if pattern.search(said)), None)
        step = self._offer_steps.get(said)
        deal = entity.state
        if len(deal.offers) >= offers.MOST_OFFERS and step is None:
            return None
        meant = offer_meant(deal, step) if step is not None else None
        if step is None or (meant is None and step == "created"):
            if len(deal.offers) >= offers.MOST_OFFERS:
                return None
            offer = OfferId(w.derive_id("import", "offer", str(entity.id), str(len(deal.offers) + 1)))
            return offers.select(deal, offer=offer, performer=performer, imported=True)
        if meant is None:
            return None
        return DECIDE[step](deal, offer=meant, performer=performer, imported=True)

    async def _work(self, s: Step, w: Work, c: Carrying, deal: Entity[Deal, Event], number: int, tasks_of: Sequence[UUID]) -> None:
        """One step of a piece of work: a step of its task."""
        if number > len(tasks_of):
            w.record(deal, deals.record_activity(deal.state, name=line_of(s.activity, 200) or "?"), occurred_at=s.at)
            return
        task = await w.find(TASK, tasks_of[number - 1])
        if not task.state.exists:
            made = tasks.create(
                task.state,
                title=line_of(s.name, 300) or "?",
                deal=deal.id,
                contact=deal.state.contact,
                source=line_of(self._shown, 200),
                source_id=f"{number}",
            )
            w.record(task, made, occurred_at=s.at)
        elif c.undone and task.state.archived:
            w.record(task, tasks.restore(task.state))
        told = tasks.recount(
            task.state,
            step=step_of(s.lifecycle or "complete"),
            activity=line_of(s.lifecycle or s.activity, 200),
            resource=line_of(s.by, 200),
            assignee=self._members.find(s.by),
        )
        w.record(task, told, occurred_at=s.at)

    def _change(self, w: Work, c: Carrying, entity: Entity[Deal, Event], change: tuple[datetime, str, str]) -> None:
        """A dated value of an attribute of the case."""
        at, name, value = change
        text = text_of(value, 4_000)
        if text is None or at.astimezone(UTC).year < 1900:
            return
        try:
            w.record(entity, deals.amend(entity.state, attributes={slug(name, 80): text}), occurred_at=past(at, w))
        except Refused as e:
            c.doubt(name, value, e.why)


def pieces(steps: Sequence[Step]) -> list[int]:
    """Which piece of work each step belongs to, counted from 1; 0 for other steps. Being scheduled begins a new piece of its name."""
    current: dict[str, int] = {}
    count = 0
    out = []
    for s in steps:
        if s.role != "task":
            out.append(0)
            continue
        if s.lifecycle == "schedule" or s.name not in current:
            count += 1
            current[s.name] = count
        out.append(current[s.name])
    return out


def new_steps(source: Mapping[str, Any], c: Carrying, count: int) -> frozenset[int]:
    """Which events of a case its row did not have when it was carried last. All are known when that row was erased."""
    before = c.prior.row() if c.prior is not None else None
    events = source.get("events", ())
    if before is None or len(events) != count:
        return frozenset()
    known = Counter(json_of(e) for e in before.get("events", ()))
    fresh = set()
    for i, e in enumerate(events):
        said = json_of(e)
        if known[said]:
            known[said] -= 1
        else:
            fresh.add(i)
    return frozenset(fresh)


def _changes_before(c: Carrying) -> list[Any]:
    before = c.prior.row() if c.prior is not None else None
    return list(before.get("changes", ())) if before is not None else []


def kind_of(s: Step) -> Kind:
    return "won" if s.role == "won" else "lost" if s.role == "lost" else "open"


def past(at: datetime | None, w: Work) -> datetime | None:
    """The file's time, unless it lies in the future."""
    return at if at is not None and at <= w.now + FAR and at.year > 1 else None
