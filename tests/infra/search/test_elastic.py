"""The index in Elasticsearch holds what the record says, whatever comes twice, late or at once, and asks nothing without its fence."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.contacts import CreateContact
from commands.notes import EditNote, RemoveNote, WriteNote
from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.away import EngineAway, EngineUnusable
from infra.database import Database
from infra.followers import Parts
from infra.reading import Readers
from infra.search import indexer as module
from infra.search.elastic import builds
from infra.search.elastic.builds import ElasticIndex, OthersIndex
from infra.search.elastic.client import Elastic, Unreachable
from infra.search.elastic.documents import document_id, mark, number
from infra.search.elastic.engine import ElasticSearch
from infra.search.elastic.guard import Guard
from infra.search.elastic.mappings import WORDS
from infra.search.elastic.store import ROOM, ElasticStore
from infra.search.follower import SearchFollower, take_turn
from infra.search.pgindex import PgIndex
from infra.search.pgstore import Key, Outrun
from infra.settings import Settings
from projections.search.kinds import KINDS
from queries.search import Search, Suggest, find, suggest
from tests.infra.imports.importing import Firm
from tests.infra.search.elastic import an_index, connect, expected, fill, indexing, up_to_date


@pytest.fixture(scope="module")
def firm(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Firm:
    firm = Firm(database, tmp_path_factory.mktemp("firm"))
    firm.ids = fill(firm)  # type: ignore[attr-defined]
    return firm


@pytest.fixture
def index(elasticsearch: str) -> Iterator[ElasticIndex]:
    with an_index(elasticsearch) as made:
        yield made


def digest(firm: Firm, index: ElasticIndex) -> str:
    with connect(firm) as c:
        return index.digest(c)


def row(firm: Firm, index: ElasticIndex) -> dict[str, Any]:
    with connect(firm) as c:
        found = c.execute("SELECT position, stopped_at, error FROM chancery.projections WHERE name = %s", (index.name,)).fetchone()
    return dict(zip(("position", "stopped_at", "error"), found or (None, None, None), strict=True))


def head(firm: Firm) -> int:
    return int(firm.one("SELECT position FROM record.head"))


async def asked(firm: Firm, index: ElasticIndex, elastic: Elastic, q: str, permissions: frozenset[str] = ALL_PERMISSIONS) -> Any:
    guard = Guard(elastic)
    readers = Readers(firm.database, size=2, ports={"search": lambda r: ElasticSearch(r, guard, index.names)})
    await readers.open()
    try:
        async with readers.reading(firm.id, permissions) as r:
            await suggest(Suggest(q=q), r)
            return await find(Search(q=q), r)
    finally:
        await readers.close()


# --- contents


@pytest.mark.invariant("SR4")
def test_both_engines_hold_the_same_however_they_were_filled(firm: Firm, index: ElasticIndex) -> None:
    up_to_date(firm, index, batch=3)
    assert digest(firm, index) == expected(firm)
    before = index.live_build()
    with connect(firm) as c:
        assert indexing(firm, index, 1_000).rebuild(c)
    assert index.live_build() != before
    assert digest(firm, index) == expected(firm)


@pytest.mark.invariant("SR4")
def test_two_indexers_at_once_leave_what_one_would_have(firm: Firm, index: ElasticIndex) -> None:
    with connect(firm) as c:
        indexing(firm, index).prepare(c)
    with connect(firm) as c:
        from_the_beginning(index)

    def work() -> None:
        with connect(firm) as mine:
            indexing(firm, index, 4).catch_up(mine)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert digest(firm, index) == expected(firm)
    assert row(firm, index) == {"position": head(firm), "stopped_at": None, "error": None}


def from_the_beginning(index: ElasticIndex) -> None:
    """Set the live build back, so that everything comes once more."""
    build = index.live_build() or 0
    state = index.state(build)
    assert state is not None
    index.put_state(build, {**state["_source"], "position": 0}, (state["_seq_no"], state["_primary_term"]))


def test_what_comes_again_from_the_beginning_changes_nothing(firm: Firm, index: ElasticIndex) -> None:
    up_to_date(firm, index)
    before = digest(firm, index)
    from_the_beginning(index)
    up_to_date(firm, index, batch=7)
    assert digest(firm, index) == before == expected(firm)


def test_an_old_version_comes_too_late_even_when_the_server_has_forgotten_the_delete(firm: Firm, index: ElasticIndex) -> None:
    note = UUID(firm.do(WriteNote(about_type="contact", about=firm.ids["ada"], text="Soon to be gone"))["id"])  # type: ignore[attr-defined]
    made_at = head(firm)
    up_to_date(firm, index)
    key = Key(firm.id, "note", note)
    with connect(firm) as c:
        before = indexing(firm, index)._changes(c, rows(firm, made_at))
        firm.do(RemoveNote(id=note))
        up_to_date(firm, index)
        index.elastic.ask("PUT", f"/{index.names.read('note')}/_settings", {"index.gc_deletes": "1s"})
        kept = index.digest(c)
        threading.Event().wait(1.5)  # the server's own clock is what is waited for
        index.refresh([index.names.read("note")])
        late = index.live(c)
        late.position()
        with pytest.raises(Outrun):
            late.apply(made_at - 1, made_at, {key: before[key]})
        late._write({key: before[key]}, lambda _e: made_at * ROOM)
        index.refresh([index.names.read("note")])
        assert index.digest(c) == kept
        there = index.elastic.ask("GET", f"/{index.names.read('note')}/_doc/{document_id(firm.id, note)}")
        assert there["_source"]["gone"] is True
        assert "entry" not in there["_source"]


def test_an_indexer_overtaken_between_entries_and_words_leaves_no_word_that_nobody_holds(
    firm: Firm, index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    up_to_date(firm, index)
    with connect(firm) as c:
        late = index.live(c)
        begun = late.position()
        assert begun is not None
        note = UUID(firm.do(WriteNote(about_type="contact", about=firm.ids["ada"], text="Zyxwvutlike"))["id"])  # type: ignore[attr-defined]
        made_at = head(firm)
        changes = {Key(firm.id, "note", note): indexing(firm, index)._changes(c, rows(firm, made_at))[Key(firm.id, "note", note)]}
        add = late._add_words

        def slept(new: Any) -> Any:
            firm.do(RemoveNote(id=note))
            up_to_date(firm, index)
            with connect(firm) as other:
                index.sweep(index.live(other), firm.id)
            return add(new)

        monkeypatch.setattr(late, "_add_words", slept)
        with pytest.raises(Outrun):
            late.apply(begun, made_at, changes)
    index.refresh([index.names.read(WORDS)])
    found = index.elastic.ask("GET", f"/{index.names.read(WORDS)}/_search?q=word:zyxwvutlike")
    assert found["hits"]["hits"] == []


def rows(firm: Firm, position: int) -> Any:
    from infra.record.reader import COLUMNS, EventRow

    with connect(firm) as c:
        cursor = c.cursor(binary=True)
        cursor.execute(f"SELECT {COLUMNS} FROM record.events WHERE position = %s", (position,))
        return [EventRow(*r) for r in cursor.fetchall()]


def test_an_entry_the_server_refuses_stops_the_index_before_its_event_and_nothing_else(
    firm: Firm, index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.search.elastic import documents, store

    up_to_date(firm, index)
    before = head(firm)
    firm.do(CreateContact(given="Fine", family="Before"))
    firm.do(CreateContact(given="Poison", family="Unmappable"))
    firm.do(CreateContact(given="Fine", family="After"))
    true = documents.written

    def broken(e: Any) -> Any:
        made = true(e)
        if e.title == "Poison Unmappable":
            made.document["no_such_field"] = 1
        return made

    monkeypatch.setattr(store, "written", broken)
    up_to_date(firm, index)
    stopped = row(firm, index)
    assert stopped["error"] == "EntryRefused"
    assert before < stopped["position"] < stopped["stopped_at"] <= head(firm)
    monkeypatch.undo()
    with connect(firm) as c:
        c.execute("UPDATE chancery.projections SET stopped_at = NULL, error = NULL WHERE name = %s", (index.name,))
    up_to_date(firm, index)
    assert digest(firm, index) == expected(firm)


# --- builds


@pytest.mark.invariant("SR6")
async def test_a_rebuild_serves_the_old_build_until_one_request_moves_every_name(
    firm: Firm, index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    up_to_date(firm, index)
    old = index.live_build()
    elastic = index.elastic
    seen: list[int] = []
    moves: list[Any] = []
    true = elastic.ask

    def listening(method: str, path: str, body: Any = None, **how: Any) -> Any:
        if path == "/_aliases":
            moves.append(body)
        return true(method, path, body, **how)

    monkeypatch.setattr(elastic, "ask", listening)
    keeper = indexing(firm, index)

    def progress(_: int) -> None:
        with connect(firm) as c:
            seen.append(sum(1 for _ in index.entries()))
            if len(seen) < 3:
                firm.do(CreateContact(given="Late", family=f"Comer{len(seen)}"))
                keeper.catch_up(c)

    with connect(firm) as c:
        assert indexing(firm, index, 7).rebuild(c, progress=progress)
    assert min(seen) >= 20
    assert len(moves) == 1
    assert index.live_build() == (old or 0) + 1
    left = elastic.ask("GET", f"/_alias/{index.names.prefix}-*")
    assert [i for i in left if i.endswith(f"-{old}")] == []
    with connect(firm) as c:
        keeper.catch_up(c)
    assert digest(firm, index) == expected(firm)


def test_an_index_of_another_form_is_rebuilt_beside_while_the_old_one_serves(
    firm: Firm, index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    up_to_date(firm, index)
    before = digest(firm, index)
    monkeypatch.setattr(builds, "FORM", "0badf00d")
    served: list[int] = []
    fill_true = ElasticIndex.fill

    def filling(self: ElasticIndex, *args: Any) -> Any:
        served.append(self.live_build() or 0)
        return fill_true(self, *args)

    monkeypatch.setattr(ElasticIndex, "fill", filling)
    up_to_date(firm, index)
    assert served == [1]
    assert index.live_build() == 2
    assert digest(firm, index) == before
    up_to_date(firm, index)
    assert index.live_build() == 2, "it is current now"


def test_a_swap_that_was_left_half_done_is_ended_by_whoever_comes_next(
    firm: Firm, index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    up_to_date(firm, index)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(index, "finish", killed)
    with connect(firm) as c, pytest.raises(KeyboardInterrupt):
        indexing(firm, index).rebuild(c)
    with connect(firm) as c, pytest.raises(Outrun):  # what served before moves no more
        index.live(c).position()
    monkeypatch.undo()
    up_to_date(firm, index)
    assert index.live_build() == 2
    assert digest(firm, index) == expected(firm)


def test_a_first_filling_is_taken_up_where_it_was_left_and_nothing_is_found_before_it_is_whole(
    firm: Firm, index: ElasticIndex, elasticsearch: str
) -> None:
    import asyncio

    stop = threading.Event()
    with connect(firm) as c:
        first = indexing(firm, index, 5)
        apply = ElasticStore.apply
        count = 0

        def some(self: Any, *args: Any) -> None:
            nonlocal count
            apply(self, *args)
            count += 1
            if count == 3:
                stop.set()

        with pytest.MonkeyPatch.context() as m:
            m.setattr(ElasticStore, "apply", some)
            first.prepare(c, stop)
    assert index.live_build() is None
    reached = row(firm, index)["position"]
    assert 0 < reached < head(firm)
    with pytest.raises(EngineAway) as e:
        asyncio.run(asked(firm, index, Elastic(elasticsearch), "ada"))
    assert e.value.filling
    up_to_date(firm, index)
    assert index.live_build() == 1
    assert digest(firm, index) == expected(firm)


def test_settings_that_somebody_changed_are_put_back_and_another_installations_index_is_left_alone(
    firm: Firm, index: ElasticIndex
) -> None:
    up_to_date(firm, index)
    name = index.names.read("contact")
    index.elastic.ask("PUT", f"/{name}/_settings", {"index.translog.durability": "ASYNC"})
    up_to_date(firm, index)
    (found,) = index.elastic.ask("GET", f"/{name}/_settings?flat_settings=true").values()
    assert found["settings"]["index.translog.durability"] == "REQUEST"
    other = ElasticIndex(index.elastic, index.names.prefix, "another", name=index.name)
    with connect(firm) as c, pytest.raises(OthersIndex):
        indexing(firm, other).prepare(c)


# --- erasure


@pytest.mark.invariant("SR9")
def test_what_is_made_again_after_an_erasure_stays_so_whatever_comes_late_and_its_words_leave_the_disk(
    fresh: Database, tmp_path: Path, index: ElasticIndex
) -> None:
    firm = Firm(fresh, tmp_path)
    ids = fill(firm, 3)
    ada = UUID(ids["ada"])
    up_to_date(firm, index)
    with connect(firm) as c:
        stale = indexing(firm, index)
        stale_rows = [
            r for (p,) in c.execute("SELECT position FROM record.events WHERE stream_id = %s", (ada,)) for r in rows(firm, p)
        ]
        before = stale._changes(c, stale_rows)
        c.execute("UPDATE record.events SET sealed = NULL WHERE firm_id = %s AND stream_id = %s", (firm.id, ada))
        indexing(firm, index).again(c, [(firm.id, "contact", ada)])
        key = Key(firm.id, "contact", ada)
        entry = before[key]
        assert entry is not None
        late = index.live(c)
        late.position()
        late._write({key: entry}, lambda e: (e.made.position if e else 0) * ROOM)
        late.settle()
        kept = index.digest(c)
        titles = [s["entry"]["title"] for s in index.entries() if s["firm"] == str(firm.id)]
        assert "Ada Lovelace" not in titles
        assert words(index, firm) & {"lovelace", "analyst"} == set()
        assert "person1" in words(index, firm) or "alvarez" in words(index, firm)
        index.purge(c)
        for kind, field in (("contact", "heads"), ("contact", "title"), ("words", "word")):
            begins = mark(firm.id) + ("ada lovelace" if field == "heads" else "Ada") if kind != "words" else "lovelace"
            left = index.elastic.ask(
                "POST", f"/{index.names.read(kind)}/_terms_enum", {"field": field, "string": begins, "size": 10}
            )["terms"]
            assert left == [], field
    up_to_date(firm, index)
    assert digest(firm, index) == kept == expected(firm)


def words(index: ElasticIndex, firm: Firm) -> set[str]:
    body = {"size": 1_000, "query": {"term": {"firm": str(firm.id)}}, "_source": ["word"]}
    hits = index.elastic.ask("POST", f"/{index.names.read('words')}/_search", body)["hits"]["hits"]
    return {h["_source"]["word"] for h in hits}


# --- the fence


async def test_every_question_a_reader_asks_carries_the_firm_the_kinds_and_what_is_personal(
    firm: Firm, index: ElasticIndex, elasticsearch: str
) -> None:
    up_to_date(firm, index)
    elastic = Elastic(elasticsearch)
    sent: list[tuple[str, Any]] = []
    true = elastic.ask

    def listening(method: str, path: str, body: Any = None, **how: Any) -> Any:
        sent.append((path, body))
        return true(method, path, body, **how)

    elastic.ask = listening  # type: ignore[method-assign]
    typed = (
        "ada",
        "ada lovelac",
        "lovelase",
        '"first program"',
        "030 1234567",
        "tag:countess ada",
        "ada unicorns zebras",
        "kind:note -x y",
    )
    for q in typed:
        await asked(firm, index, elastic, q)
        sent.append(("personal", None))
        await asked(firm, index, elastic, q, ALL_PERMISSIONS - {"personal:read"})
        sent.append(("all", None))
    personal = True
    kinds_of_questions = set()
    for path, body in sent:
        if body is None:
            personal = path != "personal"
            continue
        if path.startswith(f"/{index.names.read('words')}"):
            kinds_of_questions.add("words")
            for query in [orjson.loads(line) for line in body][1::2]:
                filters = query["query"]["bool"]["filter"]
                assert {"term": {"firm": str(firm.id)}} in filters
                assert ({"term": {"open": True}} in filters) == (not personal)
            continue
        kinds_of_questions.add("entries")
        filters = body["query"]["bool"]["filter"]
        assert set(body["query"]) == {"bool"}
        assert "should" not in body["query"]["bool"]
        assert filters[0] == {"term": {"firm": str(firm.id)}}
        assert set(filters[1]["terms"]["kind"]) <= set(KINDS)
        assert filters[2] == {"term": {"gone": False}}
        if not personal:
            fields = looked_into(body)
            assert {f for f in fields if not f.startswith("o")} <= {"archived", "key", "kind", "firm", "gone", "brief"}, body
    assert kinds_of_questions == {"words", "entries"}


def looked_into(query: Any) -> set[str]:
    """The fields a query compares."""
    found: set[str] = set()
    match query:
        case dict():
            for name, inner in query.items():
                if name in {"term", "terms", "prefix", "wildcard", "range", "intervals"} and isinstance(inner, dict):
                    found |= {f for f in inner if f != "boost"}
                elif name in {"field", "use_field"}:
                    found.add(str(inner))
                found |= looked_into(inner)
        case list():
            for inner in query:
                found |= looked_into(inner)
    return found


# --- moving between engines


def test_turning_elasticsearch_on_and_off_keeps_both_places(fresh: Database, tmp_path: Path, index: ElasticIndex) -> None:
    firm = Firm(fresh, tmp_path)
    fill(firm, 3)
    index.name = "search"
    parts = Parts(settings=Settings(), database=fresh, vault=firm.vault, blobs=firm.blobs)
    elastic, postgres = SearchFollower(parts, index), SearchFollower(parts, PgIndex())

    def followed(follower: SearchFollower) -> None:
        stop = threading.Event()
        thread = threading.Thread(target=follower.run, args=(stop,))
        thread.start()
        until = threading.Event()
        for _ in range(2_400):
            with connect(firm) as c:
                at = c.execute(
                    "SELECT p.position, e.engine FROM chancery.projections p, chancery.search_engine e WHERE p.name = 'search'"
                ).fetchone()
            if at == (head(firm), follower._index.engine) and (follower is postgres or index.live_build() is not None):
                break
            until.wait(0.05)
        stop.set()
        thread.join()

    followed(postgres)
    at_first = head(firm)
    firm.do(CreateContact(given="While", family="Elastic"))
    followed(elastic)
    assert elastic.digest() == expected_now(firm, elastic, postgres)
    with connect(firm) as c:
        assert c.execute("SELECT engine, position FROM chancery.search_engine").fetchone() == ("elasticsearch", at_first)
        assert "While Elastic" not in [t for (t,) in c.execute("SELECT title FROM chancery.search_entries")]
        # an indexer of the engine whose turn it is not does nothing
        assert module.Indexer(fresh, firm.vault, firm.blobs).catch_up(c) == head(firm)
        assert "While Elastic" not in [t for (t,) in c.execute("SELECT title FROM chancery.search_entries")]
    firm.do(CreateContact(given="While", family="Postgres"))
    followed(postgres)
    with connect(firm) as c:
        assert {"While Elastic", "While Postgres"} <= {t for (t,) in c.execute("SELECT title FROM chancery.search_entries")}
    followed(elastic)
    assert index.live_build() == 1, "it went on where it stood"
    assert elastic.digest() == postgres.digest()
    with connect(firm) as c:
        take_turn(c, "postgres")


def expected_now(firm: Firm, elastic: SearchFollower, postgres: SearchFollower) -> str:
    """What PostgreSQL would hold, without moving its index: another build of it, thrown away."""
    from infra.search.digest import digest as of
    from infra.search.elastic.documents import _entry, held

    found: list[Any] = []

    class Kept:
        at = 0

        def position(self) -> int:
            return self.at

        def apply(self, _position: int, reached: int, changes: Any) -> None:
            found.append(changes)
            self.at = reached

        def settle(self) -> None: ...

        def stop(self, *_: Any) -> None: ...

    indexer = indexing(firm)
    indexer._index = elastic._index
    with connect(firm) as c:
        indexer.catch_up(c, store=Kept())
    last: dict[Key, Any] = {}
    for changes in found:
        last.update(changes)
    return of(
        held({"firm": str(k.firm), "key": f"{k.kind}:{k.id}", "entry": orjson.loads(orjson.dumps(_entry(e)))})
        for k, e in last.items()
        if e is not None
    )


# --- what can't be used, said in words


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "does not answer at CHANCERY_ELASTICSEARCH_URL"),
        ("nonsense", "can't be read"),
    ],
)
def test_a_set_engine_that_can_not_be_used_is_an_error_in_words(url: str, said: str) -> None:
    with pytest.raises(EngineUnusable, match=said):
        Elastic(url).check(timeout=2.0)


def test_a_wrong_password_is_said_and_not_shown(elasticsearch: str) -> None:
    from urllib.parse import urlsplit

    password = urlsplit(elasticsearch).password or ""
    with pytest.raises(EngineUnusable, match="user and password") as e:
        Elastic(elasticsearch.replace(password, "wr0ng-one")).check()
    assert "wr0ng" not in str(e.value)
    Elastic(elasticsearch).check()


# --- values


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**15), max_value=10**15), min_size=2))
def test_numbers_stand_in_the_order_of_their_text(values: list[Decimal]) -> None:
    assert sorted(values) == sorted(values, key=lambda d: number(format(d, "f")))
    for a in values:
        for b in values:
            assert (number(str(a)) == number(str(b))) == (a == b)


def test_a_firms_mark_is_its_own() -> None:
    marks = {mark(FirmId(uuid4())) for _ in range(1_000)}
    assert len(marks) == 1_000


def test_an_edit_takes_the_place_of_what_was_there(firm: Firm, index: ElasticIndex) -> None:
    up_to_date(firm, index)
    firm.do(EditNote(id=firm.ids["note"], text="Wrote the second program"))  # type: ignore[attr-defined]
    up_to_date(firm, index)
    titles = [s["entry"]["title"] for s in index.entries() if s["kind"] == "note"]
    assert "Wrote the second program" in titles
    assert "Wrote the first program" not in titles


def test_a_server_that_is_not_there_is_told_from_one_that_refuses(index: ElasticIndex) -> None:
    with pytest.raises(Unreachable):
        Elastic("http://127.0.0.1:1").ask("GET", "/")
