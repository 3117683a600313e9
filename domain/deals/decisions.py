"""What may be done with a deal. Rules are named in the package's docstring."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from domain.deals.events import (
    ActivityRecorded,
    ActivityTakenBack,
    DealAmended,
    DealArchived,
    DealAssigned,
    DealItemised,
    DealLost,
    DealMoved,
    DealNoted,
    DealOpened,
    DealReopened,
    DealRestored,
    DealTransferred,
    DealWon,
    Event,
    Line,
    NoteTakenBack,
    Party,
    PartyAdded,
    PartyRemoved,
    StageAt,
)
from domain.deals.money import amount_of, money_of
from domain.deals.refusals import (
    AlreadyInPipeline,
    ClosedInTheFuture,
    DealIsArchived,
    DealIsClosed,
    HappenedInTheFuture,
    NoSuchParty,
    OwnerIsInactive,
    StageCloses,
    StageHasAnotherOutcome,
    StageInAnotherPipeline,
    StageIsClosing,
    TooManyAttributes,
    TooManyLines,
    TooManyParties,
)
from domain.deals.state import Deal, first_contact

MOST_PARTIES = 50
MOST_LINES = 50
MOST_ATTRIBUTES = 50
MOST_ATTRIBUTE_BYTES = 16_000
NOT_STATED = "not-stated"
A_DAY = timedelta(days=1)

Clearable = Literal["amount", "expected_close", "source"]


def happened(*, now: datetime, occurred_at: datetime | None) -> datetime:
    """The business time of what is being recorded: what is said, or now."""
    if occurred_at is None:
        return now
    if occurred_at > now + A_DAY:
        raise HappenedInTheFuture
    return occurred_at


def open_deal(
    _deal: Deal,
    *,
    stage: StageAt,
    title: str,
    amount: Decimal | None = None,
    currency: str | None = None,
    expected_close: date | None = None,
    source: str | None = None,
    owner: UUID | None = None,
    owner_active: bool = True,
    parties: Sequence[Party] = (),
    lines: Sequence[Line] = (),
    attributes: Mapping[str, str] | None = None,
    performer: UUID | None = None,
) -> list[Event]:
    if stage.kind != "open":
        raise StageIsClosing(stage=str(stage.id))
    if owner is not None and not owner_active:
        raise OwnerIsInactive
    amount, currency = money_of(amount, currency)
    those = tuple(dict.fromkeys(parties))
    if len(those) > MOST_PARTIES:
        raise TooManyParties
    return [
        DealOpened(
            stage=stage,
            contact=first_contact(those),
            title=title,
            amount=amount,
            currency=currency,
            expected_close=expected_close,
            source=source,
            owner=owner,
            parties=those,
            lines=_lines(lines),
            attributes=_attributes(dict(attributes or {})),
            performer=performer,
        )
    ]


def move(deal: Deal, *, target: StageAt, reason: str | None = None) -> list[Event]:
    _not_archived(deal)
    stood = _stood(deal)
    if target.pipeline != stood.pipeline:
        raise StageInAnotherPipeline(stage=str(target.id))
    if target.id == stood.id:
        return []
    if deal.status == "open" and target.kind != "open":
        raise StageCloses(stage=str(target.id), kind=target.kind)
    if deal.status not in {"open", target.kind}:
        raise DealIsClosed(status=deal.status)
    return [DealMoved(origin=stood.id, target=target, contact=deal.contact, reason=reason)]


def transfer(deal: Deal, *, target: StageAt, reason: str | None = None) -> list[Event]:
    _not_archived(deal)
    stood = _stood(deal)
    if target.pipeline == stood.pipeline:
        if target.id == stood.id:
            return []
        raise AlreadyInPipeline
    if deal.status != "open":
        raise DealIsClosed(status=deal.status)
    if target.kind != "open":
        raise StageIsClosing(stage=str(target.id))
    return [DealTransferred(origin_pipeline=stood.pipeline, origin=stood.id, target=target, contact=deal.contact, reason=reason)]


def amend(
    deal: Deal,
    *,
    title: str | None = None,
    amount: Decimal | None = None,
    currency: str | None = None,
    expected_close: date | None = None,
    source: str | None = None,
    attributes: Mapping[str, str | None] | None = None,
    cleared: Collection[Clearable] = (),
) -> list[Event]:
    """Values of None stay; those in `cleared` go, and an attribute of None goes. The currency goes with the amount."""
    _not_archived(deal)
    wanted_amount, wanted_currency = amount, currency
    if "amount" not in cleared:
        wanted_amount, wanted_currency = amount if amount is not None else deal.amount, currency or deal.currency
    wanted_amount, wanted_currency = money_of(wanted_amount, wanted_currency)
    wishes = attributes or {}
    kept = {k: v for k, v in deal.attributes.items() if k not in wishes}
    _attributes(kept | {k: v for k, v in wishes.items() if v is not None})
    gone: list[str] = []
    if wanted_amount is None and deal.amount is not None:
        gone.append("amount")
    if "expected_close" in cleared and expected_close is None and deal.expected_close is not None:
        gone.append("expected_close")
    if "source" in cleared and source is None and deal.source is not None:
        gone.append("source")
    bare = DealAmended(contact=deal.contact)
    amended = DealAmended(
        contact=deal.contact,
        title=None if title == deal.title else title,
        amount=None if wanted_amount == deal.amount else wanted_amount,
        currency=None if wanted_currency == deal.currency else wanted_currency,
        expected_close=None if expected_close == deal.expected_close else expected_close,
        source=None if source == deal.source else source,
        attributes={k: v for k, v in wishes.items() if v is not None and deal.attributes.get(k) != v},
        attributes_removed=tuple(k for k, v in wishes.items() if v is None and k in deal.attributes),
        cleared=tuple(gone),
    )
    return [] if amended == bare else [amended]


def itemise(deal: Deal, *, lines: Sequence[Line]) -> list[Event]:
    _not_archived(deal)
    wanted = _lines(lines)
    return [] if wanted == deal.lines else [DealItemised(lines=wanted)]


def assign(deal: Deal, *, owner: UUID | None, owner_active: bool = True) -> list[Event]:
    """An owner of None takes it from whoever has it."""
    _not_archived(deal)
    if owner == deal.owner:
        return []
    if owner is not None and not owner_active:
        raise OwnerIsInactive
    return [DealAssigned(owner=owner, previous=deal.owner)]


def add_party(deal: Deal, *, party: Party) -> list[Event]:
    _not_archived(deal)
    if party in deal.parties:
        return []
    if len(deal.parties) >= MOST_PARTIES:
        raise TooManyParties
    return [PartyAdded(party=party)]


def remove_party(deal: Deal, *, party: Party) -> list[Event]:
    _not_archived(deal)
    if party not in deal.parties:
        raise NoSuchParty
    return [PartyRemoved(party=party)]


def note(deal: Deal, *, text: str, performer: UUID | None = None) -> list[Event]:
    _not_archived(deal)
    return [DealNoted(contact=deal.contact, note=text, performer=performer)]


def record_activity(
    deal: Deal, *, name: str, details: Mapping[str, str] | None = None, performer: UUID | None = None
) -> list[Event]:
    """Whatever the state of the deal: it was done."""
    return [ActivityRecorded(name=name, contact=deal.contact, details=_attributes(dict(details or {})), performer=performer)]


def take_back_note(deal: Deal, *, note: UUID, last: str | None) -> list[Event]:
    """`note` is the event that told it, `last` the last note before it that stands."""
    _not_archived(deal)
    return [NoteTakenBack(note=note, contact=deal.contact, last=last)]


def take_back_activity(
    deal: Deal, *, activity: UUID, name: str | None = None, details: Mapping[str, str] | None = None
) -> list[Event]:
    """`activity` is the event that told it; the rest tells the last one before it that stands."""
    _not_archived(deal)
    return [ActivityTakenBack(activity=activity, contact=deal.contact, name=name, details=dict(details or {}))]


def win(
    deal: Deal,
    *,
    closed_on: date,
    today: date,
    stage: StageAt | None = None,
    amount: Decimal | None = None,
    currency: str | None = None,
) -> list[Event]:
    """An amount without a currency is in the deal's currency."""
    _not_archived(deal)
    if deal.status == "won":
        return []
    if deal.status == "lost":
        raise DealIsClosed(status=deal.status)
    _closing(deal, closed_on=closed_on, today=today, stage=stage, outcome="won")
    final, code = _final(deal, amount, currency)
    return [DealWon(closed_on=closed_on, stage=_elsewhere(deal, stage), amount=final, currency=code)]


def lose(
    deal: Deal, *, closed_on: date, today: date, reason_code: str, reason: str | None = None, stage: StageAt | None = None
) -> list[Event]:
    _not_archived(deal)
    if deal.status == "lost":
        return []
    if deal.status == "won":
        raise DealIsClosed(status=deal.status)
    _closing(deal, closed_on=closed_on, today=today, stage=stage, outcome="lost")
    return [
        DealLost(closed_on=closed_on, reason_code=reason_code, contact=deal.contact, reason=reason, stage=_elsewhere(deal, stage))
    ]


def reopen(deal: Deal, *, stage: StageAt, reason: str | None = None) -> list[Event]:
    _not_archived(deal)
    if deal.status == "open":
        return []
    if stage.pipeline != _stood(deal).pipeline:
        raise StageInAnotherPipeline(stage=str(stage.id))
    if stage.kind != "open":
        raise StageIsClosing(stage=str(stage.id))
    return [DealReopened(target=stage, contact=deal.contact, reason=reason)]


def archive(deal: Deal, *, reason: str | None = None) -> list[Event]:
    return [] if deal.archived else [DealArchived(contact=deal.contact, reason=reason)]


def restore(deal: Deal) -> list[Event]:
    return [DealRestored()] if deal.archived else []


def arrive(
    deal: Deal,
    *,
    stage: StageAt,
    on: date,
    reason_code: str = NOT_STATED,
    reason: str | None = None,
    amount: Decimal | None = None,
    currency: str | None = None,
    performer: UUID | None = None,
) -> list[Event]:
    """What another system says happened: the deal came to this stage on this day.

    Always exactly one event, whatever this firm's rules would have said: won or lost by coming to a stage of that kind, reopened
    by coming from there to an open one, moved otherwise; an activity of the stage's name when it stood there already. `amount` is
    the final one of a deal that was won, in the deal's currency if none is named.
    """
    stood = _stood(deal)
    if (stage.pipeline, stage.id) == (stood.pipeline, stood.id):
        return [ActivityRecorded(name=stage.name, contact=deal.contact, performer=performer)]
    if stage.kind == deal.status:
        return [DealMoved(origin=stood.id, target=stage, contact=deal.contact, reason=reason, performer=performer)]
    if stage.kind == "won":
        final, code = _final(deal, amount, currency)
        return [DealWon(closed_on=on, stage=stage, amount=final, currency=code, performer=performer)]
    if stage.kind == "lost":
        return [
            DealLost(closed_on=on, reason_code=reason_code, contact=deal.contact, reason=reason, stage=stage, performer=performer)
        ]
    return [DealReopened(target=stage, contact=deal.contact, reason=reason, performer=performer)]


def _stood(deal: Deal) -> StageAt:
    if deal.stage is None:
        raise LookupError("a deal that was never opened has no stage: load it before deciding")
    return deal.stage


def _final(deal: Deal, amount: Decimal | None, currency: str | None) -> tuple[Decimal | None, str | None]:
    """The amount and the currency, each only if it is another than the deal's."""
    final, code = money_of(deal.amount if amount is None else amount, currency or deal.currency)
    return None if final == deal.amount else final, None if code == deal.currency else code


def _elsewhere(deal: Deal, stage: StageAt | None) -> StageAt | None:
    return None if stage is None or stage.id == _stood(deal).id else stage


def _not_archived(deal: Deal) -> None:
    if deal.archived:
        raise DealIsArchived


def _closing(deal: Deal, *, closed_on: date, today: date, stage: StageAt | None, outcome: Literal["won", "lost"]) -> None:
    if closed_on > today + A_DAY:
        raise ClosedInTheFuture(closed_on=closed_on.isoformat())
    if stage is None:
        return
    if stage.pipeline != _stood(deal).pipeline:
        raise StageInAnotherPipeline(stage=str(stage.id))
    if stage.kind != outcome:
        raise StageHasAnotherOutcome(stage=str(stage.id), kind=stage.kind)


def _lines(lines: Sequence[Line]) -> tuple[Line, ...]:
    if len(lines) > MOST_LINES:
        raise TooManyLines(lines=len(lines))
    return tuple(
        replace(
            line,
            quantity=amount_of(line.quantity),
            unit_price=None if line.unit_price is None else amount_of(line.unit_price),
        )
        for line in lines
    )


def _attributes(attributes: dict[str, str]) -> dict[str, str]:
    if len(attributes) > MOST_ATTRIBUTES:
        raise TooManyAttributes(attributes=len(attributes))
    if sum(len(k) + len(v.encode("utf-8", "surrogatepass")) for k, v in attributes.items()) > MOST_ATTRIBUTE_BYTES:
        raise TooManyAttributes
    return attributes
