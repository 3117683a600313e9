"""Sendings: a decision that was used to send something, recorded with what it rested on.

SE1  A sending names whom it went to and whom it did not, each with the event of their chain that decided it.
SE2  It is decided on the record as it stands when it is recorded, not on a view of it.
SE3  Nobody is in it twice, and nobody is sent to whom the decision refuses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

from domain.kernel import Invalid, Stream, event

MOST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """`decided_by` is the record id of the event that decided, `seq` its number in the contact's chain."""

    contact: UUID
    decided_by: UUID | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    contact: UUID
    reasons: tuple[str, ...]
    decided_by: UUID | None = None
    seq: int | None = None


@event("sendings.Decided.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class SendingDecided:
    """`message` is the sender's own reference to what was sent."""

    purpose: str
    channel: str
    message: str | None = None
    allowed: tuple[Allowed, ...] = ()
    withheld: tuple[Withheld, ...] = ()


Event = SendingDecided


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    decided: bool = False


class NamedTwice(Invalid):
    """A contact is named twice. Nobody is sent the same message twice by one sending."""


def decide(
    sending: Sending,
    *,
    purpose: str,
    channel: str,
    message: str | None,
    allowed: Iterable[Allowed],
    withheld: Iterable[Withheld],
) -> list[Event]:
    if sending.decided:
        return []
    yes, no = tuple(allowed), tuple(withheld)
    ids = [a.contact for a in yes] + [w.contact for w in no]
    if len(set(ids)) != len(ids):
        raise NamedTwice
    return [SendingDecided(purpose=purpose, channel=channel, message=message, allowed=yes, withheld=no)]


def evolve(_sending: Sending, e: Event) -> Sending:
    match e:
        case SendingDecided():
            return Sending(decided=True)
        case _:
            assert_never(e)


SENDING = Stream("sending", Sending(), evolve)
