"""What every context shares: stored names are permanent, personal values are marked, rules refuse by name.

K1  An event's stored name (`deals.Moved.v1`) is declared once and never depends on where its class lives.
K2  A personal field is marked where it is declared, with the subject whose data key seals it.
K3  A refusal is a class; its docstring is the sentence a person reads.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Generic, NewType, TypeVar
from uuid import UUID

T = TypeVar("T")
State = TypeVar("State")
Event = TypeVar("Event")

FirmId = NewType("FirmId", UUID)

EVENTS: dict[str, type] = {}
UPCASTERS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
STREAMS: dict[str, "Stream[Any, Any]"] = {}

_NAME = re.compile(r"[a-z][a-z_]*\.[A-Z][A-Za-z]*\.v[1-9][0-9]*")


class Refused(Exception):
    """A rule of the domain said no; the docstring of the subclass says why.

    Keyword arguments name what the refusal is about (`DependencyCycle(cycle=[...])`); they travel to the caller as members of the
    problem document and must never hold a personal value.
    """

    def __init__(self, **about: object) -> None:
        super().__init__(type(self).__name__)
        self.about: Mapping[str, object] = about

    @property
    def why(self) -> str:
        """The reason as a person reads it."""
        return " ".join((type(self).__doc__ or type(self).__name__).split())


class Invalid(Refused):
    """The value is not acceptable, whatever the state."""


class NotFound(Refused):
    """There is no such thing here, or it is not yours to see."""


@dataclass(frozen=True, slots=True)
class Personal:
    """Marks a field as personal: its value is sealed and the public record holds a salted digest.

    `subject` names the field of the same event that holds the person's id; empty means the stream's own id.
    `purpose` is the class of purpose, so that one class can be shredded while another is kept: `relationship` (the default),
    `marketing`, `statutory`.
    """

    subject: str = ""
    purpose: str = "relationship"


def event(name: str) -> Callable[[type[T]], type[T]]:
    """Declare a stored fact. The name is on the record for ever; the class may move."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not an event name: {name!r}; expected context.PastParticiple.vN")

    def declare(cls: type[T]) -> type[T]:
        if name in EVENTS:
            raise ValueError(f"event name used twice: {name}")
        if not is_dataclass(cls):
            raise TypeError(f"{cls.__name__}: put @event above @dataclass(frozen=True, slots=True, kw_only=True)")
        EVENTS[name] = cls
        return cls

    return declare


def upcast(
    old: str, new: str
) -> Callable[[Callable[[dict[str, Any]], dict[str, Any]]], Callable[[dict[str, Any]], dict[str, Any]]]:
    """Declare how the decoded data of a retired event version becomes the data of its successor."""

    def declare(f: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        if old in UPCASTERS:
            raise ValueError(f"upcaster declared twice: {old}")
        UPCASTERS[old] = (new, f)
        return f

    return declare


class Stream(Generic[State, Event]):
    """A kind of stream: its stored type, the state before its first event, and how one event changes the state."""

    __slots__ = ("evolve", "initial", "type")

    def __init__(self, type: str, initial: State, evolve: Callable[[State, Event], State]) -> None:
        if type in STREAMS:
            raise ValueError(f"stream type used twice: {type}")
        self.type = type
        self.initial = initial
        self.evolve = evolve
        STREAMS[type] = self


def fold(state: State, evolve: Callable[[State, Event], State], events: Iterable[Event]) -> State:
    for e in events:
        state = evolve(state, e)
    return state
