"""The record as an undo looks back on it: what a command recorded, and whole streams."""

from collections.abc import Sequence
from uuid import UUID

import orjson

from commands.undo import Done
from infra.record.execute import Connections
from infra.record.reader import read_stream
from infra.record.vault import Vault
from projections.kernel import Recorded

# a command's events stand side by side, the last at the position it was answered with
_EVENTS = (
    "SELECT stream_type, stream_id, stream_version FROM record.events"
    " WHERE firm_id = %s AND command_id = %s AND position > %s AND position <= %s ORDER BY position"
)


class Past:
    """The port `commands.undo.Past`."""

    def __init__(self, connections: Connections, vault: Vault) -> None:
        self._connections = connections
        self._vault = vault

    async def of_command(self, firm: UUID, command_id: UUID) -> Sequence[Done]:
        """Where a command's events stand, in order; nothing when there is no such command in the firm."""
        async with self._connections.connection() as c:
            cursor = await c.execute(
                "SELECT position, answer FROM record.commands WHERE firm_id = %s AND command_id = %s",
                (firm, command_id),
                binary=True,
            )
            known = await cursor.fetchone()
            if known is None:
                return []
            count = len(orjson.loads(known[1]).get("events", ()))
            found = await c.execute(_EVENTS, (firm, command_id, known[0] - count, known[0]), binary=True)
            return [Done(stream_type=t, stream_id=i, version=v) for t, i, v in await found.fetchall()]

    async def stream(self, firm: UUID, type: str, id: UUID) -> Sequence[Recorded]:
        async with self._connections.connection() as c:
            return [r async for r in read_stream(c, self._vault, firm, type, id)]
