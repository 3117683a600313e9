"""Carrying out commands: load, decide, make the stored form, append; decide again when another writer was faster.

X1  A command with a caller's id has one effect: the second time its first answer comes back, whatever the rules say by now. What
    the rules let pass the appender compares with what it wrote; what they refuse is looked up before the refusal is told.
X2  Everything a command has read is checked when it is appended, so its decision stands on what was true at that moment.
X3  A refusal that rests on remembered state is decided once more on state read from the database.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import orjson
import psycopg

from commands.kernel import COMMANDS, Actor, Command, CommandSpec, Entity, Made, Outside, Work
from domain.kernel import FirmId, Refused, Stream
from infra import ids
from infra.record import codec
from infra.record.appender import Append, Appender, CommandIdReused, Conflict
from infra.record.encoding import envelope
from infra.record.loading import Loading
from infra.record.vault import SELECT_SUBJECTS, DataKey, NewKey, Vault, body_mac, seal

ATTEMPTS = 8
STATES = 10_000
STATE_SECONDS = 60.0
SOURCES = 10_000


class TooContended(Exception):
    """Other writers kept changing the same record. Nothing was written; try again."""


class Connections(Protocol):
    """Where read connections come from."""

    def connection(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told: `body` is what the command answered; `shown_once` is never stored."""

    position: int
    body: Mapping[str, Any]
    replayed: bool
    shown_once: Mapping[str, str]


class Memory:
    """States of streams that were lately read or written, so that the next command need not read them."""

    def __init__(self, size: int = STATES) -> None:
        self._size = size
        self._states: OrderedDict[tuple[int, str, int], tuple[float, Any, int, str | None]] = OrderedDict()

    def get(self, firm: UUID, stream: Stream[Any, Any], id: UUID) -> Entity[Any, Any] | None:
        found = self._states.get((firm.int, stream.type, id.int))  # hashed by C
        if found is None or found[0] < monotonic():
            return None
        return Entity(stream, id, found[1], found[2], found[3])

    def put(self, firm: UUID, entity: Entity[Any, Any]) -> None:
        states = self._states
        key = (firm.int, entity.stream.type, entity.id.int)
        now = monotonic()
        newer = states.get(key)
        if newer is not None and newer[2] > entity.version and newer[0] >= now:
            return  # a command that began later was written before this was read
        states[key] = (now + STATE_SECONDS, entity.state, entity.version, entity.leaf_hash)
        states.move_to_end(key)
        while states and (len(states) > self._size or next(iter(states.values()))[0] < now):
            states.popitem(last=False)  # the oldest stand in front: personal values do not outlive their minute here

    def drop(self, firm: UUID, type: str, id: UUID) -> None:
        self._states.pop((firm.int, type, id.int), None)

    def clear(self) -> None:
        """Forget all; from any thread."""
        self._states = OrderedDict()


class Making:
    """Builds the stored form of events; what is the same for loops, threads and imports."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._sources: dict[UUID, str] = {}

    def _source(self, firm: UUID) -> str:
        source = self._sources.get(firm)
        if source is None:
            if len(self._sources) >= SOURCES:
                self._sources.clear()
            source = self._sources[firm] = f"/firms/{firm}"
        return source

    def new_id(self) -> UUID:
        return ids.uuid7()

    def new_secret(self) -> str:
        return ids.secret()

    def derive_id(self, firm: FirmId, *parts: str) -> UUID:
        return self._vault.derive_id(firm, *parts)

    def make(self, work: Work, entity: Entity[Any, Any], event: Any, occurred_at: datetime) -> Made:
        """The leaf and the disclosures of one event."""
        event_codec = codec.CODECS.of(event)
        data, disclosures = event_codec.encode(event, entity.id)
        event_id = ids.uuid7()
        version = entity.version + 1
        recorded = codec.timestamp(work.now)
        leaf = envelope(
            data=data,
            name=event_codec.name,
            event_id=event_id,
            stream_type=entity.stream.type,
            stream_id=ids.text(entity.id),
            version=version,
            actor=str(work.actor),
            command_id=work.command_id,
            source=self._source(work.firm),
            recorded=recorded,
            occurred=recorded if occurred_at is work.now else codec.timestamp(occurred_at),
            correlation_id=work.correlation_id,
            causation_id=work.causation_id,
            origin=work.origin,
        )
        return Made(
            stream_type=entity.stream.type,
            stream_id=entity.id,
            stream_version=version,
            event_id=event_id,
            type=event_codec.name,
            occurred_at=occurred_at,
            public=leaf,
            disclosures=tuple(disclosures),
            leaf_hash=codec.leaf_hash(leaf),
        )


About = tuple[UUID, str]


def keys_of(vault: Vault, work: Work) -> tuple[dict[About, DataKey], set[UUID]]:
    """The data keys in memory for what the events disclose, and the subjects whose keys may exist in the database only.

    A stream begun by this command has no key yet.
    """
    known: dict[About, DataKey] = {}
    wanted: set[UUID] = set()
    for m in work.made:
        for d in m.disclosures:
            if not isinstance(d, codec.Disclosure):
                raise TypeError(type(d).__name__)
            about = (d.subject, d.purpose)
            if about not in known:
                key = vault.known(work.firm, *about)
                if key is not None:
                    known[about] = key
                elif not any(begun.stream_version == 1 and begun.stream_id == d.subject for begun in work.made):
                    wanted.add(d.subject)
    return known, wanted


def seal_at_once(vault: Vault, firm: UUID, made: list[Made]) -> list[bytes | None] | None:
    """Seal every event's disclosures with data keys in memory; None when one is not there."""
    sealed: list[bytes | None] = []
    for m in made:
        items = []
        for d in m.disclosures:
            if not isinstance(d, codec.Disclosure):
                raise TypeError(type(d).__name__)
            key = vault.known(firm, d.subject, d.purpose)
            if key is None:
                return None
            items.append((key, d))
        sealed.append(seal(firm.bytes + m.stream_id.bytes + m.event_id.bytes, items) if items else None)
    return sealed


def seal_all(
    vault: Vault, firm: UUID, made: list[Made], keys: Mapping[About, DataKey]
) -> tuple[list[bytes | None], dict[About, tuple[DataKey, NewKey]]]:
    """Seal every event's disclosures, making the data keys that do not exist yet."""
    fresh: dict[About, tuple[DataKey, NewKey]] = {}
    sealed: list[bytes | None] = []
    for m in made:
        if not m.disclosures:
            sealed.append(None)
            continue
        items = []
        for d in m.disclosures:
            if not isinstance(d, codec.Disclosure):
                raise TypeError(type(d).__name__)
            about = (d.subject, d.purpose)
            key = keys.get(about)
            if key is None:
                if about not in fresh:
                    fresh[about] = vault.create(firm, *about)
                key = fresh[about][0]
            items.append((key, d))
        sealed.append(vault.seal(m.stream_id, m.event_id, firm, items))
    return sealed, fresh


def read_versions(work: Work) -> dict[tuple[str, UUID], int]:
    """The version at which each stream was read, 0 when it was empty."""
    if len(work.entities) == 1:
        ((key, e),) = work.entities.items()
        return {key: e.version - len(work.made)}
    expected = {key: e.version for key, e in work.entities.items()}
    for m in work.made:
        expected[(m.stream_type, m.stream_id)] -= 1
    return expected


def complete_answer(work: Work, body: dict[str, Any]) -> None:
    """Add the target's id and version and the events' ids to what the handler answered."""
    wanted = work.target or body.get("id")
    target = None
    for e in work.entities.values():
        if e.id is wanted or e.id == wanted:
            target = e
            break
    if target is None and "id" in body:
        target = next((e for e in work.entities.values() if str(e.id) == body["id"]), None)
    if target is not None:
        body.setdefault("id", ids.text(target.id))
        body["version"] = target.version
    body["events"] = [{"id": ids.text(m.event_id), "type": m.type} for m in work.made]


class Executor(Making):
    """Carries out commands on an event loop, with a pool of read connections and the process's appender."""

    def __init__(
        self, connections: Connections, appender: Appender, vault: Vault, ports: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(vault)
        self._connections = connections
        self._appender = appender
        self._memory = Memory()
        vault.when_forgetting(self._memory.clear)
        self._loading: dict[asyncio.AbstractEventLoop, Loading] = {}
        for name, port in (ports or {}).items():
            setattr(self, name, port)

    # --- what a command needs from outside

    async def load(self, firm: FirmId, stream: Stream[Any, Any], id: UUID) -> Entity[Any, Any]:
        remembered = self._memory.get(firm, stream, id)
        return remembered if remembered is not None else await self._read(firm, stream, id)

    async def _read(self, firm: FirmId, stream: Stream[Any, Any], id: UUID) -> Entity[Any, Any]:
        """The entity as the database says. Of a remembered stream only what came since is read: another command on it was faster, and
        to read hundreds of events again for that would make a busy stream slower with each event."""
        remembered = self._memory.get(firm, stream, id)
        if remembered is not None and not remembered.version:
            remembered = None
        entity = await self._load(firm, stream, id, remembered)
        if entity is None:  # the database lost what is remembered: it was restored
            self._memory.drop(firm, stream.type, id)
            entity = await self._load(firm, stream, id, None)
        if entity is None:
            raise psycopg.OperationalError("the stream was not read")
        if entity.version:
            self._memory.put(firm, entity)
        return entity

    async def _load(
        self, firm: FirmId, stream: Stream[Any, Any], id: UUID, known: Entity[Any, Any] | None
    ) -> Entity[Any, Any] | None:
        loading = self._loading_here()
        try:
            return await loading.load(firm, stream, id, known)
        except psycopg.OperationalError:  # a server that was started anew is asked once more
            return await loading.load(firm, stream, id, known)

    def _loading_here(self) -> Loading:
        loop = asyncio.get_running_loop()
        loading = self._loading.get(loop)
        if loading is None:
            loading = self._loading[loop] = Loading(self._appender.database, self._vault, loop)
            self._appender.close_too(loop, loading.close)
        return loading

    def unremembered(self) -> Outside:
        """The outside of a command that is only thought through: states come from the database."""
        return _Fresh(self)

    # --- carrying out

    def command_id(self, firm: UUID, idempotency_key: str | None) -> UUID:
        """The command's id: a caller's UUID as it is, any other key as a keyed function of it, a fresh one when there is none."""
        if idempotency_key is None:
            return ids.uuid7()
        try:
            return ids.parse(idempotency_key)
        except ValueError:
            return self._vault.derive_id(firm, "command", idempotency_key)

    async def execute(
        self,
        command: Command,
        *,
        firm: FirmId,
        actor: Actor,
        permissions: frozenset[str] = frozenset(),
        idempotency_key: str | None = None,
        target: UUID | None = None,
        expected_version: int | None = None,
        correlation_id: str | None = None,
        origin: str | None = None,
        occurred_at: datetime | None = None,
        spec: CommandSpec | None = None,
    ) -> Answer:
        """Carry out one command and answer once it is durable.

        Raises `Refused` when a rule says no; `CommandIdReused`, `Busy`, `Unavailable`, `OutcomeUnknown` or `TooContended` when it
        could not be written.
        """
        spec = spec or spec_of(command)
        command_id = self.command_id(firm, idempotency_key)
        mac = b""  # a fresh id can't come twice
        if idempotency_key is not None:
            said = "\x00".join((spec.name, str(actor), "None" if target is None else ids.text(target), command.model_dump_json()))
            mac = body_mac(self._vault, firm, said.encode())
        for attempt in range(ATTEMPTS):
            outside = self if attempt == 0 else _Fresh(self)
            work = Work(
                outside=outside,
                firm=firm,
                actor=actor,
                now=now(),
                command_id=ids.text(command_id),
                permissions=permissions,
                correlation_id=correlation_id,
                origin=origin,
                target=target,
                target_type=spec.target.type if spec.target else None,
                expected_version=expected_version,
                occurred_at=occurred_at,
            )
            try:
                body = dict(await spec.handler(command, work) or {})
            except Refused:
                if attempt == 0:
                    continue  # the state may have been remembered: decide once more on what the database says
                if idempotency_key is not None:
                    known = await self._answered(firm, command_id, mac)
                    if known is not None:
                        return known
                raise
            try:
                return await self._append(work, command_id, mac, body)
            except Conflict:
                if attempt > 1:
                    await asyncio.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311 # nosec B311 - spreads rivals, guards nothing
        raise TooContended

    async def _answered(self, firm: UUID, command_id: UUID, mac: bytes) -> Answer | None:
        async with self._connections.connection() as c:
            cursor = await c.execute(
                "SELECT body_mac, position, answer FROM record.commands WHERE firm_id = %s AND command_id = %s",
                (firm, command_id),
                binary=True,
            )
            row = await cursor.fetchone()
        if row is None:
            return None
        if row[0] != mac:
            raise CommandIdReused
        return Answer(row[1], orjson.loads(row[2]), True, {})

    async def _append(self, work: Work, command_id: UUID, mac: bytes, body: dict[str, Any]) -> Answer:
        fresh: dict[About, tuple[DataKey, NewKey]] = {}
        sealed = seal_at_once(self._vault, work.firm, work.made)
        if sealed is None:
            found, wanted = keys_of(self._vault, work)
            if wanted:
                async with self._connections.connection() as c:
                    cursor = await c.execute(SELECT_SUBJECTS, (work.firm, list(wanted)), binary=True)
                    for row in await cursor.fetchall():
                        found[(row[2], row[3])] = self._vault.unwrap(*row)
            sealed, fresh = seal_all(self._vault, work.firm, work.made, found)
        expected = read_versions(work)
        complete_answer(work, body)
        answer = orjson.dumps(body)
        appended = await self._appender.append(
            Append(
                firm=work.firm,
                command_id=command_id,
                body_mac=mac,
                expected=expected,
                events=work.made,
                sealed=sealed,
                recorded_at=work.now,
                answer=answer,
                keys=[record for _, record in fresh.values()],
            )
        )
        if appended.replayed:
            return Answer(appended.position, orjson.loads(appended.answer), True, {})
        for about, (key, _) in fresh.items():
            self._vault.remember(work.firm, *about, key)
        for e in work.entities.values():
            self._memory.put(work.firm, e)
        return Answer(appended.position, body, False, work.shown_once)


class _Fresh:
    """The executor without its memory: what a second decision looks at."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def load(self, firm: FirmId, stream: Stream[Any, Any], id: UUID) -> Entity[Any, Any]:
        return await self._executor._read(firm, stream, id)  # noqa: SLF001 - one mechanism in two forms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)


_SPECS: dict[type[Command], CommandSpec] = {}


def spec_of(command: Command) -> CommandSpec:
    """The registry's entry for a command's model."""
    spec = _SPECS.get(type(command))
    if spec is None:
        spec = _SPECS[type(command)] = next(s for s in COMMANDS.values() if s.model is type(command))
    return spec


def now() -> datetime:
    return datetime.now(UTC)


FAR = timedelta(days=1)
