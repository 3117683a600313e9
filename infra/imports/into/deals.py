"""Deals: from tables with the stage they stand in, from logs with every step they took (see `courses`)."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg

from commands.kernel import Entity, Work
from domain import deals
from domain.deals import DEAL, Deal, Event, Line, Party
from domain.deals.decisions import MOST_ATTRIBUTE_BYTES, MOST_ATTRIBUTES
from domain.deals.money import money_of
from domain.firms import FIRM
from domain.kernel import FirmId, Refused
from domain.tasks import TASK
from infra.imports.activities import Step
from infra.imports.deals import DealRecord
from infra.imports.into.courses import MOST_TASKS, Course, kind_of, past, pieces
from infra.imports.into.kernel import Carry, Carrying, Names, Outcome, folded, line_of, slug, taken, text_of
from infra.imports.into.people import Contacts, Members, Organisations
from infra.imports.into.pipelines import Kind, Pipelines
from infra.imports.rows import Mapped


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
        self._file = file
        self._tell = tell
        self._organisations = Organisations(names)
        self._contacts = Contacts(names)
        self._pipelines = Pipelines(names, c, firm)
        self._course = Course(members, self._pipelines, shown)

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
        field = self._file.map.fields.get("stage")
        listed = {folded(name): place for place, name in enumerate(field.one_of if field is not None else ())}
        for n, row in enumerate(self._file, 1):
            r: DealRecord | None = taken(row)
            if r is None:
                continue
            seen = self._pipelines.seen(r.pipeline)
            if r.steps:
                for place, s in enumerate(islice((s for s in r.steps if s.role in {"stage", "won", "lost"}), 200)):
                    seen.stage(s.name, kind_of(s), place)
            else:
                kind = _table_kind(r)
                if r.stage:
                    seen.stage(r.stage, kind, listed.get(folded(r.stage), len(listed)))
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
            opened = partial(self._open, r, w, entity, given, owner, parties)
            await self._course.carry(r, source, w, c, entity, work, tasks_of, opened)
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
        w.record(entity, opened, occurred_at=past(at, w))
        return stage is not None

    def _stand(self, r: DealRecord, w: Work, c: Carrying, entity: Entity[Deal, Event]) -> None:
        """Bring a deal of a table to where the table says it stands."""
        kind = _table_kind(r)
        stage = self._pipelines.stage(r.pipeline, r.stage, kind)
        here = entity.state.stage
        at = past(r.closed_at, w) if r.status != "open" else None
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
        before, wanted = {x.product for x in now.lines}, {x.product for x in given["lines"]}
        if not c.stays("lines", before, wanted or before) and wanted and wanted != before:
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
