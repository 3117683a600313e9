"""What a person may ask of a firm about their data, and the holds that stand against it: one stream a contact.

PY1  A contact under a legal hold is not erased: the request is refused, and names the holds; lifted holds count no more.
PY2  A request is approved before anything is destroyed, and what was approved can't be taken back.
PY3  One request is open at a time; asking again for what is asked records nothing.
PY4  Keys are destroyed before stores are purged; the erasure is complete when every store that exists has answered.
PY5  Anonymising destroys what identifies the person but keeps the evidence of consent; erasing destroys that too.
PY6  A request is answered within the time its law gives, or within the longer one where the delay was told with its reason: a month and
     three (GDPR Article 12(3)), 45 days and 90 (CCPA 1798.130), 30 days and 60 (PIPEDA 8); an opt-out of sale under the CCPA within 15
     working days (11 CCR 7026), and no later.
PY7  Nothing of this holds a personal value but the reason of a hold, which is sealed under its own class.
PY8  Nothing is recorded when nothing changes.
PY9  What an erasure waits for is recorded with the reason, once for each reason, and is over when the store has answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Literal, NewType, assert_never
from uuid import UUID

from domain.kernel import NotFound, Personal, Refused, Stream, event

RequestId = NewType("RequestId", UUID)
HoldId = NewType("HoldId", UUID)

Kind = Literal["erase", "anonymise", "export", "access", "restrict", "object", "opt_out_of_sale"]
"""What is asked: `erase` and `anonymise` are carried out here; the others are answered by people, and counted with their deadlines."""

Ground = Literal["gdpr", "uk-gdpr", "ccpa", "pipeda", "other"]
Left = Literal["unreadable"]
DESTRUCTIVE = frozenset({"erase", "anonymise"})


@dataclass(frozen=True, slots=True)
class Span:
    """So long after a request was received: months, days, or days that are no Saturday or Sunday."""

    months: int = 0
    days: int = 0
    working_days: int = 0


SPANS: Mapping[Ground, tuple[Span, Span]] = {
    "gdpr": (Span(months=1), Span(months=3)),
    "uk-gdpr": (Span(months=1), Span(months=3)),
    "ccpa": (Span(days=45), Span(days=90)),
    "pipeda": (Span(days=30), Span(days=60)),
    "other": (Span(months=1), Span(months=3)),
}
"""The time to answer by the law a request rests on, and the time when it was extended."""
OPT_OUT_OF_SALE = Span(working_days=15)
HELD = Personal(purpose="statutory")

# --- events


@event("privacy.HoldPlaced.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlaced:
    hold: HoldId
    reason: Annotated[str | None, HELD] = None


@event("privacy.HoldLifted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLifted:
    hold: HoldId
    reason: Annotated[str | None, HELD] = None


@event("privacy.Requested.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """`received_at` is when the person asked; `due_by` when the answer is due. `suppress` keeps the keyed digests of the addresses, so that
    nobody is imported again."""

    request: RequestId
    kind: Kind
    ground: Ground
    received_at: datetime
    due_by: datetime
    suppress: bool = True


@event("privacy.Extended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Extended:
    request: RequestId
    due_by: datetime
    because: str


@event("privacy.Refused.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused:
    """`because` is one of: legal_hold, legal_obligation, identity_not_verified, manifestly_unfounded, withdrawn_by_person."""

    request: RequestId
    because: str
    holds: tuple[HoldId, ...] = ()


@event("privacy.Approved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    request: RequestId


@event("privacy.Answered.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request that people carry out was answered."""

    request: RequestId


@event("privacy.KeysDestroyed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class KeysDestroyed:
    """`subjects` are the ids whose data keys are gone: the contact's, those merged into it, and its documents'."""

    request: RequestId
    keys: int
    subjects: tuple[UUID, ...]


@event("privacy.Purged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """A store has let go of what it held; `things` counts what that was. `left` says what becomes of what can't be taken out of it:
    `unreadable` is sealed under keys that are destroyed."""

    request: RequestId
    store: str
    things: int
    left: Left | None = None


@event("privacy.StoreAwaited.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAwaited:
    """A store did not answer, so the erasure waits for it; it is asked again until it does. `because` names what is away, and no value."""

    request: RequestId
    store: str
    because: str


@event("privacy.Completed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """`certificate` is the signed note that says so, free of personal data."""

    request: RequestId
    certificate: str


Event = (
    HoldPlaced
    | HoldLifted
    | Requested
    | Extended
    | RequestRefused
    | Approved
    | Answered
    | KeysDestroyed
    | Purged
    | StoreAwaited
    | Completed
)

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    id: RequestId
    kind: Kind
    ground: Ground
    received_at: datetime
    due_by: datetime
    suppress: bool
    status: Literal["open", "refused", "approved", "keys_destroyed", "completed"] = "open"
    extended: bool = False
    subjects: tuple[UUID, ...] = ()
    purged: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    awaited: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    holds: Mapping[HoldId, bool] = field(default_factory=dict)
    requests: Mapping[RequestId, Request] = field(default_factory=dict)

    @property
    def held(self) -> tuple[HoldId, ...]:
        """The holds that stand."""
        return tuple(h for h, stands in self.holds.items() if stands)

    @property
    def erased(self) -> bool:
        """Whether what identifies the person is being destroyed, or is gone."""
        return any(
            r.kind in DESTRUCTIVE and r.status in {"approved", "keys_destroyed", "completed"} for r in self.requests.values()
        )


# --- refusals


class UnderLegalHold(Refused):
    """A legal hold keeps this person's data from being erased. Lift the holds that are named first, or refuse the request."""


class NoSuchRequest(NotFound):
    """This person has made no such request. Look at the list of requests."""


class NoSuchHold(NotFound):
    """There is no such hold on this person's data. Look at the list of holds."""


class RequestIsClosed(Refused):
    """The request was refused, approved or answered already, and is not decided twice."""


class NotApproved(Refused):
    """Nothing is destroyed before the request is approved."""


class KeysFirst(Refused):
    """Keys are destroyed before stores are purged: what a store gets back meanwhile can't be read then."""


class StoresLeft(Refused):
    """Not every store has answered yet, so the erasure is not complete."""


class ByPeople(Refused):
    """This kind of request is carried out by people: answer the person, then say so with `:answer`."""


class ByTheSystem(Refused):
    """An erasure is carried out by the system once it is approved; it is not answered by hand."""


class CannotBeExtended(Refused):
    """An opt-out of sale under the CCPA is obeyed within 15 working days: the law gives no more time."""


class AlreadyExtended(Refused):
    """The time to answer was extended once, and it is not extended again."""


# --- decisions


def place_hold(privacy: Privacy, *, hold: HoldId, reason: str) -> list[Event]:
    return [] if privacy.holds.get(hold) else [HoldPlaced(hold=hold, reason=reason)]


def lift_hold(privacy: Privacy, *, hold: HoldId, reason: str) -> list[Event]:
    if hold not in privacy.holds:
        raise NoSuchHold(hold=str(hold))
    return [HoldLifted(hold=hold, reason=reason)] if privacy.holds[hold] else []


def open_request(privacy: Privacy, kind: Kind) -> Request | None:
    """The request of this kind that waits for an answer."""
    return next((r for r in privacy.requests.values() if r.kind == kind and r.status == "open"), None)


def time_to_answer(kind: Kind, ground: Ground, *, extended: bool = False) -> Span:
    """How long the law gives. CannotBeExtended where it gives no more."""
    if kind == "opt_out_of_sale" and ground == "ccpa":
        if extended:
            raise CannotBeExtended
        return OPT_OUT_OF_SALE
    return SPANS[ground][extended]


def request(
    privacy: Privacy, *, id: RequestId, kind: Kind, ground: Ground, received_at: datetime, due_by: datetime, suppress: bool
) -> list[Event]:
    if open_request(privacy, kind) is not None:
        return []
    return [Requested(request=id, kind=kind, ground=ground, received_at=received_at, due_by=due_by, suppress=suppress)]


def extend(privacy: Privacy, *, id: RequestId, due_by: datetime, because: str) -> list[Event]:
    asked = _open(privacy, id)
    if asked.extended:
        raise AlreadyExtended
    return [Extended(request=id, due_by=due_by, because=because)]


def refuse(privacy: Privacy, *, id: RequestId, because: str) -> list[Event]:
    _open(privacy, id)
    return [RequestRefused(request=id, because=because, holds=privacy.held if because == "legal_hold" else ())]


def approve(privacy: Privacy, *, id: RequestId) -> list[Event]:
    asked = _open(privacy, id)
    if asked.kind not in DESTRUCTIVE:
        raise ByPeople
    if privacy.held:
        raise UnderLegalHold(holds=[str(h) for h in privacy.held])
    return [Approved(request=id)]


def answer(privacy: Privacy, *, id: RequestId) -> list[Event]:
    if _open(privacy, id).kind in DESTRUCTIVE:
        raise ByTheSystem
    return [Answered(request=id)]


def destroyed(privacy: Privacy, *, id: RequestId, keys: int, subjects: Sequence[UUID]) -> list[Event]:
    asked = known(privacy, id)
    if asked.status in {"open", "refused"}:
        raise NotApproved
    return [KeysDestroyed(request=id, keys=keys, subjects=tuple(subjects))] if asked.status == "approved" else []


def purged(privacy: Privacy, *, id: RequestId, store: str, things: int, left: Left | None = None) -> list[Event]:
    asked = known(privacy, id)
    if asked.status not in {"keys_destroyed", "completed"}:
        raise KeysFirst
    return [] if store in asked.purged else [Purged(request=id, store=store, things=things, left=left)]


def await_store(privacy: Privacy, *, id: RequestId, store: str, because: str) -> list[Event]:
    asked = known(privacy, id)
    if asked.status != "keys_destroyed" or store in asked.purged or asked.awaited.get(store) == because:
        return []
    return [StoreAwaited(request=id, store=store, because=because)]


def complete(privacy: Privacy, *, id: RequestId, stores: Sequence[str], certificate: str) -> list[Event]:
    asked = known(privacy, id)
    if asked.status == "completed":
        return []
    left = sorted(set(stores) - set(asked.purged))
    if asked.status != "keys_destroyed" or left:
        raise StoresLeft(stores=left)
    return [Completed(request=id, certificate=certificate)]


def known(privacy: Privacy, id: RequestId) -> Request:
    """The request of this id, which there must be."""
    if id not in privacy.requests:
        raise NoSuchRequest(request=str(id))
    return privacy.requests[id]


def _open(privacy: Privacy, id: RequestId) -> Request:
    asked = known(privacy, id)
    if asked.status != "open":
        raise RequestIsClosed(status=asked.status)
    return asked


# --- evolve


def evolve(privacy: Privacy, e: Event) -> Privacy:
    match e:
        case HoldPlaced():
            return replace(privacy, holds={**privacy.holds, e.hold: True})
        case HoldLifted():
            return replace(privacy, holds={**privacy.holds, e.hold: False})
        case Requested():
            asked = Request(
                id=e.request,
                kind=e.kind,
                ground=e.ground,
                received_at=e.received_at,
                due_by=e.due_by,
                suppress=e.suppress,
            )
            return replace(privacy, requests={**privacy.requests, e.request: asked})
        case Extended():
            return _with(privacy, e.request, due_by=e.due_by, extended=True)
        case RequestRefused():
            return _with(privacy, e.request, status="refused")
        case Approved():
            return _with(privacy, e.request, status="approved")
        case Answered():
            return _with(privacy, e.request, status="completed")
        case KeysDestroyed():
            return _with(privacy, e.request, status="keys_destroyed", subjects=e.subjects)
        case Purged():
            asked_then = privacy.requests.get(e.request)
            if asked_then is None:
                return privacy
            return _with(
                privacy,
                e.request,
                purged={**asked_then.purged, e.store: e.things},
                unreadable=(*asked_then.unreadable, e.store) if e.left == "unreadable" else asked_then.unreadable,
                awaited={s: why for s, why in asked_then.awaited.items() if s != e.store},
            )
        case StoreAwaited():
            waiting = privacy.requests.get(e.request)
            return privacy if waiting is None else _with(privacy, e.request, awaited={**waiting.awaited, e.store: e.because})
        case Completed():
            return _with(privacy, e.request, status="completed")
        case _:
            assert_never(e)


def _with(privacy: Privacy, id: RequestId, **changes: object) -> Privacy:
    asked = privacy.requests.get(id)
    if asked is None:
        return privacy
    return replace(privacy, requests={**privacy.requests, id: replace(asked, **changes)})  # type: ignore[arg-type]


PRIVACY = Stream("privacy", Privacy(), evolve)
