"""Wiring: settings in, a running system out. The only place that reads the environment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg_pool import AsyncConnectionPool

from infra import registry
from infra.blobs import BlobStore, blobs
from infra.database import Database, migrate
from infra.erasure.restored import again_erased
from infra.feed import Feed
from infra.fitting import fitting
from infra.followers import Parts
from infra.graph.wiring import graph
from infra.lists import Lists
from infra.reading import Readers
from infra.record.appender import Appender
from infra.record.execute import Executor
from infra.record.past import Past
from infra.record.vault import Vault
from infra.search.wiring import search
from infra.settings import Settings

if TYPE_CHECKING:
    from infra.graph.neo4j.cypher import Cypher


def settings(**given: object) -> Settings:
    """Settings from the environment; what is given wins."""
    return Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


@dataclass(slots=True)
class Chancery:
    """One process's parts, wired."""

    settings: Settings
    database: Database
    vault: Vault
    appender: Appender
    executor: Executor
    readers: Readers
    feed: Feed
    blobs: BlobStore
    page_key: bytes
    head_at_start: int
    cypher: "Cypher | None" = None


@asynccontextmanager
async def opened(chosen: Settings, *, migrated: bool = True, serving: bool = False) -> AsyncIterator[Chancery]:
    """Everything a process needs, open; closed in order when done. EngineUnusable when it is to serve and a set engine does not answer."""
    registry.load()
    database = Database.open(chosen)
    try:
        if migrated:
            migrate(database)
            database.check_roles()
        vault = await asyncio.to_thread(fitting, database, chosen.keys_folder) if migrated else Vault(chosen.keys_folder)
        contents = blobs(chosen)
        await contents.sweep()
        if migrated:
            await again_erased(Parts(chosen, database, vault, contents))
        search_port = search(chosen)
        if serving:  # before anything is opened that would have to be closed again
            await search_port.check()
        graph_port = await graph(chosen, vault, serving=serving)
        appender = Appender(database)
        pool = AsyncConnectionPool(
            database.conninfo("record"),
            min_size=2,
            max_size=8,
            open=False,
            timeout=3.0,
            max_waiting=512,
            reconnect_timeout=3.0,
            kwargs={"autocommit": True, "prepare_threshold": 1},
            name="executor",
        )
        await pool.open()
        readers = Readers(database, ports={"graph": graph_port.made, "search": search_port.made})
        await readers.open()
        feed = Feed(database, readers.check, pool.check, instead=graph_port.instead, search=search_port.engine)
        await feed.open()
        executor = Executor(pool, appender, vault, ports={"blobs": contents, "past": Past(pool, vault), "lists": Lists()})
        page_key = vault.installation_key("page-tokens")
        async with await database.connect_async("app") as c:
            head_at_start = int((await (await c.execute("SELECT position FROM record.head")).fetchone() or (0,))[0])
        try:
            yield Chancery(
                chosen, database, vault, appender, executor, readers, feed, contents, page_key, head_at_start, graph_port.cypher
            )
        finally:
            await feed.close()
            await readers.close()
            search_port.close()
            await graph_port.close()
            await pool.close()
            appender.close()
    finally:
        database.close()
