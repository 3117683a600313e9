"""What every act of consent carries, and how it joins the contact's chain."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, IPvAnyAddress, StringConstraints

from commands.kernel import Answer, Command, Entity, Work
from commands.notices import Sha256
from commands.purposes import Key
from domain import purposes
from domain.consent import CONSENT, Consent
from domain.consent.events import Event
from domain.consent.words import Capture, Channel, CollectionMethod, Evidence, Link, PurposeRef, RecordId, moment, same_point
from domain.contacts import CONTACT
from domain.purposes import PURPOSES, Purpose, Tree

Chain = Entity[Consent, Event]

Line = r"^[^\x00-\x1f\x7f]+$"
Keys = Annotated[tuple[Key, ...], Field(min_length=1, max_length=100)]


class EvidenceOf(BaseModel):
    """A file that shows it, by the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Sha256
    media_type: Annotated[str, StringConstraints(pattern=r"^[a-z]+/[A-Za-z0-9][A-Za-z0-9.+_-]{0,100}$")]


class Act(Command):
    """`id` is the contact's. What is personal here (address, browser, contact point, name, remark) is sealed as evidence."""

    id: UUID
    collection_method: CollectionMethod | None = None
    capture_source: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=Line)] | None = None
    evidence: Annotated[tuple[EvidenceOf, ...], Field(max_length=20)] = ()
    import_batch: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,100}$")] | None = None
    ip_address: IPvAnyAddress | None = None
    user_agent: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=Line)] | None = None
    contact_point: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]+$")] | None = None
    display_name: Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=Line)] | None = None
    remark: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]+$")] | None = None


class TimedAct(Act):
    occurred_at: AwareDatetime | None = None


class OverChannel(TimedAct):
    purposes: Keys
    channel: Channel


async def chain_of(c: Act, w: Work) -> Chain:
    """The contact's chain. The contact is looked up only while there is no chain: a chain proves that it exists."""
    chain = await w.find(CONSENT, c.id)
    if chain.version == 0:
        await w.load(CONTACT, c.id)
    return chain


async def tree(w: Work) -> Tree:
    return (await w.find(PURPOSES, w.firm)).state


def refs(found: Iterable[Purpose]) -> tuple[PurposeRef, ...]:
    return tuple(PurposeRef(key=p.key, dpv=p.dpv, purpose_version=p.version) for p in found)


def capture(c: Act, w: Work) -> Capture:
    batch = c.import_batch
    if batch is None and w.origin is not None and w.origin.startswith("import"):
        batch = w.origin
    return Capture(
        controller=w.firm,
        actor=w.actor.kind,
        collection_method=c.collection_method,
        capture_source=c.capture_source,
        evidence=tuple(Evidence(sha256=e.sha256, media_type=e.media_type) for e in c.evidence),
        import_batch=batch,
        ip_address=str(c.ip_address) if c.ip_address is not None else None,
        user_agent=c.user_agent,
        contact_point=c.contact_point,
        display_name=c.display_name,
        remark=c.remark,
    )


def link(c: Act, w: Work, chain: Chain, at: datetime) -> Link:
    """The next link of the chain."""
    return Link(at=at, capture=capture(c, w), record_id=RecordId(w.new_id()), prev=chain.leaf_hash)


def point(c: Act, w: Work, channel: Channel) -> UUID | None:
    """The keyed reference of the contact point, the same for every spelling of it; it means nothing beyond this contact."""
    if c.contact_point is None:
        return None
    return w.derive_id("consent-contact-point", str(c.id), channel, same_point(channel, c.contact_point))


def record(w: Work, chain: Chain, events: list[Event]) -> bool:
    """Record each at its own time; whether there was any."""
    for e in events:
        w.record(chain, [e], occurred_at=e.effective_from)
    return bool(events)


def record_all(c: Act, w: Work, chain: Chain, at: datetime, decide: Callable[[Consent, Link], list[Event]]) -> None:
    """Decide again until nothing is left: each event needs the hash of the one before."""
    while record(w, chain, decide(chain.state, link(c, w, chain, at))):
        pass


def answer(chain: Chain) -> Answer:
    return {"id": str(chain.id), "seq": chain.state.seq, "head": chain.leaf_hash}


class DecidedOver(Protocol):
    """A decision about some purposes over a channel."""

    def __call__(self, consent: Consent, link: Link, *, purposes: Sequence[PurposeRef], channel: Channel) -> list[Event]: ...


async def over_channel(c: OverChannel, w: Work, decide: DecidedOver) -> Answer:
    """What a person or the firm said about purposes that are known, retired ones too."""
    chain = await chain_of(c, w)
    named = refs(purposes.known(await tree(w), c.purposes))
    record(w, chain, decide(chain.state, link(c, w, chain, moment(w.now, c.occurred_at)), purposes=named, channel=c.channel))
    return answer(chain)
