"""Commands of deals: open, move, amend, assign, parties, notes, win, lose, reopen. Those of offers stand in `commands.offers`."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from commands.kernel import Answer, Command, Entity, Work, command
from domain import deals, pipelines
from domain.contacts import CONTACT
from domain.deals import DEAL, Clearable, Deal, DealId, Event, Line, Party, StageAt
from domain.deals.decisions import MOST_ATTRIBUTES, MOST_LINES, MOST_PARTIES
from domain.deals.events import PartyKind
from domain.kernel import Stream
from domain.members import MEMBER
from domain.organisations import ORGANISATION
from domain.pipelines import DEFAULT, PIPELINE, Pipeline, Stage, StageId

Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Remark = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$")
]
Note = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$")
]
Amount = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,15}(\.[0-9]{1,24})?$"),
    Field(description="A decimal number as text, such as 20000.00.", examples=["20000.00"]),
]
Currency = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{3}$"),
    Field(description="A code of ISO 4217.", examples=["EUR"]),
]
Code = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$"),
    Field(description="A word of your own that reports group by.", examples=["price"]),
]
AttributeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$")]
AttributeValue = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$")]
OccurredAt = Annotated[AwareDatetime | None, Field(description="When it happened, if not now. At most a day in the future.")]


class PartyAs(Command):
    kind: PartyKind
    party_id: UUID
    role: Code = Field(description="client, borrower, guarantor, counterparty, introducer or a word of your own.")


class LineAs(Command):
    product: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    quantity: Amount = "1"
    unit_price: Amount | None = Field(default=None, description="In the deal's currency.")


Parties = Annotated[list[PartyAs], Field(max_length=MOST_PARTIES)]
Lines = Annotated[list[LineAs], Field(max_length=MOST_LINES)]
Attributes = Annotated[dict[AttributeName, AttributeValue], Field(max_length=MOST_ATTRIBUTES)]

# --- opening and moving


class OpenDeal(Command):
    title: Label
    pipeline: UUID | None = Field(default=None, description="The firm's default pipeline when absent.")
    stage: UUID | None = Field(default=None, description="The pipeline's first open stage when absent.")
    amount: Amount | None = None
    currency: Currency | None = None
    expected_close: date | None = None
    source: Label | None = None
    owner: UUID | None = None
    parties: Parties = Field(default_factory=list)
    lines: Lines = Field(default_factory=list)
    attributes: Attributes = Field(default_factory=dict)
    occurred_at: OccurredAt = None


@command("deals.open", "POST /deals", permission="deals:write", title="Open a deal", target=DEAL, creates=True)
async def open_deal(c: OpenDeal, w: Work) -> Answer:
    """Open a deal in a stage of a pipeline, for the parties named. Text is sealed for the first contact among them."""
    at = deals.happened(now=w.now, occurred_at=c.occurred_at)
    if c.pipeline is None:
        default = await w.find(DEFAULT, w.derive_id(DEFAULT.type))
        pipeline = await w.load(PIPELINE, pipelines.default_pipeline(default.state))
    else:
        pipeline = await w.load(PIPELINE, c.pipeline)
    stage = pipelines.entry_stage(pipeline.state, None if c.stage is None else StageId(c.stage))
    parties = await known_parties(w, c.parties)
    entity = w.create(DEAL, DealId(w.new_id()))
    opened = deals.open_deal(
        entity.state,
        stage=stage_at(pipeline.id, stage),
        title=c.title,
        amount=decimal(c.amount),
        currency=c.currency,
        expected_close=c.expected_close,
        source=c.source,
        owner=c.owner,
        owner_active=await _active(w, c.owner),
        parties=parties,
        lines=_lines(c.lines),
        attributes=c.attributes,
    )
    w.record(entity, opened, occurred_at=at)
    return {"id": str(entity.id)}


class MoveDeal(Command):
    id: UUID
    stage: UUID
    reason: Remark | None = None
    occurred_at: OccurredAt = None


@command("deals.move", "POST /deals/{id}:move", permission="deals:write", title="Move a deal to another stage", target=DEAL)
async def move(c: MoveDeal, w: Work) -> Answer:
    """Move within the deal's pipeline. A won or lost stage is reached by winning or losing."""
    entity = await w.load(DEAL, c.id)
    target = await _stage_of(w, entity, c.stage)
    _record(w, entity, deals.move(entity.state, target=target, reason=c.reason), c.occurred_at)
    return None


class TransferDeal(Command):
    id: UUID
    pipeline: UUID
    stage: UUID | None = Field(default=None, description="The pipeline's first open stage when absent.")
    reason: Remark | None = None
    occurred_at: OccurredAt = None


@command(
    "deals.transfer", "POST /deals/{id}:transfer", permission="deals:write", title="Bring a deal into another pipeline", target=DEAL
)
async def transfer(c: TransferDeal, w: Work) -> Answer:
    entity = await w.load(DEAL, c.id)
    pipeline = await w.load(PIPELINE, c.pipeline)
    stage = pipelines.entry_stage(pipeline.state, None if c.stage is None else StageId(c.stage))
    target = stage_at(pipeline.id, stage)
    _record(w, entity, deals.transfer(entity.state, target=target, reason=c.reason), c.occurred_at)
    return None


# --- what is known of it


class AmendDeal(Command):
    """What is absent stays as it is; null removes it."""

    id: UUID
    title: Label | None = Field(default=None, description="A deal always has a title: null leaves it as it is.")
    amount: Amount | None = Field(default=None, description="null removes the amount and its currency.")
    currency: Currency | None = None
    expected_close: date | None = None
    source: Label | None = None
    attributes: Annotated[dict[AttributeName, AttributeValue | None], Field(max_length=MOST_ATTRIBUTES)] = Field(
        default_factory=dict, description="Only those named change; null removes one."
    )
    occurred_at: OccurredAt = None


_CLEARABLE: tuple[Clearable, ...] = ("amount", "expected_close", "source")


@command("deals.amend", "POST /deals/{id}:amend", permission="deals:write", title="Amend a deal", target=DEAL)
async def amend(c: AmendDeal, w: Work) -> Answer:
    """Change what is known of the deal. What is absent stays as it is; null removes it."""
    entity = await w.load(DEAL, c.id)
    amended = deals.amend(
        entity.state,
        title=c.title,
        amount=decimal(c.amount),
        currency=c.currency,
        expected_close=c.expected_close,
        source=c.source,
        attributes=c.attributes,
        cleared=[name for name in _CLEARABLE if name in c.model_fields_set and getattr(c, name) is None],
    )
    _record(w, entity, amended, c.occurred_at)
    return None


class ItemiseDeal(Command):
    id: UUID
    lines: Lines
    occurred_at: OccurredAt = None


@command("deals.itemise", "POST /deals/{id}:itemise", permission="deals:write", title="Say what a deal is made of", target=DEAL)
async def itemise(c: ItemiseDeal, w: Work) -> Answer:
    """Replace the deal's lines: products, quantities, prices."""
    entity = await w.load(DEAL, c.id)
    _record(w, entity, deals.itemise(entity.state, lines=_lines(c.lines)), c.occurred_at)
    return None


class AssignDeal(Command):
    id: UUID
    owner: UUID | None = Field(description="The member who has the deal from now on; null for nobody.")
    occurred_at: OccurredAt = None


@command("deals.assign", "POST /deals/{id}:assign", permission="deals:write", title="Assign a deal to a member", target=DEAL)
async def assign(c: AssignDeal, w: Work) -> Answer:
    entity = await w.load(DEAL, c.id)
    active = await _active(w, c.owner)
    _record(w, entity, deals.assign(entity.state, owner=c.owner, owner_active=active), c.occurred_at)
    return None


class AddParty(PartyAs):
    id: UUID
    occurred_at: OccurredAt = None


@command("deals.add_party", "POST /deals/{id}:add-party", permission="deals:write", title="Add a party to a deal", target=DEAL)
async def add_party(c: AddParty, w: Work) -> Answer:
    """Add a contact or an organisation in a role. The same one may have several roles."""
    entity = await w.load(DEAL, c.id)
    (party,) = await known_parties(w, [c])
    _record(w, entity, deals.add_party(entity.state, party=party), c.occurred_at)
    return None


class RemoveParty(PartyAs):
    id: UUID
    occurred_at: OccurredAt = None


@command(
    "deals.remove_party", "POST /deals/{id}:remove-party", permission="deals:write", title="Remove a party of a deal", target=DEAL
)
async def remove_party(c: RemoveParty, w: Work) -> Answer:
    entity = await w.load(DEAL, c.id)
    party = Party(kind=c.kind, id=c.party_id, role=c.role)
    _record(w, entity, deals.remove_party(entity.state, party=party), c.occurred_at)
    return None


class NoteOnDeal(Command):
    id: UUID
    note: Note
    occurred_at: OccurredAt = None


@command(
    "deals.note",
    "POST /deals/{id}:note",
    permission="deals:write",
    title="Note something about a deal",
    target=DEAL,
)
async def note(c: NoteOnDeal, w: Work) -> Answer:
    entity = await w.load(DEAL, c.id)
    _record(w, entity, deals.note(entity.state, text=c.note), c.occurred_at)
    return None


class RecordDealActivity(Command):
    id: UUID
    name: Label = Field(description="What was done: a call, a site visit, a credit check.")
    details: Attributes = Field(default_factory=dict)
    occurred_at: OccurredAt = None


@command(
    "deals.record_activity",
    "POST /deals/{id}:record-activity",
    permission="deals:write",
    title="Record what was done for a deal",
    target=DEAL,
)
async def record_activity(c: RecordDealActivity, w: Work) -> Answer:
    """Record something that neither moved the deal nor touched an offer."""
    entity = await w.load(DEAL, c.id)
    _record(w, entity, deals.record_activity(entity.state, name=c.name, details=c.details), c.occurred_at)
    return None


# --- closing and reopening


class WinDeal(Command):
    id: UUID
    closed_on: date | None = Field(default=None, description="The day of occurred_at, or today (UTC), when absent.")
    stage: UUID | None = Field(
        default=None, description="A won stage. The pipeline's first one when absent; the deal stays where it is if there is none."
    )
    amount: Amount | None = Field(default=None, description="The final amount, if it differs.")
    currency: Currency | None = None
    occurred_at: OccurredAt = None


@command("deals.win", "POST /deals/{id}:win", permission="deals:write", title="Win a deal", target=DEAL)
async def win(c: WinDeal, w: Work) -> Answer:
    entity = await w.load(DEAL, c.id)
    at = deals.happened(now=w.now, occurred_at=c.occurred_at)
    won = deals.win(
        entity.state,
        closed_on=c.closed_on or at.date(),
        today=w.now.date(),
        stage=await _closing_stage(w, entity, c.stage, won=True),
        amount=decimal(c.amount),
        currency=c.currency,
    )
    w.record(entity, won, occurred_at=at)
    return None


class LoseDeal(Command):
    id: UUID
    reason_code: Code
    reason: Remark | None = None
    closed_on: date | None = Field(default=None, description="The day of occurred_at, or today (UTC), when absent.")
    stage: UUID | None = Field(
        default=None, description="A lost stage. The pipeline's first one when absent; the deal stays where it is if there is none."
    )
    occurred_at: OccurredAt = None


@command("deals.lose", "POST /deals/{id}:lose", permission="deals:write", title="Lose a deal, with the reason", target=DEAL)
async def lose(c: LoseDeal, w: Work) -> Answer:
    entity = await w.load(DEAL, c.id)
    at = deals.happened(now=w.now, occurred_at=c.occurred_at)
    lost = deals.lose(
        entity.state,
        closed_on=c.closed_on or at.date(),
        today=w.now.date(),
        reason_code=c.reason_code,
        reason=c.reason,
        stage=await _closing_stage(w, entity, c.stage, won=False),
    )
    w.record(entity, lost, occurred_at=at)
    return None


class ReopenDeal(Command):
    id: UUID
    stage: UUID | None = Field(default=None, description="An open stage; where it last stood open when absent.")
    reason: Remark | None = None
    occurred_at: OccurredAt = None


@command("deals.reopen", "POST /deals/{id}:reopen", permission="deals:write", title="Reopen a closed deal", target=DEAL)
async def reopen(c: ReopenDeal, w: Work) -> Answer:
    entity = await w.load(DEAL, c.id)
    stage = await _stage_of(w, entity, c.stage or entity.state.open_stage)
    _record(w, entity, deals.reopen(entity.state, stage=stage, reason=c.reason), c.occurred_at)
    return None


class ArchiveDeal(Command):
    id: UUID
    reason: Remark | None = None


@command("deals.archive", "POST /deals/{id}:archive", permission="deals:write", title="Archive a deal", target=DEAL)
async def archive(c: ArchiveDeal, w: Work) -> Answer:
    """Put the deal away: it stays on the record, whatever its outcome, and changes no more until it is restored."""
    entity = await w.load(DEAL, c.id)
    w.record(entity, deals.archive(entity.state, reason=c.reason))
    return None


class RestoreDeal(Command):
    id: UUID


@command("deals.restore", "POST /deals/{id}:restore", permission="deals:write", title="Restore an archived deal", target=DEAL)
async def restore(c: RestoreDeal, w: Work) -> Answer:
    entity = await w.load(DEAL, c.id)
    w.record(entity, deals.restore(entity.state))
    return None


# --- shared with imports and offers

_PARTIES: dict[PartyKind, Stream[Any, Any]] = {"contact": CONTACT, "organisation": ORGANISATION}


def decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def stage_at(pipeline: UUID, stage: Stage) -> StageAt:
    """The stage as the deal remembers it."""
    return StageAt(
        pipeline=pipeline,
        id=stage.id,
        name=stage.name,
        kind=stage.kind,
        probability=stage.probability,
        time_limit_days=stage.time_limit_days,
    )


async def known_parties(w: Work, parties: Sequence[PartyAs]) -> list[Party]:
    """The parties, each of which must exist in this firm."""
    for p in parties:
        await w.load(_PARTIES[p.kind], p.party_id)
    return [Party(kind=p.kind, id=p.party_id, role=p.role) for p in parties]


def _record(w: Work, entity: Entity[Deal, Event], events: Sequence[Event], occurred_at: AwareDatetime | None) -> None:
    w.record(entity, events, occurred_at=deals.happened(now=w.now, occurred_at=occurred_at))


def _lines(lines: Sequence[LineAs]) -> list[Line]:
    return [Line(product=x.product, quantity=Decimal(x.quantity), unit_price=decimal(x.unit_price)) for x in lines]


async def _active(w: Work, member: UUID | None) -> bool:
    return member is None or (await w.load(MEMBER, member)).state.active


async def _pipeline_of(w: Work, deal: Entity[Deal, Event]) -> tuple[UUID, Pipeline]:
    stood = deal.state.stage
    if stood is None:
        raise LookupError("a deal on record was opened in a stage")
    return stood.pipeline, (await w.load(PIPELINE, stood.pipeline)).state


async def _stage_of(w: Work, deal: Entity[Deal, Event], stage: UUID | None) -> StageAt:
    id, pipeline = await _pipeline_of(w, deal)
    if stage is None or (deal.state.stage is not None and stage == deal.state.stage.id and deal.state.status == "open"):
        return stage_at(id, pipelines.known_stage(pipeline, StageId(stage)) if stage else pipelines.first_stage(pipeline))
    return stage_at(id, pipelines.stage_in_use(pipeline, StageId(stage)))


async def _closing_stage(w: Work, deal: Entity[Deal, Event], stage: UUID | None, *, won: bool) -> StageAt | None:
    id, pipeline = await _pipeline_of(w, deal)
    if stage is not None:
        return stage_at(id, pipelines.stage_in_use(pipeline, StageId(stage)))
    closing = pipelines.closing_stage(pipeline, "won" if won else "lost")
    return None if closing is None else stage_at(id, closing)
