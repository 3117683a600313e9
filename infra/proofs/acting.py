"""Recording what the installation says of its own logs, from a thread that has no event loop."""

import asyncio
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from commands.kernel import Actor, Command
from commands.log import SealHeads
from domain.kernel import FirmId
from infra.database import Database
from infra.proofs.encoding import b64
from infra.proofs.heads import Seal
from infra.record.appender import Appender
from infra.record.execute import Answer, Executor
from infra.record.vault import Vault

ACTOR = Actor("system", "log")
PERMISSIONS = frozenset({"operator"})


def execute(database: Database, vault: Vault, command: Command, firm: UUID, **how: Any) -> Answer:
    """Carry out one command as the installation."""

    async def work() -> Answer:
        pool = AsyncConnectionPool(
            database.conninfo("record"), min_size=1, max_size=1, open=False, kwargs={"autocommit": True, "prepare_threshold": 1}
        )
        appender = Appender(database)
        try:
            await pool.open()
            executor = Executor(pool, appender, vault)
            return await executor.execute(command, firm=FirmId(firm), actor=ACTOR, permissions=PERMISSIONS, **how)
        finally:
            await pool.close()
            appender.close()

    return asyncio.run(work())


def sealing(made: Seal) -> SealHeads:
    """The command that records a seal."""
    return SealHeads(heads_root=b64(made.root), heads_count=made.count, as_of_size=made.as_of_size)
