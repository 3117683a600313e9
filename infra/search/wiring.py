"""Which engine answers searches: Elasticsearch where the settings name one, PostgreSQL else."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.away import EngineUnusable
from infra.reading import PgReader
from infra.record.vault import Vault
from infra.search.postgres import PostgresSearch
from infra.settings import Settings
from queries.search.port import SearchEngine

if TYPE_CHECKING:  # the client is loaded where an Elasticsearch is set, and costs nothing elsewhere
    from infra.search.elastic.builds import ElasticIndex
    from infra.search.elastic.guard import Guard


@dataclass(frozen=True, slots=True)
class SearchPort:
    """`made` gives each reader its search."""

    made: Callable[[PgReader], SearchEngine]
    guard: "Guard | None" = None

    @property
    def engine(self) -> str:
        """As chancery.search_engine calls it."""
        return "postgres" if self.guard is None else "elasticsearch"

    async def check(self) -> None:
        """EngineUnusable, in words, when the engine that is set can't be used."""
        if self.guard is not None:
            await asyncio.to_thread(self.guard.check)

    def close(self) -> None:
        if self.guard is not None:
            self.guard.close()


def search(settings: Settings) -> SearchPort:
    """The engine that is set; whether it answers is not asked. EngineUnusable when its address can't be read."""
    if settings.elasticsearch_url is None:
        return SearchPort(PostgresSearch)
    from infra.search.elastic.client import Elastic
    from infra.search.elastic.engine import ElasticSearch
    from infra.search.elastic.guard import Guard
    from infra.search.elastic.mappings import Names

    guard, names = Guard(Elastic.of(settings)), Names(settings.elasticsearch_prefix)
    return SearchPort(lambda reader: ElasticSearch(reader, guard, names), guard)


def index(settings: Settings, vault: Vault) -> "ElasticIndex":
    """The index in the Elasticsearch that is set, as its follower fills it."""
    if settings.elasticsearch_url is None:
        raise EngineUnusable("CHANCERY_ELASTICSEARCH_URL is not set.")
    from infra.search.elastic.builds import ElasticIndex
    from infra.search.elastic.client import Elastic

    installation = vault.installation_key("search-index").hex()[:32]
    return ElasticIndex(Elastic.of(settings, connections=4), settings.elasticsearch_prefix, installation)
