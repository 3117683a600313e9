"""How a command is declared and carried out: load, decide, record; the outside appends it wholly or not at all.

A command is a pydantic model and one coroutine. The coroutine loads entities, calls decisions of the domain and records
their events; it never writes. Infra appends what was recorded in one transaction, each stream at the version that was
loaded, and runs the coroutine again when another writer was faster.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from domain.kernel import FirmId, NotFound, Refused, Stream

State = TypeVar("State")
Event = TypeVar("Event")
C = TypeVar("C", bound="Command")


class Command(BaseModel):
    """What a caller sends. Unknown fields are refused; values are taken as JSON means them, without guessing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Stale(Refused):
    """The record has changed since you read it. Read it again and decide again."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `kind` is member, key, person (the data subject) or system; `id` is theirs."""

    kind: Literal["member", "key", "person", "system"]
    id: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"


@dataclass(slots=True)
class Entity(Generic[State, Event]):
    """One stream as a command sees it. `version` counts its events; `leaf_hash` is the RFC 6962 hash of its last leaf, base64."""

    stream: Stream[State, Event]
    id: UUID
    state: State
    version: int = 0
    leaf_hash: str | None = None


class Made(NamedTuple):
    """An event in its stored form, before it has a position. Built by infra; opaque to commands."""

    stream_type: str
    stream_id: UUID
    stream_version: int
    event_id: UUID
    type: str
    occurred_at: datetime
    public: bytes
    disclosures: tuple[object, ...]
    leaf_hash: str


class Outside(Protocol):
    """What infra supplies to a command."""

    async def load(self, firm: FirmId, stream: Stream[State, Event], id: UUID) -> Entity[State, Event]: ...

    def make(self, work: "Work", entity: Entity[Any, Any], event: Any, occurred_at: datetime) -> Made: ...

    def new_id(self) -> UUID: ...

    def derive_id(self, firm: FirmId, *parts: str) -> UUID: ...

    def new_secret(self) -> str: ...


@dataclass(slots=True, kw_only=True)
class Work:
    """One command being carried out in one firm, by one actor, at one instant."""

    outside: Outside
    firm: FirmId
    actor: Actor
    now: datetime
    command_id: str
    permissions: frozenset[str] = frozenset()
    correlation_id: str | None = None
    causation_id: str | None = None
    origin: str | None = None
    target: UUID | None = None
    target_type: str | None = None
    expected_version: int | None = None
    occurred_at: datetime | None = None
    shown_once: dict[str, str] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    entities: dict[tuple[str, UUID], Entity[Any, Any]] = field(default_factory=dict)

    def new_id(self) -> UUID:
        """A fresh UUIDv7."""
        return self.outside.new_id()

    def derive_id(self, *parts: str) -> UUID:
        """The same UUIDv8 for the same parts in this firm: keyed, so that it tells nothing of the parts."""
        return self.outside.derive_id(self.firm, *parts)

    def new_secret(self) -> str:
        """A fresh secret of at least 160 bits, letters and digits. Put what the caller must see into `shown_once`: it is never stored."""
        return self.outside.new_secret()

    async def find(self, stream: Stream[State, Event], id: UUID) -> Entity[State, Event]:
        """The entity as it stands; `version` 0 when nothing was ever recorded."""
        known = self.entities.get((stream.type, id))
        if known is not None:
            return known
        entity = await self.outside.load(self.firm, stream, id)
        is_target = (stream.type, id) == (self.target_type, self.target)
        if self.expected_version is not None and is_target and entity.version != self.expected_version:
            raise Stale(version=entity.version, expected=self.expected_version)
        self.entities[(stream.type, id)] = entity
        return entity

    async def load(self, stream: Stream[State, Event], id: UUID) -> Entity[State, Event]:
        """The entity, which must exist in this firm."""
        entity = await self.find(stream, id)
        if entity.version == 0:
            raise NotFound(kind=stream.type, id=str(id))
        return entity

    def create(self, stream: Stream[State, Event], id: UUID) -> Entity[State, Event]:
        """A new entity under a fresh id, without asking the store."""
        entity = Entity(stream, id, stream.initial)
        self.entities[(stream.type, id)] = entity
        return entity

    def record(self, entity: Entity[State, Event], events: Iterable[Event], *, occurred_at: datetime | None = None) -> None:
        """Add events to what this command will append. `occurred_at` is the business time; now when not given."""
        for e in events:
            made = self.outside.make(self, entity, e, occurred_at or self.occurred_at or self.now)
            self.made.append(made)
            entity.state = entity.stream.evolve(entity.state, e)
            entity.version += 1
            entity.leaf_hash = made.leaf_hash


Answer = Mapping[str, object] | None
Handler = Callable[[Any, Work], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """One entry of the registry: everything HTTP, the CLI and the documentation need to know of a command."""

    name: str
    model: type[Command]
    handler: Handler
    method: str
    path: str
    permission: str
    title: str
    description: str
    target: Stream[Any, Any] | None
    undoable: bool
    creates: bool


COMMANDS: dict[str, CommandSpec] = {}


def command(
    name: str,
    route: str,
    *,
    permission: str,
    title: str,
    target: Stream[Any, Any] | None = None,
    undoable: bool = True,
    creates: bool = False,
) -> Callable[[Callable[[C, Work], Awaitable[Answer]]], Callable[[C, Work], Awaitable[Answer]]]:
    """Declare a command: `@command("deals.move", "POST /deals/{id}:move", permission="deals:write", title="…", target=DEAL)`.

    `route` names the path below /v1. Path parameters are fields of the model; `{id}` is the target's. The handler's answer is
    merged into the response; a handler that creates something answers `{"id": ...}` and is declared with `creates=True`.
    """

    def declare(handler: Callable[[C, Work], Awaitable[Answer]]) -> Callable[[C, Work], Awaitable[Answer]]:
        if name in COMMANDS:
            raise ValueError(f"command declared twice: {name}")
        method, _, path = route.partition(" ")
        model = next(t for p, t in handler.__annotations__.items() if p != "return")
        COMMANDS[name] = CommandSpec(
            name=name,
            model=model,
            handler=handler,
            method=method,
            path=path,
            permission=permission,
            title=title,
            description=" ".join((handler.__doc__ or title).split()),
            target=target,
            undoable=undoable,
            creates=creates,
        )
        return handler

    return declare
