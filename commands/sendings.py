"""Commands of sendings: whom a message goes to is decided on the record, and the decision is recorded with it."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from commands.kernel import Answer, Command, Work, command
from commands.purposes import Key
from domain import sendings
from domain.consent import CONSENT
from domain.consent.deciding import Decision, Known, Material, Question, Silence, decide, known_of, silences_of
from domain.consent.words import Channel
from domain.contacts import CONTACT, Contact
from domain.notices import NOTICE, material_versions
from domain.purposes import PURPOSES
from domain.sendings import SENDING, Allowed, Withheld

Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]


class DecideSending(Command):
    purpose: Key
    channel: Channel
    contacts: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=sendings.MOST)]
    message: Reference | None = None


@command(
    "sendings.decide",
    "POST /sendings",
    permission="consent:write",
    title="Decide whom a message goes to",
    target=SENDING,
    creates=True,
    undoable=False,
)
async def decide_sending(c: DecideSending, w: Work) -> Answer:
    """Decide for each contact whether the message may go out, and record the decision with what it rests on. Send to those in `allowed`, and to
    nobody else. `message` is your own reference to what is sent."""
    allowed, withheld = [], []
    purpose = await _purpose(w, c.purpose)
    for contact in c.contacts:
        d = await _decided(w, contact, c.purpose, c.channel, purpose)
        if d.allowed:
            allowed.append(Allowed(contact=contact, decided_by=d.decided_by, seq=d.decided_seq))
        else:
            withheld.append(Withheld(contact=contact, reasons=d.reasons, decided_by=d.decided_by, seq=d.decided_seq))
    sending = w.create(SENDING, w.new_id())
    w.record(
        sending,
        sendings.decide(sending.state, purpose=c.purpose, channel=c.channel, message=c.message, allowed=allowed, withheld=withheld),
    )
    return {
        "id": str(sending.id),
        "allowed": [str(a.contact) for a in allowed],
        "withheld": [{"contact": str(x.contact), "reasons": list(x.reasons)} for x in withheld],
    }


async def _purpose(w: Work, key: str) -> str | None:
    tree = (await w.find(PURPOSES, w.firm)).state
    if key not in tree.keys:
        return None
    return "retired" if tree.purposes[tree.keys[key]].retired else "active"


async def _decided(w: Work, contact: UUID, purpose: str, channel: Channel, purpose_state: str | None) -> Decision:
    """The decision of domain.consent.deciding, over the chains of the person as they are written."""
    person, chains = await _person(w, contact)
    known: list[Known] = []
    silences: list[Silence] = []
    for id in chains:
        chain = (await w.find(CONSENT, id)).state
        if (purpose, channel) in chain.marks:
            known.append(known_of(chain, id, purpose, channel, w.now))
        silences += silences_of(chain, w.now)
    materials: dict[UUID, list[Material]] = {}
    for notice in {k.notice for k in known if k.notice is not None}:
        text = (await w.find(NOTICE, notice)).state
        materials[notice] = [Material(v.number, v.published_at, v.new_purposes) for v in material_versions(text)]
    state = None if person is None else "erased" if person.erased else "archived" if person.archived else "active"
    question = Question(purpose=purpose, channel=channel, at=w.now, purpose_state=purpose_state, contact_state=state)
    return decide(question, known, silences, materials)


async def _person(w: Work, contact: UUID) -> tuple[Contact | None, list[UUID]]:
    """Who the contact is now, and every contact that is the same person."""
    entity = await w.find(CONTACT, contact)
    if entity.version == 0:
        return None, [contact]
    seen = [contact]
    while entity.state.merged_into is not None and entity.state.merged_into not in seen:
        entity = await w.find(CONTACT, entity.state.merged_into)
        seen.append(entity.id)
    return entity.state, list(dict.fromkeys([*seen, *entity.state.absorbed]))
