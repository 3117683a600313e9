"""Reading streams into states on an event loop: what is asked in one turn goes to the server together, keys with events.

A stream's events and the data keys of its subject come in one round trip, on one connection of the loop's own; psycopg's pool and
cursors would cost more than the server. Keys of other subjects, where an event discloses some, are asked for in a second one.
When the connection fails, whoever asked is told so (`psycopg.Error`), and the next to ask gets a new one.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.pq.abc import PGresult

from commands.kernel import Entity
from domain.kernel import Stream
from infra.database import Database
from infra.record import codec, wire
from infra.record.conversing import Conversing
from infra.record.vault import Vault, open_all, sealed_items

TOGETHER = 32  # streams that are asked for in one pipeline

_STREAM = wire.Statement(
    b"load stream",
    b"SELECT stream_version, event_id, type, public, sealed FROM record.events"
    b" WHERE firm_id = $1 AND stream_id = $2 AND stream_type = $3 AND stream_version >= $4 ORDER BY stream_version",
    (wire.UUID, wire.UUID, wire.TEXT, wire.INT8),
)
_SUBJECT = wire.Statement(
    b"load subject",
    b"SELECT firm_id, key_id, subject_id, purpose, epoch, wrapped FROM vault.data_keys WHERE firm_id = $1 AND subject_id = $2",
    (wire.UUID, wire.UUID),
)
_KEYS = wire.Statement(
    b"load keys",
    b"SELECT k.firm_id, k.key_id, k.subject_id, k.purpose, k.epoch, k.wrapped FROM unnest($2) u(k),"
    b" LATERAL (SELECT * FROM vault.data_keys d WHERE d.firm_id = $1 AND d.key_id = u.k OFFSET 0) k",
    (wire.UUID, wire.UUIDS),
)

Rows = list[tuple[int, bytes, str, bytes, list[tuple[str, bytes]]]]  # version, event id, type, leaf, sealed items
Ciphers = dict[str, AESGCM | None]  # by key id in hex; None where the key was destroyed


@dataclass(slots=True)
class _Wanted:
    firm: UUID
    stream: Stream[Any, Any]
    id: UUID
    future: "asyncio.Future[Entity[Any, Any] | None]"
    known: Entity[Any, Any] | None = None
    rows: Rows = field(default_factory=list)
    ciphers: Ciphers = field(default_factory=dict)


class Loading(Conversing):
    """Loads entities for the coroutines of one loop."""

    def __init__(self, database: Database, vault: Vault, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._database = database
        self._vault = vault
        self._waiting: deque[_Wanted] = deque()
        self._asked: list[_Wanted] = []
        self._opening: asyncio.Task[None] | None = None
        self._due = False

    def load(
        self, firm: UUID, stream: Stream[Any, Any], id: UUID, known: Entity[Any, Any] | None = None
    ) -> "asyncio.Future[Entity[Any, Any] | None]":
        """The entity as the database says; version 0 when nothing was ever recorded.

        With a `known` state only what follows it is read; None when the database does not have the event it ends with.
        """
        future: asyncio.Future[Entity[Any, Any] | None] = self._loop.create_future()
        self._waiting.append(_Wanted(firm, stream, id, future, known))
        if not self._due and self._talk is None and self._opening is None:
            self._due = True
            self._loop.call_soon(self._begin)
        return future

    def _begin(self) -> None:
        self._due = False
        while self._waiting and len(self._asked) < TOGETHER:
            wanted = self._waiting.popleft()
            if not wanted.future.done():  # whoever asked may have gone
                self._asked.append(wanted)
        if not self._asked:
            return
        if self._pipe is None:
            self._opening = self._loop.create_task(self._open(), name="loading-open")
        else:
            self._talk = self._loading(self._pipe, self._asked)
            self._go_on()

    async def _open(self) -> None:
        try:
            c = await self._database.connect_async("record")
        except BaseException as e:
            self._opening = None
            self._fail(e if isinstance(e, psycopg.Error) else psycopg.OperationalError("the connection was not opened"))
            if not isinstance(e, psycopg.Error):
                raise
            return
        self._opening = None
        self._talk = self._loading(self._connected(c), self._asked)
        self._go_on()

    def _go_on(self) -> None:
        assert self._talk is not None  # noqa: S101 # nosec B101 - there is a conversation
        try:
            wants = next(self._talk)
        except StopIteration:
            self._talk, self._asked = None, []
            self._watch_room(False)
            self._begin()
        except Exception as e:
            self._drop()
            self._fail(e)
            self._begin()
        else:
            self._watch_room(wants)

    def _fail(self, e: BaseException) -> None:
        asked, self._asked, self._talk = self._asked, [], None
        for wanted in asked:
            if not wanted.future.done():
                wanted.future.set_exception(e)

    def close(self) -> None:
        """Let the connection go; who still waits is told that it is gone."""
        self._drop()
        self._asked += self._waiting
        self._waiting.clear()
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._fail(psycopg.OperationalError("the connection was closed"))

    # --- the conversation

    def _loading(self, pipe: wire.Pipe, asked: Sequence[_Wanted]) -> wire.Talk[None]:
        vault = self._vault
        answers: list[tuple[Callable[..., None], Any]] = []
        for w in asked:
            firm, id = w.firm.bytes, w.id.bytes
            pipe.add(_STREAM, firm, id, w.stream.type.encode(), wire.int8(w.known.version if w.known else 0))
            answers.append((_take_rows, w))
            if vault.known(w.firm, w.id, "relationship") is None:
                pipe.add(_SUBJECT, firm, id)
                answers.append((_take_keys, vault))
        for (take, into), result in zip(answers, (yield from pipe.sending()), strict=True):
            take(result, into)
        missing: dict[UUID, set[str]] = {}
        for w in asked:
            for key in w.ciphers:
                w.ciphers[key] = cipher = vault.cipher(w.firm, UUID(key))
                if cipher is None:
                    missing.setdefault(w.firm, set()).add(key)
        if missing:
            for firm_id, keys in missing.items():
                pipe.add(_KEYS, firm_id.bytes, wire.uuids([bytes.fromhex(key) for key in keys]))
            for result in (yield from pipe.sending()):
                _take_keys(result, vault)
            for w in asked:
                for key, cipher in w.ciphers.items():
                    w.ciphers[key] = cipher or vault.cipher(w.firm, UUID(key))
        for w in asked:
            if not w.future.done():
                try:
                    w.future.set_result(_entity(w))
                except Exception as e:  # an event that can't be read fails those who need it
                    w.future.set_exception(e)


def _take_rows(result: PGresult, w: _Wanted) -> None:
    value, rows, ciphers = result.get_value, w.rows, w.ciphers
    for r in range(result.ntuples):
        sealed = value(r, 4)
        items = [] if sealed is None else sealed_items(sealed)
        for key, _ in items:
            ciphers[key] = None  # until it is looked for
        name = (value(r, 2) or b"").decode()
        rows.append((int.from_bytes(value(r, 0) or b"", "big"), value(r, 1) or b"", name, value(r, 3) or b"", items))


def _take_keys(result: PGresult, vault: Vault) -> None:
    value = result.get_value
    for r in range(result.ntuples):
        firm, key, subject = (UUID(bytes=value(r, n) or b"") for n in range(3))
        vault.unwrap(
            firm, key, subject, (value(r, 3) or b"").decode(), int.from_bytes(value(r, 4) or b"", "big"), value(r, 5) or b""
        )


def _entity(w: _Wanted) -> Entity[Any, Any] | None:
    stream, ciphers, known = w.stream, w.ciphers, w.known
    if known is not None:
        if not w.rows or w.rows[0][0] != known.version or codec.leaf_hash(w.rows[0][3]) != known.leaf_hash:
            return None
        del w.rows[0]
    bound = w.firm.bytes + w.id.bytes
    state, evolve, decode = stream.initial if known is None else known.state, stream.evolve, codec.CODECS.decode
    disclosed: dict[str, Any]
    for _, event_id, name, public, items in w.rows:
        disclosed = open_all(items, bound + event_id, [ciphers[key] for key, _ in items]) if items else {}
        state = evolve(state, decode(name, orjson.loads(public)["data"], disclosed))
    entity = Entity(stream, w.id, state) if known is None else Entity(stream, w.id, state, known.version, known.leaf_hash)
    if w.rows:
        entity.version = w.rows[-1][0]
        entity.leaf_hash = codec.leaf_hash(w.rows[-1][3])
    return entity
