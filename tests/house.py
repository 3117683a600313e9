"""A whole Chancery in one process for a test: the application, its database, the projections in a thread, and clients.

What records events of itself when its time has come (the end of a consent, the daily seal of a log) is left to tests that cause it: it
would come into any other test by chance.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from commands.kernel import Command
from domain.firms import Region
from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS, Role
from infra.bootstrap import Chancery
from infra.cli.console import execute
from infra.cli.firms import create_firm
from infra.database import Database
from infra.followers import Follower, followers, parts
from infra.http.app import build
from infra.keeping import NAME as KEEPER
from infra.projector.engine import Projector
from infra.proofs import sequencer as log
from infra.proofs.follower import sequencer
from infra.record.execute import Answer
from infra.record.vault import Vault
from infra.search.pgstore import NAME as SEARCH
from infra.settings import Settings
from projections.kernel import VIEWS
from tests.processes import PATIENCE

_FOLLOWING = "SELECT name FROM chancery.projections WHERE version > 0"  # a chore has no position


class House:
    """`client` calls as the owner of `firm`."""

    def __init__(self, chancery: Chancery, app: Any, firm: str, key: str) -> None:
        self.chancery = chancery
        self.firm = FirmId(UUID(firm))
        self.key = key
        self._app = app
        self.client = self.as_key(key)

    def as_key(self, key: str | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self._app, raise_app_exceptions=False),
            base_url="http://chancery",
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )

    async def as_role(self, role: Role) -> httpx.AsyncClient:
        done = await self.client.post("/v1/keys", json={"name": f"A {role.value} key", "role": role.value})
        assert done.status_code == 201, done.text
        await self.chancery.feed.wait(("keys", "firms"), done.json()["position"], PATIENCE)
        return self.as_key(done.json()["api_key"])

    async def another_firm(self) -> "House":
        made = await create_firm(self.chancery, "Another firm", Region.EU)
        await self.settle()
        return House(self.chancery, self._app, made["firm_id"], made["api_key"])

    async def do(self, command: Command, **how: Any) -> Answer:
        """Carry out a command as the owner, past HTTP."""
        return await execute(self.chancery, command, self.firm, permissions=ALL_PERMISSIONS, **how)

    async def settle(self) -> int:
        """Wait until every view shows all that is recorded; answers the position."""
        async with await self.chancery.database.connect_async("record") as c:
            row = await (await c.execute("SELECT position FROM record.head")).fetchone()
            names = {name async for (name,) in await c.execute(_FOLLOWING)}
        position = int(row[0]) if row else 0
        await self.chancery.feed.wait(tuple({*VIEWS, *names}), position, PATIENCE)
        return position

    async def begun(self) -> None:
        """Wait until what follows the record within PostgreSQL has a place to begin at, so that `settle` waits for it too."""
        own = {log.NAME} | ({SEARCH} if self.chancery.settings.elasticsearch_url is None else set())
        async with asyncio.timeout(PATIENCE), await self.chancery.database.connect_async("record") as c:
            while not own <= {name async for (name,) in await c.execute(_FOLLOWING)}:  # noqa: ASYNC110 - what other threads do
                await asyncio.sleep(0.02)


async def post(house: House, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a command as the owner, which must succeed; answers what it answered."""
    done = await house.client.post(f"/v1{path}", json=body)
    assert done.status_code < 300, (path, body, done.text)
    answer: dict[str, Any] = done.json()
    return answer


def following(settings: Settings, database: Database) -> list[Follower]:
    """What follows the record and records nothing of itself."""
    made = parts(settings, database)
    return [sequencer(made) if f.name == log.NAME else f for f in followers(made) if f.name != KEEPER]


@asynccontextmanager
async def a_house(settings: Settings, database: Database) -> AsyncIterator[House]:
    """Open everything, with one firm and its owner's key; closed when done."""
    stop = threading.Event()
    app = build(settings)
    async with app.router.lifespan_context(app):
        chancery: Chancery = app.state.service.chancery
        projector = Projector(database, Vault(settings.keys_folder))
        runs = [projector.run, *(f.run for f in following(settings, database))]
        threads = [threading.Thread(target=run, args=(stop,), daemon=True) for run in runs]
        for thread in threads:
            thread.start()
        try:
            made = await create_firm(chancery, "A firm", Region.EU)
            house = House(chancery, app, made["firm_id"], made["api_key"])
            await house.begun()
            await house.settle()
            yield house
        finally:
            stop.set()
            for thread in threads:
                thread.join(timeout=PATIENCE)
