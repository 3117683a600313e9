"""A desk to try commands and views at without an engine: the same Work, streams held in memory, views folded at once."""

import hashlib
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

from commands.kernel import COMMANDS, Actor, Command, Entity, Made, Work
from domain.kernel import EVENTS, FirmId, Stream
from infra.blobs import BlobStore
from projections.kernel import Recorded, View
from tests.once import Once

NAMES: dict[type, str] = {}


class Desk:
    blobs: BlobStore  # given by a test whose commands look for contents

    def __init__(self) -> None:
        self.firm = FirmId(uuid4())
        self.now = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
        self.record: list[Recorded] = []
        self._pending: dict[UUID, Any] = {}
        self._commands = itertools.count(1)
        self._once = Once()

    # --- what a command needs from outside

    async def load(self, firm: FirmId, stream: Stream[Any, Any], id: UUID) -> Entity[Any, Any]:
        entity = Entity(stream, id, stream.initial)
        for r in self.record:
            if (r.firm, r.stream_type, r.stream_id) == (firm, stream.type, id):
                entity.state = stream.evolve(entity.state, r.event)
                entity.version = r.version
                entity.leaf_hash = r.event_id.hex
        return entity

    def make(self, _work: Work, entity: Entity[Any, Any], event: Any, occurred_at: datetime) -> Made:
        NAMES.update({cls: name for name, cls in EVENTS.items() if cls not in NAMES})
        event_id = uuid4()
        self._pending[event_id] = event
        return Made(
            stream_type=entity.stream.type,
            stream_id=entity.id,
            stream_version=entity.version + 1,
            event_id=event_id,
            type=NAMES[type(event)],
            occurred_at=occurred_at,
            public=b"",
            disclosures=(),
            leaf_hash=event_id.hex,
        )

    def new_id(self) -> UUID:
        return uuid4()

    def derive_id(self, firm: FirmId, *parts: str) -> UUID:
        return uuid5(firm, hashlib.sha256(repr(parts).encode()).hexdigest())

    def new_secret(self) -> str:
        return uuid4().hex + uuid4().hex

    # --- what a test does

    def pass_time(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    async def do(
        self, command: Command, *, actor: Actor | None = None, permissions: frozenset[str] = frozenset(), **how: Any
    ) -> dict[str, Any]:
        """Carry out one command; the answer holds what the handler answered and the events it recorded."""
        spec = next(s for s in COMMANDS.values() if s.model is type(command))
        work = Work(
            outside=self,
            firm=self.firm,
            actor=actor or Actor("member", str(UUID(int=1))),
            now=self.now,
            command_id=f"c{next(self._commands)}",
            permissions=permissions,
            target_type=spec.target.type if spec.target else None,
            **how,
        )
        answer = await spec.handler(command, work)
        for made in work.made:
            self.record.append(
                Recorded(
                    position=len(self.record) + 1,
                    firm=self.firm,
                    firm_position=len(self.record),
                    stream_type=made.stream_type,
                    stream_id=made.stream_id,
                    version=made.stream_version,
                    event_id=made.event_id,
                    name=made.type,
                    event=self._pending.pop(made.event_id),
                    occurred_at=made.occurred_at,
                    recorded_at=self.now,
                    actor=str(work.actor),
                    origin=work.origin,
                    command_id=work.command_id,
                )
            )
            self._once.hear(self.record[-1])
        return {**(answer or {}), "events": [r.event for r in self.record[len(self.record) - len(work.made) :]]}

    def rows(self, view: View[Any]) -> dict[UUID, Any]:
        """The view's rows after everything recorded so far."""
        rows: dict[UUID, Any] = {}
        for r in self.record:
            for key in view.keys(r):
                after = view.fold(rows.get(key), key, r)
                if after is None:
                    rows.pop(key, None)
                else:
                    rows[key] = after
        return rows
