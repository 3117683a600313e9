"""What identified an erased person is nowhere on any disk: not in PostgreSQL's log, nor in what the engines keep, nor after a replay."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from infra.followers import followers, parts
from infra.settings import Settings
from tests import engines
from tests.house import House
from tests.infra.erasure.saying import everything_said
from tests.infra.erasure.test_erasure import a_person, dump, erased, found_in, holding, spellings
from tests.infra.test_backup import living

CANARY = "Qwortzelbyx"


@pytest.fixture
def everything(folder: Path, elasticsearch: str, neo4j: str, kafka: str) -> Settings:
    return Settings(
        data=folder / "data",
        elasticsearch_url=elasticsearch,
        elasticsearch_prefix=folder.name.replace("-", "").lower(),
        neo4j_url=neo4j,
        kafka_bootstrap=kafka,
        kafka_prefix=folder.name,
        rate_per_second=100_000,
        rate_burst=100_000,
    )


def places(settings: Settings) -> dict[str, Path]:
    found = {"data": settings.data, "engines": engines.folder()}
    moved = engines.folder() / "elasticsearch" / "place"
    if moved.exists():
        found["elasticsearch"] = Path(moved.read_text(encoding="utf-8"))
    return found


def on_disk(settings: Settings, words: list[bytes]) -> dict[str, list[bytes]]:
    """The files that hold one of the words; pages of PostgreSQL's tables are looked at by a dump."""
    found: dict[str, list[bytes]] = {}
    for root in places(settings).values():

        def wanted(file: Path, root: Path = root) -> bool:
            return file.relative_to(root).parts[:2] not in {("postgres", "base"), ("postgres", "pg_stat_tmp")}

        found |= holding(root, words, wanted)
    return found


def documents(settings: Settings) -> list[dict[str, Any]]:
    """Everything Elasticsearch holds, with the versions."""
    assert settings.elasticsearch_url is not None
    with httpx.Client(base_url=settings.elasticsearch_url.get_secret_value()) as c:
        c.post(f"/{settings.elasticsearch_prefix}-*/_refresh")
        got = c.post(f"/{settings.elasticsearch_prefix}-*/_search", json={"size": 1000, "version": True}).json()
        return list(got["hits"]["hits"])


def indexed_again(settings: Settings, old: list[dict[str, Any]]) -> list[int]:
    """What came of writing these again as they were, by an old message: the answers."""
    assert settings.elasticsearch_url is not None
    said = []
    with httpx.Client(base_url=settings.elasticsearch_url.get_secret_value()) as c:
        for hit in old:
            query = {
                "version": str(hit["_version"]),
                "version_type": "external",
                **({"routing": hit["_routing"]} if "_routing" in hit else {}),
            }
            said.append(c.put(f"/{hit['_index']}/_doc/{hit['_id']}", params=query, json=hit["_source"]).status_code)
        c.post(f"/{settings.elasticsearch_prefix}-*/_flush?force=true")
        c.post(f"/{settings.elasticsearch_prefix}-*/_forcemerge?only_expunge_deletes=true")
    return said


def left_of(house: House, settings: Settings, words: list[bytes], when: str) -> list[Any]:
    """What is left and where. Of Neo4j the transaction logs are looked at too: what a name was is sealed in all of its files."""
    dumped = dump(house)
    lines = [line[:200] for word in found_in(dumped, words) for line in dumped.split(b"\n") if word in line]
    return [(when, line) for line in lines] + [(when, *found) for found in on_disk(settings, words).items()]


@pytest.mark.invariant("ER2")
@pytest.mark.invariant("ER4")
async def test_nothing_of_an_erased_person_is_on_any_disk_also_after_old_messages_came_again(everything: Settings) -> None:
    words = spellings(CANARY)
    async with living(everything) as house:
        contact, _ = await a_person(house, CANARY)
        other = await everything_said(house, CANARY)
        await a_person(house, "Neighbour")
        await house.settle()
        with psycopg.connect(house.chancery.database.admin_conninfo(), autocommit=True) as c:
            c.execute("ANALYZE")  # statistics quote common values
        old = documents(everything)
        assert any(CANARY.lower() in str(h).lower() for h in old), "the canary must be there before it can be gone"
        before = on_disk(everything, words)
        assert any("pg_wal" in f for f in before)
        await erased(house, str(other))
        done = await erased(house, contact)
        assert set(done["purged"]) >= {"record", "views", "search", "files", "imports", "bus", "graph", "pages"}
        await house.settle()
        found = left_of(house, everything, words, "after the erasure")
        entries = [h for h in old if "word" not in h["_source"]]  # the dictionary is made of entries: no message brings a word
        again = indexed_again(everything, [h for h in entries if CANARY.lower() in str(h).lower()])
        for follower in followers(parts(everything, house.chancery.database)):
            await asyncio.to_thread(follower.rebuild)
        await house.settle()
        found += left_of(house, everything, words, "after everything came again")
    assert found == []
    assert set(again) == {409}, "Elasticsearch took an older version"
