"""Deals: from tables with the stage they stand in, from logs with every step they took, their offers and the work done for them.

From a log, one event of the log is one event of the record (D9): a stage moves the deal, an offer's step is the offer's, a piece of
work is a step of a task of its own that is linked to the deal, and anything else is an activity. A log that has grown adds what its
kept row did not have.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg

from commands.kernel import Entity, Work
from domain import deals, tasks
from domain.deals import DEAL, Deal, Event, Line, OfferId, Party, offers
from domain.deals.decisions import MOST_ATTRIBUTE_BYTES, MOST_ATTRIBUTES
from domain.deals.money import money_of
from domain.deals.offers import Step as OfferStep
from domain.deals.offers import offer_meant
from domain.firms import FIRM
from domain.kernel import FirmId, Refused
from domain.tasks import TASK
from domain.tasks.lifecycle import step_of
from infra.imports.activities import Step
from infra.imports.deals import DealRecord
from infra.imports.into.kernel import Carry, Carrying, Names, Outcome, RowUnusable, line_of, slug, taken, text_of
from infra.imports.into.people import Contacts, Members, Organisations
from infra.imports.into.pipelines import Kind, Pipelines
from infra.imports.keep import json_of
from infra.imports.rows import Mapped
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


class DealCarrier:
    """`tell` hears how many rows the first reading has seen; `shown` is the source as a person called it, for the public record."""

    def __init__(
        self,
        names: Names,
        members: Members,
        source: str,
        file: Any,
        c: psycopg.Connection[Any],
        firm: FirmId,
        tell: Callable[[int], None],
        shown: str | None = None,
    ) -> None:
        self._names = names
        self._members = members
        self._source = source
        self._shown = shown
        self._file = file
        self._tell = tell
        self._organisations = Organisations(names)
        self._contacts = Contacts(names)
        self._pipelines = Pipelines(names, c, firm)
        self._offer_steps: dict[str, OfferStep | None] = {}

    @property
    def notes(self) -> list[str]:
        return self._pipelines.notes

    def prepare(self) -> Iterable[Callable[[Work], Awaitable[None]]]:
        """Define the pipelines: from the map where it names every stage, else from a first reading of the file."""
        if not self._from_map():
            self._survey()
        yield from self._pipelines.prepare()

    def _from_map(self) -> bool:
        """Take the stages from the map's rules, when nothing else can be one."""
        m = self._file.map
        pipeline = m.fields.get("pipeline")
        rules = [a for a in m.activities if a.role in {"stage", "won", "lost"}]
        open_ended = m.otherwise in {"stage", "won", "lost", "guess"} or any(set("*?") & set("".join(a.match)) for a in rules)
        if (
            self._file.form == "table"
            or m.guessed
            or open_ended
            or not rules
            or (pipeline is not None and pipeline.constant is None)
        ):
            return False
        seen = self._pipelines.seen(pipeline.constant if pipeline is not None else None)
        for place, a in enumerate(rules):
            for name in (a.name,) if a.name else a.match:
                seen.stage(name, "won" if a.role == "won" else "lost" if a.role == "lost" else "open", place)
        return True

    def _survey(self) -> None:
        for n, row in enumerate(self._file, 1):
            r: DealRecord | None = taken(row)
            if r is None:
                continue
            seen = self._pipelines.seen(r.pipeline)
            if r.steps:
                for place, s in enumerate(islice((s for s in r.steps if s.role in {"stage", "won", "lost"}), 200)):
                    seen.stage(s.name, _kind(s), place)
            else:
                kind = _table_kind(r)
                if r.stage:
                    seen.stage(r.stage, kind, 0)
                if r.status != "open":
                    seen.outcomes.add(r.status)
            self._tell(n)

    def names(self, row: Mapped[Any]) -> Iterable[UUID]:
        r: DealRecord = taken(row)
        if r.organisation:
            yield self._organisations.key(r.organisation)
        yield from self._contacts.keys(r.contact, r.contact_email)

    def place(self, row: Mapped[Any]) -> Carry:
        r: DealRecord = taken(row)
        id = self._names.id("deal", self._source, r.source_id)
        owner = self._members.find(r.owner)
        organisation = self._organisations.named(r.organisation) if r.organisation else None
        contact = self._contacts.named(r.contact, r.contact_email)
        work = pieces(r.steps)
        tasks_of = [self._names.id("work", str(id), str(n)) for n in range(1, min(max(work, default=0), MOST_TASKS) + 1)]
        reads: list[Any] = [(DEAL, id), *self._organisations.reads(r.organisation), *((TASK, t) for t in tasks_of)]

        async def run(w: Work, c: Carrying) -> Outcome:
            return await self._deal(r, row.source, w, c, id, owner, organisation, contact, work, tasks_of)

        return Carry(
            stream=DEAL,
            id=id,
            source_key=id,
            subject=contact or id,
            run=run,
            reads=reads,
            rests_on=f"{owner}{organisation}{contact}",
        )

    async def _deal(
        self,
        r: DealRecord,
        source: Mapping[str, Any],
        w: Work,
        c: Carrying,
        id: UUID,
        owner: UUID | None,
        organisation: UUID | None,
        contact: UUID | None,
        work: Sequence[int],
        tasks_of: Sequence[UUID],
    ) -> Outcome:
        entity = await w.find(DEAL, id)
        new = entity.version == 0
        before = len(w.made)
        if c.undone and entity.state.archived:
            w.record(entity, deals.restore(entity.state))
        parties = []
        if contact is not None:
            contact = await self._contacts.ensure(w, contact, r.contact, r.contact_email, restore=c.undone)
            parties.append(Party(kind="contact", id=contact, role="client"))
        if organisation is not None:
            organisation = await self._organisations.ensure(w, r.organisation or "", organisation, restore=c.undone)
            parties.append(Party(kind="organisation", id=organisation, role="client"))
        given = await self._given(r, w, c)
        if r.steps:
            await self._course(r, source, w, c, entity, given, owner, parties, work, tasks_of)
        elif new:
            self._open(r, w, entity, given, owner, parties)
            self._stand(r, w, c, entity)
            await self._note(r, w, c, entity)
        if not new:
            self._amend(w, c, entity, given, owner, parties)
            if not r.steps:
                self._stand(r, w, c, entity)
                await self._note(r, w, c, entity)
        if len(w.made) == before:
            return "unchanged"
        return "created" if new else "changed"

    # --- what the deal is

    async def _given(self, r: DealRecord, w: Work, c: Carrying) -> dict[str, Any]:
        attributes: dict[str, str] = {}
        if r.owner and self._members.find(r.owner) is None:
            attributes["owner"] = r.owner
        if r.probability is not None:
            attributes["probability"] = format(r.probability, "f")
        if r.tags:
            attributes["tags"] = ", ".join(r.tags)
        attributes |= {slug(k, 80): v for k, v in {**r.custom, **r.extra}.items() if v}
        amount, currency = r.amount, r.currency
        if amount is not None and currency is None:
            currency = (await w.find(FIRM, w.firm)).state.settings.currency
        if amount is None:
            currency = None
        if amount is not None:
            try:
                money_of(amount, currency)
            except Refused as e:
                c.doubt("amount", f"{amount} {currency}", f"{e.why} It was kept as an attribute")
                attributes["amount"] = f"{amount} {currency}"
                amount = currency = None
        lines = (Line(product=p),) if (p := line_of(r.product, 100)) else ()
        return {
            "title": line_of(r.title, 300) or "Untitled",
            "amount": amount,
            "currency": currency,
            "expected_close": r.expected_close,
            "source": line_of(r.source, 200),
            "lines": lines,
            "attributes": self._bounded(attributes, c),
        }

    def _bounded(self, attributes: dict[str, str], c: Carrying) -> dict[str, str]:
        kept: dict[str, str] = {}
        size = 0
        for key, value in attributes.items():
            text = text_of(value, 4_000) or ""
            size += len(key) + len(text.encode())
            if not text:
                continue
            if len(kept) >= MOST_ATTRIBUTES or size > MOST_ATTRIBUTE_BYTES:
                c.doubt(key, value, "a deal holds no more attributes; this one stands in the kept row only")
                continue
            kept[key] = text
        return kept

    def _open(
        self,
        r: DealRecord,
        w: Work,
        entity: Entity[Deal, Event],
        given: Mapping[str, Any],
        owner: UUID | None,
        parties: Sequence[Party],
        first: Step | None = None,
    ) -> bool:
        """Open the deal; whether the first step of its log is told by that."""
        stage = None
        if first is not None and first.role == "stage":
            stage = self._pipelines.stage(r.pipeline, first.name, "open")
        elif first is None and r.stage and _table_kind(r) == "open":
            stage = self._pipelines.stage(r.pipeline, r.stage, "open")
            if r.status != "open":
                stage = stage or self._pipelines.first(r.pipeline)
        at = r.opened_at or r.closed_at
        if first is not None:
            at = first.at
        performer = self._members.find(first.by) if first is not None and stage is not None else None
        opened = deals.open_deal(
            entity.state,
            stage=stage or self._pipelines.first(r.pipeline),
            owner=owner,
            parties=parties,
            performer=performer,
            **given,
        )
        w.record(entity, opened, occurred_at=_past(at, w))
        return stage is not None

    def _stand(self, r: DealRecord, w: Work, c: Carrying, entity: Entity[Deal, Event]) -> None:
        """Bring a deal of a table to where the table says it stands."""
        kind = _table_kind(r)
        stage = self._pipelines.stage(r.pipeline, r.stage, kind)
        here = entity.state.stage
        at = _past(r.closed_at, w) if r.status != "open" else None
        if kind == "open" and r.status != "open":
            stage = self._pipelines.closing(r.pipeline, r.status)
            if stage is not None and entity.state.status == r.status:
                return
        if stage is None or here is None or stage.id == here.id or c.stays("stage", here.id, stage.id):
            return
        if stage.pipeline != here.pipeline and entity.state.status == "open" and stage.kind == "open":
            w.record(entity, deals.transfer(entity.state, target=stage))
            return
        when = at or w.now
        reason = text_of(r.lost_reason, 1_000)
        w.record(
            entity,
            deals.arrive(
                entity.state,
                stage=stage,
                on=when.date(),
                reason_code=slug(reason, 60) if reason else deals.NOT_STATED,
                reason=reason,
            ),
            occurred_at=when if at else None,
        )

    def _amend(
        self,
        w: Work,
        c: Carrying,
        entity: Entity[Deal, Event],
        given: Mapping[str, Any],
        owner: UUID | None,
        parties: Sequence[Party],
    ) -> None:
        """What the row says now; what it says nothing of stays, and so does what a person changed since."""
        now = entity.state
        changes = {k: v for k, v in given.items() if k not in {"lines", "attributes"} and v is not None}
        changes = {k: v for k, v in changes.items() if not c.stays(k, getattr(now, k), v)}
        if not {"amount", "currency"} <= changes.keys():
            changes = {k: v for k, v in changes.items() if k not in {"amount", "currency"}}
        told = {k: v for k, v in given["attributes"].items() if not c.stays(f"attributes.{k}", now.attributes.get(k), v)}
        w.record(entity, deals.amend(now, **changes, attributes=told))
        if c.stays("lines", {x.product for x in now.lines}, {x.product for x in given["lines"]} or {x.product for x in now.lines}):
            pass
        elif (given["lines"] and not entity.state.lines) or (
            given["lines"] and {x.product for x in entity.state.lines} != {x.product for x in given["lines"]}
        ):
            w.record(entity, deals.itemise(entity.state, lines=given["lines"]))
        if owner is not None and not c.stays("owner", entity.state.owner, owner):
            w.record(entity, deals.assign(entity.state, owner=owner))
        for party in () if c.stays("parties", {*entity.state.parties}, {*entity.state.parties, *parties}) else parties:
            w.record(entity, deals.add_party(entity.state, party=party))

    async def _note(self, r: DealRecord, w: Work, c: Carrying, entity: Entity[Deal, Event]) -> None:
        """The row's note, unless the row said the same before."""
        text = text_of(r.notes, 10_000)
        if text is None:
            return
        before = c.prior.row() if c.prior is not None else None
        if before is not None and r.notes in before.values():
            return
        w.record(entity, deals.note(entity.state, text=text))

    # --- what it did, from a log

    async def _course(
        self,
        r: DealRecord,
        source: Mapping[str, Any],
        w: Work,
        c: Carrying,
        entity: Entity[Deal, Event],
        given: Mapping[str, Any],
        owner: UUID | None,
        parties: Sequence[Party],
        work: Sequence[int],
        tasks_of: Sequence[UUID],
    ) -> None:
        if any(s.at > w.now + FAR for s in r.steps):
            raise RowUnusable("An event of the case lies more than a day in the future. Correct its time.")
        fresh = new_steps(source, c, len(r.steps)) if entity.version else None
        told = -1
        if entity.version == 0 and self._open(r, w, entity, given, owner, parties, r.steps[0]):
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
            stage = self._pipelines.stage(r.pipeline, s.name, _kind(s))
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
            w.record(entity, deals.amend(entity.state, attributes={slug(name, 80): text}), occurred_at=_past(at, w))
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


def _kind(s: Step) -> Kind:
    return "won" if s.role == "won" else "lost" if s.role == "lost" else "open"


_WON = re.compile(r"^(closed )?won$|gewonnen|gagné|ganad|vint[oa]$|ganho")
_LOST = re.compile(r"^(closed )?lost$|verloren|perdu|perdid|perso$|abandoned|cancell?ed|declined|rejected|disqualified")


def _table_kind(r: DealRecord) -> Kind:
    """The kind of the stage a table names: closing only when its own name says so and the status agrees."""
    name = (r.stage or "").casefold().strip()
    if r.status == "won" and _WON.search(name):
        return "won"
    if r.status == "lost" and _LOST.search(name):
        return "lost"
    return "open"


def _past(at: datetime | None, w: Work) -> datetime | None:
    """The file's time, unless it lies in the future."""
    return at if at is not None and at <= w.now + FAR and at.year > 1 else None
