"""The stored form of what an import decided: made here, or promised, and made by a crew of processes beside this one."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from commands.kernel import Actor, Entity, Made, Work
from domain.kernel import EVENTS, STREAMS, FirmId
from infra import ids
from infra.database import Database
from infra.record import codec, wire
from infra.record.bulk.tasks import Doing
from infra.record.crew import Crew, CrewLost, packed, travels
from infra.record.encoding import About, Commanded, Piece, Told, rows_of
from infra.record.execute import Making, seal_all
from infra.record.vault import SELECT_SUBJECTS, DataKey, NewKey, Vault


@dataclass(slots=True)
class Promised:
    """An event whose stored form is made elsewhere; stands where a `Made` does until then."""

    stream_type: str
    stream_id: UUID
    stream_version: int
    event_id: UUID
    type: str
    occurred_at: datetime
    event: Any
    public: bytes = b""
    disclosures: tuple[object, ...] = ()
    leaf_hash: str = ""


def chained() -> frozenset[str]:
    """The contexts whose events carry the leaf hash of the one before."""
    return frozenset(
        name.partition(".")[0] for name, cls in EVENTS.items() if any(f.name == "prev" for f in dataclasses.fields(cls))
    )


class Forming(Making):
    """Gives events their stored form, here or by the crew, with the data keys that seal them (B3)."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        *,
        firm: FirmId,
        actor: Actor,
        origin: str | None,
        correlation_id: str | None,
        helpers: int,
    ) -> None:
        super().__init__(vault)
        self._database = database
        self._firm = firm
        self._actor = actor
        self._origin = origin
        self._correlation_id = correlation_id
        self._helpers = helpers
        self._crew: Crew | None = None
        self._chained = chained() if helpers else frozenset()
        self._names: dict[type, str] = {}
        self._elsewhere = False  # whether the task that is being decided is encoded by the crew
        self._reader: psycopg.Connection[Any] | None = None
        self._unwritten: dict[About, tuple[DataKey, NewKey]] = {}

    def close(self) -> None:
        """Let the crew and the connection go."""
        if self._crew is not None:
            self._crew.close()
        if self._reader is not None:
            self._reader.close()

    def _read_connection(self) -> psycopg.Connection[Any]:
        if self._reader is None or self._reader.closed:
            self._reader = self._database.connect("record")
            wire.register(self._reader)
        return self._reader

    def _helped(self) -> bool:
        """Whether the crew stands ready; it is called with the first question, which takes it a second."""
        if not self._helpers:
            return False
        if self._crew is None:
            self._crew = Crew(self._helpers, "infra.record.encoding:ready")
        return self._crew.standing

    def make(self, work: Work, entity: Entity[Any, Any], event: Any, occurred_at: datetime) -> Made:
        if not self._elsewhere:
            return super().make(work, entity, event, occurred_at)
        name = self._names.get(type(event))
        if name is None:
            name = self._names[type(event)] = codec.CODECS.of(event).name
            travels(type(event))
        if name.partition(".")[0] in self._chained:
            self._elsewhere = False
            self._keep_here(work)
            return super().make(work, entity, event, occurred_at)
        promised: Any = Promised(entity.stream.type, entity.id, entity.version + 1, ids.uuid7(), name, occurred_at, event)
        made: Made = promised
        return made

    def _keep_here(self, work: Work) -> None:
        """Make the stored form of what was promised, in this process after all."""
        made: list[Any] = work.made
        for n, m in enumerate(made):
            if isinstance(m, Promised):
                entity = Entity(STREAMS[m.stream_type], m.stream_id, None, m.stream_version - 1)
                made[n] = super().make(work, entity, m.event, m.occurred_at)

    def _hand_over(self, piece: Sequence[Doing]) -> int:
        """Let the crew encode these; answers their size."""
        vault, firm, unwritten = self._vault, self._firm, self._unwritten
        abouts: dict[Doing, list[About]] = {}
        begun: set[UUID] = set()
        keys: dict[About, DataKey | None] = {}
        commands: list[Commanded] = []
        of = codec.CODECS.of
        for d in piece:
            assert d.work is not None  # noqa: S101 # nosec B101 - it was decided
            now = d.work.now
            told: list[Told] = []
            mine: list[About] = []
            stream_id, stream_bytes = None, b""
            m: Any
            for m in d.work.made:
                assert isinstance(m, Promised)  # noqa: S101 # nosec B101 - or it would be encoded here
                if m.stream_id is not stream_id:
                    stream_id, stream_bytes = m.stream_id, m.stream_id.bytes
                if m.stream_version == 1:
                    begun.add(m.stream_id)
                at = None if m.occurred_at is now else m.occurred_at
                told.append((m.stream_type, stream_bytes, m.stream_version, m.event_id.int.to_bytes(16, "big"), m.event, at))
                mine += [about for about in of(m.event).subjects(m.event, m.stream_id) if not mine or about != mine[-1]]
            commands.append((d.command_id.bytes, now, told))
            abouts[d] = mine
            for about in mine:
                if about not in keys:
                    fresh = unwritten.get(about)
                    keys[about] = fresh[0] if fresh is not None else vault.known(firm, *about)
        wanted = {about[0] for about, key in keys.items() if key is None and about[0] not in begun}
        if wanted:
            for row in self._read_connection().execute(SELECT_SUBJECTS, (firm, list(wanted)), binary=True).fetchall():
                keys[row[2], row[3]] = vault.unwrap(*row)
        travelling: list[tuple[UUID, str, UUID, bytes]] = []
        for about, key in keys.items():
            if key is None:
                fresh = unwritten[about] = vault.create(firm, *about)
                key = fresh[0]
            travelling.append((*about, key.key_id, key.raw))
        for d, mine in abouts.items():
            d.keys += [fresh[1] for about in dict.fromkeys(mine) if (fresh := unwritten.get(about)) is not None]
        asked = packed(Piece(firm.bytes, str(self._actor), self._origin, self._correlation_id, travelling, commands))
        try:
            assert self._crew is not None  # noqa: S101 # nosec B101 - it was standing
            encoding = self._crew.submit(asked)
        except CrewLost:
            for d in piece:
                assert d.work is not None  # noqa: S101 # nosec B101
                self._keep_here(d.work)
            return len(asked)
        for place, d in enumerate(piece):
            d.encoding, d.place = encoding, place
        return len(asked)

    def _seal(self, batch: Sequence[Doing]) -> None:
        """Seal what the batch's events disclose and pack their rows."""
        vault, firm = self._vault, self._firm
        found: dict[About, DataKey] = {}
        wanted: set[UUID] = set()
        begun: set[UUID] = set()
        for d in batch:
            for m in d.work.made if d.work else ():
                if m.stream_version == 1:
                    begun.add(m.stream_id)
                for x in m.disclosures:
                    if isinstance(x, codec.Disclosure):
                        about = (x.subject, x.purpose)
                        if about in self._unwritten:
                            found[about] = self._unwritten[about][0]
                        elif x.subject not in begun:
                            key = vault.known(firm, *about)
                            if key is None:
                                wanted.add(x.subject)
                            else:
                                found[about] = key
        if wanted:
            asked = self._read_connection().execute(SELECT_SUBJECTS, (firm, list(wanted)), binary=True).fetchall()
            for row in asked:
                found[(row[2], row[3])] = vault.unwrap(*row)
        nowhere = wire.event_place(0, firm.bytes, 0)
        rows: list[bytes] = []
        for d in batch:
            work = d.work
            if work is None or not work.made:
                continue
            d.first = len(rows)
            recorded_at = wire.micros(work.now)
            command_id = d.command_id.bytes
            parts, fresh = seal_all(vault, firm, work.made, found)
            for about, (key, record) in fresh.items():
                self._unwritten[about] = key, record
                found[about] = key
                d.keys.append(record)
            for m, sealed in zip(work.made, parts, strict=True):
                rows.append(
                    wire.event_row(
                        nowhere,
                        m.stream_id.bytes,
                        m.stream_version,
                        m.event_id.bytes,
                        recorded_at,
                        wire.micros(m.occurred_at),
                        command_id,
                        m.stream_type.encode(),
                        m.type.encode(),
                        m.public,
                        sealed,
                    )
                )
        packed_rows = rows_of(rows)
        for d in batch:
            d.rows = packed_rows
