"""The log of a firm: what its own record says of the tree that is built over it.

LO1  A key signs a log once: one that was replaced never signs it again.
LO2  Seals of heads follow each other in size: a later one never speaks of less.
LO3  A new log names the one it replaces, and how far that one had been signed.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from domain.kernel import Refused, Stream, event

RotationReason = Literal["scheduled", "compromised", "lost"]
RestartReason = Literal["restored", "rewritten"]

# --- events


@event("log.KeyRotated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotated:
    """From the checkpoint on that holds this event, the new key signs; that checkpoint is signed by the old one too, unless it can't be."""

    old_vkey: str
    new_vkey: str
    reason: RotationReason


@event("consent.HeadsSealed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsSealed:
    """The root of the RFC 6962 tree over the lines `tag seq base64(leafhash)`, one for each chain of consent among the first leaves."""

    heads_root: str
    heads_count: int
    as_of_size: int


@event("log.Restarted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class LogRestarted:
    """The old log's history and this record's part somewhere: what was signed of the old one is to be compared with this one."""

    old_origin: str
    new_origin: str
    old_size: int
    old_root: str
    reason: RestartReason


Event = KeyRotated | HeadsSealed | LogRestarted

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    replaced: frozenset[str] = frozenset()
    vkey: str | None = None
    sealed: int = 0
    seals: int = 0
    origin: str | None = None


# --- refusals


class KeyWasReplaced(Refused):
    """This key has been replaced before and does not sign the log again. Make a new one."""


class SealGoesBack(Refused):
    """Heads are sealed as of a larger size already. Seal them as of the log's present size."""


class SameLog(Refused):
    """The new log needs an origin of its own."""


# --- decisions


def rotate(log: Log, *, old_vkey: str, new_vkey: str, reason: RotationReason) -> list[Event]:
    if new_vkey in log.replaced:
        raise KeyWasReplaced(vkey=new_vkey)
    if new_vkey in {old_vkey, log.vkey}:
        return []
    return [KeyRotated(old_vkey=old_vkey, new_vkey=new_vkey, reason=reason)]


def seal(log: Log, *, root: str, count: int, as_of_size: int) -> list[Event]:
    if as_of_size < log.sealed:
        raise SealGoesBack(as_of_size=as_of_size, sealed=log.sealed)
    if as_of_size == log.sealed:
        return []
    return [HeadsSealed(heads_root=root, heads_count=count, as_of_size=as_of_size)]


def restart(log: Log, *, old_origin: str, new_origin: str, old_size: int, old_root: str, reason: RestartReason) -> list[Event]:
    if old_origin == new_origin:
        raise SameLog(origin=new_origin)
    if log.origin == new_origin:
        return []
    return [LogRestarted(old_origin=old_origin, new_origin=new_origin, old_size=old_size, old_root=old_root, reason=reason)]


# --- evolve


def evolve(log: Log, e: Event) -> Log:
    match e:
        case KeyRotated():
            return replace(log, vkey=e.new_vkey, replaced=log.replaced | {e.old_vkey})
        case HeadsSealed():
            return replace(log, sealed=max(log.sealed, e.as_of_size), seals=log.seals + 1)
        case LogRestarted():
            return replace(log, origin=e.new_origin, vkey=None)
        case _:
            assert_never(e)


LOG = Stream("log", Log(), evolve)
