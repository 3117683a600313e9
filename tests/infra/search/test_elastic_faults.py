"""Elasticsearch killed, pressed, full, cut off; its indexer killed: each ends with the index the record asks for.

The engine is this file's own. Its memory for writes is small, so that it really answers 429.
"""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from commands.contacts import CreateContact
from infra.away import EngineUnusable
from infra.database import Database
from infra.engines import servers
from infra.engines.run import Engines
from infra.engines.servers import SERVERS, Site
from infra.search.elastic.builds import ElasticIndex
from infra.search.elastic.bulk import Bulk
from infra.search.elastic.client import Elastic, Unreachable
from infra.settings import Settings
from tests.engines import CACHE
from tests.house import a_house
from tests.infra.imports.importing import Firm
from tests.infra.search.elastic import an_index, connect, expected, indexing, up_to_date
from tests.infra.search.partition import network
from tests.processes import PATIENCE

PEOPLE = 700
LITTLE = "400kb"


class Narrow(servers.Elasticsearch):
    """An Elasticsearch that has room for few writes at a time."""

    def settings(self, site: Site) -> str:
        return super().settings(site) + f"indexing_pressure.memory.limit: {LITTLE}\n"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with pytest.MonkeyPatch.context() as m:
        m.setitem(SERVERS, "elasticsearch", Narrow())
        made = Engines(tmp_path_factory.mktemp("engines"), CACHE)
        made.up(["elasticsearch"])
        yield made
        made.forget()


def url(own: Engines) -> str:
    return own.up(["elasticsearch"])["CHANCERY_ELASTICSEARCH_URL"]


def pids(own: Engines) -> tuple[int, ...]:
    return next(s.pids for s in own.status() if s.engine == "elasticsearch")


@pytest.fixture(scope="module")
def firm(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Firm:
    folder = tmp_path_factory.mktemp("firm")
    firm = Firm(database, folder)
    file = folder / "people.csv"
    with file.open("w", encoding="utf-8", newline="") as f:
        out = csv.writer(f)
        out.writerow(["id", "first name", "last name", "city"])
        out.writerows([n, f"Given{n}", f"Family{n % 97} Name{n % 31}", f"City{n % 13}"] for n in range(PEOPLE))
    firm.carry(file, "contacts")
    return firm


@pytest.fixture(scope="module")
def due(firm: Firm) -> str:
    """What the index must come to."""
    return expected(firm)


@pytest.fixture
def index(own: Engines) -> Iterator[ElasticIndex]:
    with an_index(url(own), patience=3.0) as made:
        yield made


@contextmanager
def running(firm: Firm, index: ElasticIndex, batch: int = 20) -> Iterator[None]:
    """An indexer that follows."""
    stop = threading.Event()
    thread = threading.Thread(target=indexing(firm, index, batch).run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def position(firm: Firm, index: ElasticIndex) -> int:
    with connect(firm) as c:
        row = c.execute("SELECT position, stopped_at FROM chancery.projections WHERE name = %s", (index.name,)).fetchone()
    assert row is None or row[1] is None, "an event stopped the index"
    return int(row[0]) if row else 0


def wait(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def head(firm: Firm) -> int:
    return int(firm.one("SELECT position FROM record.head"))


def whole(firm: Firm, index: ElasticIndex) -> None:
    wait(lambda: position(firm, index) == head(firm) and index.live_build() is not None)


def digest(firm: Firm, index: ElasticIndex) -> str:
    with connect(firm) as c:
        return index.digest(c)


@contextmanager
def half_a_batch(firm: Firm, index: ElasticIndex) -> Iterator[Callable[[], None]]:
    """An indexer that follows and has written a part of the record, and half of what comes next: it goes on when this is called."""
    there, go = threading.Event(), threading.Event()
    write = index.bulk.write

    def held(items: Any, **how: Any) -> Any:
        if not there.is_set() and position(firm, index) > 40:
            write(items[: len(items) // 2], **how)
            there.set()
            go.wait(PATIENCE)
        return write(items, **how)

    index.bulk.write = held  # type: ignore[method-assign]
    try:
        with running(firm, index):
            try:
                assert there.wait(PATIENCE)
                yield go.set
            finally:
                go.set()
    finally:
        index.bulk.write = write  # type: ignore[method-assign]


@contextmanager
def a_process(firm: Firm, own: Engines, index: ElasticIndex) -> Iterator["subprocess.Popen[bytes]"]:
    """An indexer in a process of its own, which goes on after each batch when it is sent a line."""
    environment = {**os.environ, "INDEX": index.names.prefix, "ROW": index.name, "ENGINE": url(own)}
    command = [sys.executable, "-m", "tests.infra.search.indexing_process", firm.database.admin_conninfo(), str(firm.folder)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            yield process
        finally:
            process.kill()


def went_beyond(process: "subprocess.Popen[bytes]", goal: int) -> None:
    """Let it go on until it has reached more than that, and begin with the next batch."""
    assert process.stdin is not None
    assert process.stdout is not None
    at = -1
    while at <= goal:
        at = int(process.stdout.readline())
        process.stdin.write(b"\n")


def test_elasticsearch_killed_in_the_middle_of_batches_loses_and_doubles_nothing(
    firm: Firm, due: str, own: Engines, index: ElasticIndex
) -> None:
    with half_a_batch(firm, index) as go_on:
        for pid in pids(own):
            os.kill(pid, signal.SIGKILL)
        go_on()
        wait(lambda: "does not answer" in (shown(firm, index) or ""))
        assert position(firm, index) < head(firm), "it was killed before the end"
        url(own)
        whole(firm, index)
    assert digest(firm, index) == due
    assert shown(firm, index) is None


def shown(firm: Firm, index: ElasticIndex) -> str | None:
    return firm.one("SELECT error FROM chancery.projections WHERE name = %s", index.name)


def test_an_indexer_killed_in_the_middle_of_batches_loses_and_doubles_nothing(
    firm: Firm, due: str, own: Engines, index: ElasticIndex
) -> None:
    before = -1
    for _ in range(3):
        with a_process(firm, own, index) as process:
            went_beyond(process, max(before, 0) + 60)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert before < position(firm, index) < head(firm)
        before = position(firm, index)
    up_to_date(firm, index)
    assert digest(firm, index) == due


def test_a_pressed_elasticsearch_is_given_less_at_a_time_until_it_takes_all(
    firm: Firm, due: str, own: Engines, index: ElasticIndex
) -> None:
    bulk = index.bulk = Bulk(Elastic(url(own)), items=2_000, most_bytes=20_000_000)
    pressed: list[int] = []
    press = bulk._press

    def counted(chunk: Any) -> None:
        pressed.append(len(chunk))
        press(chunk)

    bulk._press = counted  # type: ignore[method-assign]
    up_to_date(firm, index, batch=5_000)
    assert pressed, "it answered 429"
    assert min(pressed) < PEOPLE
    assert digest(firm, index) == due


def test_a_partial_failure_sends_again_what_failed_and_nothing_else(firm: Firm, due: str, index: ElasticIndex) -> None:
    """One kind's index is blocked while the bulk goes on for the others."""
    with connect(firm) as c:
        indexing(firm, index).prepare(c)
    contacts, words = index.names.write("contact"), index.names.write("words")
    state = index.state(index.live_build() or 0)
    assert state is not None
    from infra.search.elastic.bulk import item

    sent: list[list[bytes]] = []
    true = index.elastic.ask

    def listening(method: str, path: str, body: Any = None, **how: Any) -> Any:
        answer = true(method, path, body, **how)
        if path.startswith("/_bulk"):
            sent.append(body)
            if len(sent) == 2:  # what failed has failed once more
                true("PUT", f"/{contacts}/_settings", {"index.blocks.read_only_allow_delete": None})
        return answer

    index.elastic.ask = listening  # type: ignore[method-assign]
    true("PUT", f"/{contacts}/_settings", {"index.blocks.read_only_allow_delete": True})
    gone = {"firm": str(firm.id), "kind": "contact", "key": "contact:x", "gone": True, "archived": False}
    word = {"firm": str(firm.id), "key": "x:p", "word": "x", "keys": [], "length": 1, "open": False}
    items = [item("index", contacts, f"x{n}", gone) for n in range(3)] + [item("index", words, f"x{n}", word) for n in range(3)]
    outcome = index.bulk.write(items)
    assert outcome.refused == {}
    assert outcome.times_pressed >= 1
    assert len(sent[0]) == 12
    assert {len(body) for body in sent[1:]} == {6}, "the three that failed, alone"
    assert all(b"-contact-write" in line for body in sent[1:] for line in body[::2])
    for name in (contacts, words):
        true("POST", f"/{name}/_bulk?refresh=true", [line for n in range(3) for line in (b'{"delete":{"_id":"x%d"}}' % n,)])
    assert digest(firm, index) == due


def test_a_full_disk_is_waited_for_and_costs_nothing_else(firm: Firm, due: str, index: ElasticIndex) -> None:
    with half_a_batch(firm, index) as go_on:
        everything = f"/{index.names.prefix}-*/_settings"

        def full() -> bool:
            """The server lifts the block by itself when it next looks at its disk, twice a minute."""
            index.elastic.ask("PUT", everything, {"index.blocks.read_only_allow_delete": True})
            return "disk is fuller than it allows" in (shown(firm, index) or "")

        full()
        go_on()
        wait(full)
        held = position(firm, index)
        assert held < head(firm)
        for _ in range(10):
            threading.Event().wait(0.1)
            full()
        assert position(firm, index) == held
        index.elastic.ask("PUT", everything, {"index.blocks.read_only_allow_delete": None})
        whole(firm, index)
    assert digest(firm, index) == due


def test_a_disk_too_full_for_new_indices_is_said_and_what_waits_for_room_comes_up_by_itself(index: ElasticIndex) -> None:
    elastic, waiting = index.elastic, "waits-for-room"
    room = "cluster.routing.allocation.disk"
    wanted: dict[str, Any] = {f"{room}.watermark.{w}": "900tb" for w in ("low", "high", "flood_stage")}
    wanted |= {f"{room}.threshold_enabled": True, "cluster.info.update.interval": "10s"}
    elastic.ask("PUT", "/_cluster/settings", {"persistent": wanted})
    try:

        def said() -> str:
            """Of an index made now: the server looks at its disk every ten seconds, and until then has room."""
            elastic.ask("DELETE", f"/{waiting}", fine=(404,))
            elastic.ask("PUT", f"/{waiting}?wait_for_active_shards=0", {"settings": {"number_of_replicas": 0}})
            time.sleep(0.5)
            try:
                elastic.check()
            except EngineUnusable as e:
                return str(e)
            return ""

        wait(lambda: "disk is fuller than it allows" in said())
        assert "flood_stage" in elastic.why(Unreachable("503"))
        elastic.ask("PUT", "/_cluster/settings", {"persistent": dict.fromkeys(wanted)})
        wait(lambda: elastic.ask("GET", "/_cluster/health")["status"] != "red")
        elastic.check()
        assert "503" in elastic.why(Unreachable("503")), "it can, now; what it answered then is all there is to say"
    finally:
        elastic.ask("PUT", "/_cluster/settings", {"persistent": dict.fromkeys(wanted)})
        elastic.ask("DELETE", f"/{waiting}", fine=(404,))


def test_what_was_wrong_with_the_engine_is_no_longer_shown_once_it_is_back_although_nothing_new_is_recorded(
    firm: Firm, due: str, index: ElasticIndex
) -> None:
    up_to_date(firm, index)
    with connect(firm) as c:
        index.away(c, Unreachable("503 no_shard_available_action_exception"))
    assert "503 no_shard_available_action_exception" in (shown(firm, index) or "")
    with running(firm, index):
        wait(lambda: shown(firm, index) is None)
    assert digest(firm, index) == due


def test_a_worker_stopped_for_long_and_woken_beside_its_replacement_changes_nothing(
    firm: Firm, due: str, own: Engines, index: ElasticIndex
) -> None:
    with a_process(firm, own, index) as process:
        assert process.stdin is not None
        went_beyond(process, 60)
        process.send_signal(signal.SIGSTOP)
        process.stdin.write(b"\n" * 10_000)
        up_to_date(firm, index)
        assert digest(firm, index) == due
        process.send_signal(signal.SIGCONT)
        firm.do(CreateContact(given="Later", family="Comer"))  # by this it is seen that it works again
        whole(firm, index)
        assert digest(firm, index) == expected(firm)


async def test_an_engine_behind_a_cut_network_costs_search_five_seconds_at_most_and_nothing_else(
    own: Engines, fresh: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = urlsplit(url(own))
    with network(given.port or 0, pids(own), tmp_path) as net:
        print(f"cut by {net.how}")
        settings = Settings(
            data=tmp_path / "data",
            database_url=fresh.admin_conninfo(),
            elasticsearch_url=f"http://{given.username}:{given.password}@{net.host}:{net.port}",
            elasticsearch_prefix=f"cut{os.getpid()}",
            rate_per_second=100_000,
            rate_burst=100_000,
        )
        async with a_house(settings, fresh) as house:
            made = await house.client.post("/v1/contacts", json={"given": "Ada", "family": "Lovelace"})
            assert made.status_code == 201, made.text
            read = {"Chancery-Position": made.headers["Chancery-Position"]}
            for _ in range(30):  # the first filling may take longer than a read waits
                found = await house.client.get("/v1/search", params={"q": "lovelace"}, headers=read)
                if found.status_code == 200:
                    break
            assert [h["title"] for h in found.json()["items"]] == ["Ada Lovelace"], found.text

            async def one(path: str, **params: Any) -> tuple[int, float, Any]:
                at = time.monotonic()
                answer = await house.client.get(path, params=params)
                return answer.status_code, time.monotonic() - at, answer

            usual = sorted([(await one("/v1/search", q="lovelace"))[1] for _ in range(5)])[2]
            net.cut()
            try:
                searches = [asyncio.create_task(one("/v1/search", q="lovelace")) for _ in range(12)]
                others = []
                while not all(t.done() for t in searches):
                    others.append(await one("/v1/contacts"))
                    await asyncio.sleep(0.1)
                answers = [t.result() for t in searches]
                assert {status for status, _, _ in answers} == {503}
                searching = [seconds for _, seconds, _ in answers]
                assert max(searching) <= 5.0 + 20 * usual
                said = answers[0][2]
                assert said.headers["content-type"] == "application/problem+json"
                assert int(said.headers["Retry-After"]) >= 1
                problem = said.json()
                assert (problem["type"], problem["view"]) == ("urn:chancery:problem:engine-away", "search")
                assert problem["lag"] >= 0
                assert {status for status, _, _ in others} == {200}
                waited = sorted(seconds for _, seconds, _ in others)
                assert waited[len(waited) // 2] < max(searching) / 3, "others wait for nothing"
                assert waited[-1] < max(searching), "and none as long as a search"
                quickly = [await one("/v1/search", q="lovelace") for _ in range(5)]
                assert min(seconds for _, seconds, _ in quickly) < max(searching) / 3, "who asks later is told at once"
                late = await house.client.post("/v1/contacts", json={"given": "Late", "family": "Comer"})
                assert late.status_code == 201, "writing goes on"
            finally:
                net.mend()
            read = {"Chancery-Position": late.headers["Chancery-Position"]}

            async def back() -> bool:
                answer = await house.client.get("/v1/search", params={"q": "comer"}, headers=read)
                return answer.status_code == 200 and [h["title"] for h in answer.json()["items"]] == ["Late Comer"]

            async with asyncio.timeout(PATIENCE):  # it catches up by itself
                while not await back():
                    await asyncio.sleep(0.5)
    capsys.readouterr()


def test_an_engine_that_is_set_and_does_not_answer_is_an_error_at_start(fresh: Database, tmp_path: Path) -> None:
    from infra.away import EngineUnusable

    settings = Settings(data=tmp_path, database_url=fresh.admin_conninfo(), elasticsearch_url="http://127.0.0.1:9")

    async def start() -> None:
        async with a_house(settings, fresh):
            pass

    with pytest.raises(EngineUnusable, match="does not answer at CHANCERY_ELASTICSEARCH_URL"):
        asyncio.run(start())
