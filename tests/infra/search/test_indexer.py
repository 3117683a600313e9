"""The search index keeps what the record says, through kills, doubles, poison and rebuilds, and never shows it half."""

import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from structlog.testing import capture_logs

from commands.contacts import AmendContact, CreateContact
from commands.notes import WriteNote
from commands.task_comments import CommentTask
from commands.tasks import CreateTask
from infra.database import Database
from infra.record import wire
from infra.search import indexer as module
from infra.search.indexer import Indexer
from infra.search.pgstore import Outrun, PgStore
from projections import search
from tests.infra.imports.importing import Firm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("firms")


@pytest.fixture
def firm(database: Database, folder: Path) -> Firm:
    firm = Firm(database, folder)
    for n in range(30):
        firm.do(CreateContact(given=f"Person{n}", family="Álvarez"))
    id = UUID(firm.do(CreateContact(given="Ada", family="Lovelace"))["id"])
    firm.do(AmendContact(id=id, job_title="Countess"))
    firm.do(WriteNote(about_type="contact", about=id, text="Wrote the first program"))
    task = UUID(firm.do(CreateTask(title="Weave algebra"))["id"])
    for n in range(5):
        firm.do(CommentTask(id=task, text=f"Remark {n}"))
    return firm


def connect(firm: Firm) -> psycopg.Connection[Any]:
    c = firm.database.connect("record")
    wire.register(c)
    return c


def indexing(firm: Firm, batch: int = 500) -> Indexer:
    return Indexer(firm.database, firm.vault, firm.blobs, batch=batch)


def found(c: psycopg.Connection[Any], firm: Firm) -> list[str]:
    sql = "SELECT title FROM chancery.search_entries WHERE firm_id = %s AND build = (SELECT live FROM chancery.search_builds) ORDER BY title"
    return [title for (title,) in c.execute(sql, (firm.id,))]


@pytest.mark.invariant("SR4")
def test_an_index_kept_in_small_steps_equals_one_rebuilt_at_once(firm: Firm) -> None:
    with connect(firm) as c:
        small = indexing(firm, 3)
        small.prepare(c)
        small.catch_up(c)
        live = PgStore.live(c)
        before = live.digest()
        assert indexing(firm, 1_000).rebuild(c)
        after = PgStore.live(c)
        assert after.build == live.build + 1
        assert after.digest() == before
        assert len(found(c, firm)) == 33
        for table in ("entries", "heads", "words"):
            assert c.execute(f"SELECT count(*) FROM chancery.search_{table} WHERE build = %s", (live.build,)).fetchone() == (0,)


def test_a_long_way_takes_no_more_memory_than_a_short_one(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    remembered: list[int] = []
    with connect(firm) as c:
        keeper = indexing(firm, 3)
        monkeypatch.setattr(keeper, "_tell", lambda *_: remembered.append(len(keeper._kept)))
        keeper.prepare(c)
        keeper.catch_up(c)
        assert len(remembered) > 10
        assert max(remembered) == 10
        monkeypatch.undo()
        before = PgStore.live(c).digest()
        assert indexing(firm, 1_000).rebuild(c)
        assert PgStore.live(c).digest() == before


@pytest.mark.invariant("SR6")
def test_a_rebuild_serves_the_old_index_until_the_new_one_is_whole(firm: Firm) -> None:
    with connect(firm) as c:
        keeper = indexing(firm)
        keeper.prepare(c)
        keeper.catch_up(c)
        stop = threading.Event()
        seen: list[int] = []

        def progress(_: int) -> None:
            seen.append(len(found(c, firm)))
            firm.do(CreateContact(given="Late", family=f"Comer{len(seen)}"))
            if len(seen) < 3:
                keeper.catch_up(c)

        assert indexing(firm, 7).rebuild(c, stop, progress=progress)
        assert min(seen) >= 33
        keeper.catch_up(c)
        assert {"Late Comer1", "Late Comer2"} <= set(found(c, firm))


def test_how_far_it_is_is_told_on_a_long_way_and_not_while_it_keeps_up(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLD_SECONDS", 0.0)
    with connect(firm) as c, capture_logs() as told:
        keeper = indexing(firm, 5)
        keeper.prepare(c)
        keeper.catch_up(c)
        assert [t["event"] for t in told].count("search.catching_up") >= 3
        told.clear()
        for n in range(3):
            firm.do(CreateContact(given="Late", family=f"Comer{n}"))
            keeper.catch_up(c)
        assert told == []


@pytest.mark.invariant("SR4")
def test_two_indexers_at_once_leave_what_one_would_have(firm: Firm) -> None:
    with connect(firm) as c:
        indexing(firm).prepare(c)

    def work() -> None:
        with connect(firm) as mine:
            indexing(firm, 4).catch_up(mine)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    with connect(firm) as c:
        kept = PgStore.live(c).digest()
        assert indexing(firm).rebuild(c)
        assert PgStore.live(c).digest() == kept


def test_a_batch_of_a_rival_is_undone_whole(firm: Firm) -> None:
    with connect(firm) as c:
        keeper = indexing(firm)
        keeper.prepare(c)
        keeper.catch_up(c)
        store = PgStore.live(c)
        before = store.digest()
        with pytest.raises(Outrun):
            store.apply(0, 1, {})
        assert store.digest() == before


@pytest.mark.invariant("SR5")
def test_a_poisoned_event_stops_the_index_where_it_stands_and_mending_it_goes_on(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = search.step

    def poisoned(kind: Any, before: Any, r: Any) -> Any:
        if r.name == "notes.Written.v1" and r.firm == firm.id:
            raise RuntimeError("poison")
        return step(kind, before, r)

    with connect(firm) as c:
        keeper = indexing(firm)
        keeper.prepare(c)
        monkeypatch.setattr(search, "step", poisoned)
        keeper.catch_up(c)
        at, error, position = c.execute(
            "SELECT stopped_at, error, position FROM chancery.projections WHERE name = 'search'"
        ).fetchone() or (0, "", 0)
        assert (error, position) == ("RuntimeError", at - 1)
        assert "Ada Lovelace" in found(c, firm)
        assert "Weave algebra" not in found(c, firm)
        monkeypatch.undo()
        c.execute("UPDATE chancery.projections SET stopped_at = NULL, error = NULL WHERE name = 'search'")
        indexing(firm).catch_up(c)
        assert "Weave algebra" in found(c, firm)


def test_an_index_of_another_version_is_made_anew(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(firm) as c:
        keeper = indexing(firm)
        keeper.prepare(c)
        keeper.catch_up(c)
        build = PgStore.live(c).build
        monkeypatch.setattr(module, "VERSION", 99)
        keeper.prepare(c)
        assert PgStore.live(c).build == build + 1
        assert c.execute("SELECT version FROM chancery.projections WHERE name = 'search'").fetchone() == (99,)
        monkeypatch.undo()
        keeper.prepare(c)


def test_an_index_ahead_of_the_record_stops_and_a_rebuild_mends_it(firm: Firm) -> None:
    """The database was restored to an earlier moment."""
    with connect(firm) as c:
        indexer = indexing(firm)
        indexer.prepare(c)
        head = indexer.catch_up(c)
        c.execute("UPDATE chancery.projections SET position = position + 7 WHERE name = 'search'")
        again = indexing(firm)
        with capture_logs() as told:
            again.prepare(c)
        assert [(t["event"], t["error"]) for t in told] == [("projection.stopped", "AheadOfRecord")]
        firm.do(CreateContact(given="Never", family="Seen"))
        again.catch_up(c)
        shown = c.execute("SELECT position, stopped_at, error FROM chancery.projections WHERE name = 'search'").fetchone()
        assert shown == (head + 7, head + 7, "AheadOfRecord")
        assert "Never Seen" not in found(c, firm)
        again.rebuild(c)
        again.catch_up(c)
        assert c.execute("SELECT stopped_at, error FROM chancery.projections WHERE name = 'search'").fetchone() == (None, None)
        assert "Never Seen" in found(c, firm)


def test_words_are_counted_exactly_and_go_with_the_last_that_held_them(firm: Firm) -> None:
    with connect(firm) as c:
        keeper = indexing(firm, 5)
        keeper.prepare(c)
        keeper.catch_up(c)
        sql = "SELECT entries FROM chancery.search_words WHERE firm_id = %s AND build = (SELECT live FROM chancery.search_builds) AND word = %s"
        assert c.execute(sql, (firm.id, "alvarez")).fetchone() == (30,)
        ada = firm.one("SELECT stream_id FROM record.events WHERE firm_id = %s AND type = 'contacts.Amended.v1'", firm.id)
        assert c.execute(sql, (firm.id, "countess")).fetchone() == (1,)
        firm.do(AmendContact(id=ada, job_title="Analyst"))
        keeper.catch_up(c)
        assert c.execute(sql, (firm.id, "countess")).fetchone() is None


@pytest.mark.invariant("SR9")
def test_what_was_sealed_and_is_erased_leaves_the_index_when_it_is_made_again(firm: Firm) -> None:
    with connect(firm) as c:
        keeper = indexing(firm)
        keeper.prepare(c)
        keeper.catch_up(c)
        ada = firm.one("SELECT stream_id FROM record.events WHERE firm_id = %s AND type = 'contacts.Amended.v1'", firm.id)
        c.execute("UPDATE record.events SET sealed = NULL WHERE firm_id = %s AND stream_id = %s", (firm.id, ada))
        keeper.again(c, [(firm.id, "contact", ada)])
        assert "Ada Lovelace" not in found(c, firm)
        left = c.execute(
            "SELECT (SELECT count(*) FROM chancery.search_words WHERE word = 'lovelace'),"
            " (SELECT count(*) FROM chancery.search_heads WHERE head LIKE '%%lovelace%%' AND firm_id = %s)",
            (firm.id,),
        ).fetchone()
        assert left is not None
        assert left[1] == 0
        kept = PgStore.live(c).digest()
        assert indexing(firm).rebuild(c)
        assert PgStore.live(c).digest() == kept
