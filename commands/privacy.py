"""Commands of a person's rights: holds that keep their data, requests about it, and the steps of an erasure, which the system records."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from commands.kernel import Answer, Command, Entity, Work, command
from domain import contacts, privacy
from domain.consent.words import add_months, moment
from domain.contacts import CONTACT
from domain.privacy import PRIVACY, Event, Ground, HoldId, Kind, Left, Privacy, RequestId, Span

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]+$")]
Because = Literal["legal_hold", "legal_obligation", "identity_not_verified", "manifestly_unfounded", "withdrawn_by_person"]
SATURDAY = 5


def after(start: datetime, span: Span) -> datetime:
    """The moment so long after another."""
    end = add_months(start, span.months) + timedelta(days=span.days)
    for _ in range(span.working_days):
        end += timedelta(days=1)
        while end.weekday() >= SATURDAY:
            end += timedelta(days=1)
    return end


async def _privacy(w: Work, contact: UUID) -> Entity[Privacy, Event]:
    entity = await w.find(PRIVACY, contact)
    if entity.version == 0:
        await w.load(CONTACT, contact)
    return entity


class PlaceContactHold(Command):
    id: UUID
    reason: Reason


@command(
    "privacy.hold",
    "POST /contacts/{id}:hold",
    permission="holds:write",
    title="Keep a person's data under legal hold",
    target=PRIVACY,
    undoable=False,
)
async def hold(c: PlaceContactHold, w: Work) -> Answer:
    """Keep everything about this person from being erased until the hold is lifted."""
    entity = await _privacy(w, c.id)
    placed = HoldId(w.new_id())
    w.record(entity, privacy.place_hold(entity.state, hold=placed, reason=c.reason))
    return {"id": str(c.id), "hold": str(placed)}


class LiftContactHold(Command):
    id: UUID
    hold: UUID
    reason: Reason


@command(
    "privacy.lift_hold",
    "POST /contacts/{id}:lift-hold",
    permission="holds:write",
    title="Lift a legal hold from a person's data",
    target=PRIVACY,
    undoable=False,
)
async def lift_hold(c: LiftContactHold, w: Work) -> Answer:
    """Lift one hold; others that stand go on keeping the data."""
    entity = await _privacy(w, c.id)
    w.record(entity, privacy.lift_hold(entity.state, hold=HoldId(c.hold), reason=c.reason))
    return {"id": str(c.id)}


class RequestOfPerson(Command):
    id: UUID
    kind: Kind
    ground: Ground = "gdpr"
    received_at: AwareDatetime | None = Field(default=None, description="When the person asked, if not now.")
    suppress: bool = Field(
        default=True, description="Keep keyed digests of the person's addresses, so that nobody is imported again after an erasure."
    )


@command(
    "privacy.request",
    "POST /contacts/{id}:request-privacy",
    permission="privacy:write",
    title="Record what a person asks about their data",
    target=PRIVACY,
    undoable=False,
)
async def request(c: RequestOfPerson, w: Work) -> Answer:
    """Record that a person asks for erasure, anonymisation, a copy of their data, or another of their rights. It is due within
    the time that its `ground` gives, a month under the GDPR. Asking again for what is open answers with the request that is there."""
    entity = await _privacy(w, c.id)
    at = moment(w.now, c.received_at)
    id = RequestId(w.new_id())
    events = privacy.request(
        entity.state,
        id=id,
        kind=c.kind,
        ground=c.ground,
        received_at=at,
        due_by=after(at, privacy.time_to_answer(c.kind, c.ground)),
        suppress=c.suppress,
    )
    w.record(entity, events, occurred_at=at)
    there = privacy.open_request(entity.state, c.kind)
    return {"id": str(c.id), "request": str(there.id if there is not None else id)}


class OfRequest(Command):
    id: UUID
    request: UUID


class ExtendRequest(OfRequest):
    because: Literal["complexity", "number_of_requests"]


@command(
    "privacy.extend",
    "POST /contacts/{id}:extend-privacy-request",
    permission="privacy:write",
    title="Extend the time to answer a person",
    target=PRIVACY,
    undoable=False,
)
async def extend(c: ExtendRequest, w: Work) -> Answer:
    """Extend the time to answer once, after telling the person why: to three months from the receipt under the GDPR, 90 days under the CCPA."""
    entity = await _privacy(w, c.id)
    id = RequestId(c.request)
    asked = privacy.known(entity.state, id)
    due_by = after(asked.received_at, privacy.time_to_answer(asked.kind, asked.ground, extended=True))
    w.record(entity, privacy.extend(entity.state, id=id, due_by=due_by, because=c.because))
    return {"id": str(c.id), "due_by": due_by.isoformat()}


class RefuseRequest(OfRequest):
    because: Because


@command(
    "privacy.refuse",
    "POST /contacts/{id}:refuse-privacy-request",
    permission="privacy:write",
    title="Refuse what a person asks",
    target=PRIVACY,
    undoable=False,
)
async def refuse(c: RefuseRequest, w: Work) -> Answer:
    """Refuse a request, with the ground; a legal hold is named with it."""
    entity = await _privacy(w, c.id)
    w.record(entity, privacy.refuse(entity.state, id=RequestId(c.request), because=c.because))
    return {"id": str(c.id)}


class ApproveErasure(OfRequest):
    pass


@command(
    "privacy.approve",
    "POST /contacts/{id}:approve-erasure",
    permission="privacy:approve",
    title="Approve an erasure",
    target=PRIVACY,
    undoable=False,
)
async def approve(c: ApproveErasure, w: Work) -> Answer:
    """Let the system destroy what identifies this person, in every store. It can't be taken back, and a legal hold refuses it. The contact
    is frozen at once; how far the erasure is stands in the list of privacy requests."""
    entity = await _privacy(w, c.id)
    w.record(entity, privacy.approve(entity.state, id=RequestId(c.request)))
    contact = await w.load(CONTACT, c.id)
    w.record(contact, contacts.erase(contact.state))
    for other in contact.state.absorbed:
        part = await w.load(CONTACT, other)
        w.record(part, contacts.erase_with_survivor(part.state))
    return {"id": str(c.id)}


class AnswerRequest(OfRequest):
    pass


@command(
    "privacy.answer",
    "POST /contacts/{id}:answer-privacy-request",
    permission="privacy:write",
    title="Say that a person was answered",
    target=PRIVACY,
    undoable=False,
)
async def answer(c: AnswerRequest, w: Work) -> Answer:
    """Record that what a person asked was done and told to them."""
    entity = await _privacy(w, c.id)
    w.record(entity, privacy.answer(entity.state, id=RequestId(c.request)))
    return {"id": str(c.id)}


# --- the steps of an erasure, recorded by whoever carries it out


class RecordKeysDestroyed(OfRequest):
    keys: Annotated[int, Field(ge=0)]
    subjects: Annotated[tuple[UUID, ...], Field(max_length=1000)]


@command(
    "privacy.keys_destroyed",
    "POST /contacts/{id}:keys-destroyed",
    permission="operator",
    title="Record that data keys were destroyed",
    target=PRIVACY,
    undoable=False,
)
async def keys_destroyed(c: RecordKeysDestroyed, w: Work) -> Answer:
    """Record that no key to the person's values exists any more."""
    entity = await _privacy(w, c.id)
    w.record(entity, privacy.destroyed(entity.state, id=RequestId(c.request), keys=c.keys, subjects=c.subjects))
    return {"id": str(c.id)}


class RecordPurged(OfRequest):
    store: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
    things: Annotated[int, Field(ge=0)]
    left: Left | None = None


@command(
    "privacy.purged",
    "POST /contacts/{id}:purged",
    permission="operator",
    title="Record that a store has let go",
    target=PRIVACY,
    undoable=False,
)
async def purged(c: RecordPurged, w: Work) -> Answer:
    """Record that a store holds nothing of the person any more."""
    entity = await _privacy(w, c.id)
    w.record(entity, privacy.purged(entity.state, id=RequestId(c.request), store=c.store, things=c.things, left=c.left))
    return {"id": str(c.id)}


class AwaitStore(OfRequest):
    store: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
    because: Reason


@command(
    "privacy.await_store",
    "POST /contacts/{id}:await-store",
    permission="operator",
    title="Record that an erasure waits for a store",
    target=PRIVACY,
    undoable=False,
)
async def await_store(c: AwaitStore, w: Work) -> Answer:
    """Record that a store did not answer, with the reason; it is asked again until it does."""
    entity = await _privacy(w, c.id)
    w.record(entity, privacy.await_store(entity.state, id=RequestId(c.request), store=c.store, because=c.because))
    return {"id": str(c.id)}


class CompleteErasure(OfRequest):
    stores: Annotated[tuple[str, ...], Field(max_length=100)]
    certificate: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


@command(
    "privacy.complete",
    "POST /contacts/{id}:complete-erasure",
    permission="operator",
    title="Complete an erasure",
    target=PRIVACY,
    undoable=False,
)
async def complete(c: CompleteErasure, w: Work) -> Answer:
    """Record that every store has answered, with the certificate."""
    entity = await _privacy(w, c.id)
    w.record(entity, privacy.complete(entity.state, id=RequestId(c.request), stores=c.stores, certificate=c.certificate))
    return {"id": str(c.id)}
