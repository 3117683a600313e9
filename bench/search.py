"""Searching among 100,000 records, as the query answers it, written as JSON; and how well the right hit comes first.

The records are made up: names by a skewed draw, so that some words stand in thousands of records and most in few, and every tenth is a
document with a page of text. What is typed is drawn from what is there, cut, misspelt and mixed.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg

from bench.harness import Broken, Figure, figure
from bench.place import Place
from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.http.reads import JSON_OPTIONS
from infra.http.service import json_default
from infra.ids import uuid7
from infra.reading import PgReader, Readers
from infra.search.pgstore import Key, PgStore
from infra.search.postgres import PostgresSearch
from projections.search import Content, Entry, Made, Text
from queries.search import Search, Suggest, find, suggest
from queries.search.port import SearchEngine
from tests.infra.imports.importing import Firm
from tests.queries import corpus
from tests.queries.searching import ENGINES, mean_reciprocal_rank, relevance, searching

RECORDS, BATCH, ASKED, ROUNDS = 100_000, 500, 300, 3
SEARCH_GOAL, SUGGEST_GOAL, RANK_GOAL = 50.0, 20.0, 0.95  # ms, ms, mean reciprocal rank
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SYLLABLES = (
    "ba",
    "ber",
    "dor",
    "en",
    "fal",
    "gro",
    "han",
    "il",
    "jor",
    "ka",
    "len",
    "mar",
    "nis",
    "ol",
    "per",
    "qui",
    "ros",
    "sten",
    "tur",
    "vel",
    "wig",
    "zan",
)


def words(draw: random.Random, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choices(SYLLABLES, k=draw.randint(2, 4)))] = None
    return list(found)


class Firms:
    """Draws records and what is typed to find them."""

    def __init__(self) -> None:
        self.draw = random.Random(11)
        self.vocabulary = words(self.draw, 30_000)

    def word(self) -> str:
        return self.vocabulary[int(len(self.vocabulary) * self.draw.random() ** 3)]

    def entries(self, firm: FirmId) -> Iterator[Entry]:
        kinds = ("contact", "contact", "contact", "organisation", "deal", "deal", "task", "note", "project", "document")
        for n in range(RECORDS):
            made = Made(position=n + 1, event_id=uuid7(), type="contacts.Created.v1", occurred_at=NOW, recorded_at=NOW)
            title = f"{self.word()} {self.word()} {self.word() if n % 3 else ''}".title().strip()
            texts = [Text(name="title", text=title, weight="A", personal=True, made=made)]
            texts.append(
                Text(name="emails", text=f"{self.word()}.{self.word()}@{self.word()}.example", weight="B", personal=True, made=made)
            )
            texts.append(Text(name="about", text=" ".join(self.word() for _ in range(15)), weight="D", personal=True, made=made))
            kind = kinds[n % 10]
            body = " ".join(self.word() for _ in range(400)) if kind == "document" else ""
            content = Content(sha256="0" * 64, media_type="text/plain", size=1, made=made) if body else None
            number = f"+49{self.draw.randint(10**8, 10**9)}"
            facts = {"city": (self.word().title(),), "status": ("open",)}
            yield Entry(
                firm=firm, kind=kind, id=uuid7(), version=1, title=title, title_personal=True, texts=tuple(texts), numbers=(number,),
                numbers_personal=True, facts=facts, open_facts={}, archived=False, made=made, content=content, body=body,
            )  # fmt: skip

    def typed(self) -> str:
        word = self.word()
        match self.draw.randint(0, 7):
            case 0:
                return word
            case 1:
                return f"{word} {self.word()}"
            case 2:
                return f"{self.word()} {word[: self.draw.randint(2, len(word))]}"
            case 3:
                at = self.draw.randrange(len(word))
                return word[:at] + "x" + word[at + 1 :]
            case 4:
                return f"kind:contact {word}"
            case 5:
                return f"0{self.draw.randint(10**4, 10**8)}"
            case 6:
                return f'"{word} {self.word()}"'
            case _:
                return f"{word} {self.word()} {self.word()[:3]}"

    def begun(self) -> str:
        word = self.word()
        return word[: self.draw.randint(1, len(word))] if self.draw.random() < 0.7 else f"{self.word()} {word[:2]}"


def fill(p: Place, made_up: Firms) -> float:
    """Fill the index as the indexer does; entries a second."""
    started = time.perf_counter()
    with p.database.connect("record") as c:
        c.execute("SET synchronous_commit = off")
        store = PgStore.live(c)
        batch: dict[Key, Entry | None] = {}
        for entry in made_up.entries(p.firm):
            batch[Key(entry.firm, entry.kind, entry.id)] = entry
            if len(batch) == BATCH:
                with c.transaction():
                    store.write(batch)
                batch = {}
    took = time.perf_counter() - started
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        for table in ("entries", "heads", "words"):
            c.execute(f"VACUUM ANALYZE chancery.search_{table}".encode())
    return RECORDS / took


async def times_of(
    p: Place, engine: Callable[[PgReader], SearchEngine], asked: list[str], ask: Callable[[str, PgReader], Awaitable[object]]
) -> list[float]:
    """Milliseconds from what is asked to the bytes of its answer, but for the first twenty; the shortest first."""
    readers = Readers(p.database, size=2, ports={"search": engine})
    await readers.open()
    times = []
    try:
        for n, typed in enumerate(asked):
            started = time.perf_counter()
            async with readers.reading(p.firm, ALL_PERMISSIONS) as r:
                answer: Any = await ask(typed, r)
            orjson.dumps(answer, default=json_default, option=JSON_OPTIONS)
            if n >= 20:
                times.append((time.perf_counter() - started) * 1000)
    finally:
        await readers.close()
    return sorted(times)


async def _ranks(firm: Firm) -> float:
    places = []
    async with searching(firm.database, firm.id, ENGINES["postgres"]) as searcher:
        for queries in relevance().values():
            places += [await searcher.place(typed, kind, titles) for typed, kind, titles in queries]
    return mean_reciprocal_rank(places)


def measure(p: Place) -> list[Figure]:
    made_up = Firms()
    rate = fill(p, made_up)
    print(f"  {rate:,.0f} entries a second into the index", flush=True)
    searches, suggestions = [], []
    for _ in range(ROUNDS):
        times = asyncio.run(
            times_of(p, PostgresSearch, [made_up.typed() for _ in range(ASKED + 20)], lambda q, r: find(Search(q=q), r))
        )
        searches.append((times[len(times) * 95 // 100], SEARCH_GOAL))
        times = asyncio.run(
            times_of(p, PostgresSearch, [made_up.begun() for _ in range(ASKED + 20)], lambda q, r: suggest(Suggest(q=q), r))
        )
        suggestions.append((times[len(times) * 95 // 100], SUGGEST_GOAL))
    figures = [
        figure("p95 of a search among 100,000", "50 ms", searches, goal=1.0, direction="at most", unit="ms"),
        figure("p95 of typeahead among 100,000", "20 ms", suggestions, goal=1.0, direction="at most", unit="ms"),
    ]
    return [*figures, _relevance(p)]


def _relevance(p: Place) -> Figure:
    folder = Path(p.folder) / "relevance"
    folder.mkdir()
    firm = Firm(p.database, folder)
    firm.vault = p.vault
    corpus.fill(firm, folder / "input")
    corpus.index(p.database, firm)
    rank = asyncio.run(_ranks(firm))
    if rank == 0:
        raise Broken("nothing was found")
    return figure("mean reciprocal rank of search", "0.95", [(rank, RANK_GOAL)], goal=1.0, unit="")
