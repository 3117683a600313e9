"""What a search must do, whatever engine answers it: everything in one box, and nothing that is not the caller's to see."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from commands.contacts import AmendContact, ArchiveContact, CreateContact
from commands.deals import OpenDeal
from commands.documents import DiscardDocument
from commands.notes import EditNote, RemoveNote, WriteNote
from commands.organisations import CreateOrganisation
from commands.pipelines import DefinePipeline
from commands.projects import CreateProject
from commands.task_comments import CommentTask
from commands.tasks import CreateTask
from infra.database import Database
from queries.filtering import FilterMalformed, FilterTooLarge
from queries.listing.values import UnknownField, WrongValue
from queries.search import NothingToSearch, SearchTooLong
from queries.search.box import MAX_CLAUSES
from queries.search.pages import SearchTokenUnusable
from tests.infra.imports.importing import Firm
from tests.queries import corpus
from tests.queries.searching import ENGINES, Searcher, index_elastic, searching


@dataclass
class Filled:
    firm: Firm
    other: Firm
    ids: dict[str, UUID] = field(default_factory=dict)

    def do(self, command: Any) -> UUID:
        answer = self.firm.do(command)
        return UUID(answer["id"]) if answer else UUID(int=0)

    def index(self) -> None:
        corpus.index(self.firm.database, self.firm)
        index_elastic(self.firm)


def add(firm: Firm, name: str, content: bytes) -> UUID:
    """A document with this content."""
    folder = firm.folder / name
    folder.mkdir()
    (folder / name).write_bytes(content)
    assert firm.carry(folder, "documents").created == 1
    return UUID(
        str(firm.one("SELECT stream_id FROM record.events WHERE type = 'documents.Added.v1' ORDER BY position DESC LIMIT 1"))
    )


@pytest.fixture(scope="module")
def filled(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    firm = Firm(database, tmp_path_factory.mktemp("firm"))
    firm.blobs.reserve = 0
    f = Filled(firm, firm.another())
    person = {"given": "Anna", "family": "Müller", "lenient": True}
    f.ids["anna"] = f.do(
        CreateContact(
            **person, emails=[{"address": "anna.mueller@example.org"}], phones=[{"number": "+49 30 1234567"}], tags=["vip"]
        )
    )
    f.ids["ivan"] = f.do(CreateContact(given="Иван", family="Петров", addresses=[{"city": "Berlin", "country": "DE"}]))
    f.ids["brien"] = f.do(CreateContact(given="Sean", family="O'Brien"))
    f.ids["old"] = f.do(CreateContact(given="Gone", family="Archivarius"))
    f.do(ArchiveContact(id=f.ids["old"]))
    f.ids["acme"] = f.do(CreateOrganisation(name="Acme Straßenbau GmbH"))
    stages = [{"name": "Enquiry", "kind": "open"}, {"name": "Won", "kind": "won"}, {"name": "Lost", "kind": "lost"}]
    f.do(DefinePipeline(name="Sales", stages=stages))
    f.ids["deal"] = f.do(OpenDeal(title="Succession planning Müller", amount="1250.50", currency="EUR"))
    f.ids["deal2"] = f.do(OpenDeal(title="Succession of Meyer", amount="90", currency="EUR"))
    f.ids["project"] = f.do(CreateProject(name="Probate of the Berger estate"))
    f.ids["task"] = f.do(CreateTask(title="Call the notary", description="about the land register", labels=("urgent",)))
    f.do(CommentTask(id=f.ids["task"], text="He is on holiday until Walpurgis"))
    f.ids["note"] = f.do(WriteNote(about_type="contact", about=f.ids["anna"], text="Prefers chamomile tea. Call 040/998877-66."))
    f.ids["lost"] = f.do(WriteNote(about_type="contact", about=f.ids["anna"], text="Ephemeral remark"))
    f.do(RemoveNote(id=f.ids["lost"]))
    page = b"<html><head><title>Lease</title></head><body><p>The tenant pays a <b>deposit</b> of three rents.</p></body></html>"
    f.ids["lease"] = add(firm, "Lease 2026.html", page)
    f.ids["scrap"] = add(firm, "Scrapped draft.txt", b"Nobody reads this draft")
    f.do(DiscardDocument(id=f.ids["scrap"], reason="wrong"))
    for n in range(25):
        f.do(CreateContact(given=f"Twin{n:02}", family="Zwilling"))
    f.other.do(CreateContact(given="Anna", family="Foreign"))
    f.index()
    return f


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=sorted(ENGINES))
async def search(request: pytest.FixtureRequest, filled: Filled) -> AsyncIterator[Searcher]:
    async with searching(filled.firm.database, filled.firm.id, ENGINES[request.param]) as opened:
        yield opened


@pytest.mark.parametrize(
    ("typed", "title"),
    [
        ("Anna Müller", "Anna Müller"),
        ("anna mueller", "Anna Müller"),
        ("MULLER anna", "Anna Müller"),
        ("ann mull", "Anna Müller"),
        ("ana muler", "Anna Müller"),
        ("anna.mueller@example.org", "Anna Müller"),
        ("030 123 45 67", "Anna Müller"),
        ("0049 (30) 1234567", "Anna Müller"),
        ("1234567", "Anna Müller"),
        ("+49-30-12345", "Anna Müller"),
        ("ivan petrov", "Иван Петров"),
        ("ПЕТРОВ", "Иван Петров"),
        ("obrien", "Sean O'Brien"),
        ("o'brien", "Sean O'Brien"),
        ("o’brien", "Sean O'Brien"),
        ("brien", "Sean O'Brien"),
        ("strassenbau", "Acme Straßenbau GmbH"),
        ("STRASZENBAU", "Acme Straßenbau GmbH"),
        ("land register", "Call the notary"),
        ("walpurgis", "Call the notary"),
        ("chamomile", "Prefers chamomile tea. Call 040/998877-66."),
        ("+49 40 99887766", "Prefers chamomile tea. Call 040/998877-66."),
        ("deposit of three rents", "Lease 2026.html"),
        ("depositt rents", "Lease 2026.html"),
        ("berger probate", "Probate of the Berger estate"),
        ("kind:contact muller", "Anna Müller"),
        ("kind:deal muller", "Succession planning Müller"),
        ("city:Berlin", "Иван Петров"),
        ("tag:vip", "Anna Müller"),
        ("tag:urgent", "Call the notary"),
    ],
)
async def test_whoever_types_it_in_their_own_way_finds_it_first(search: Searcher, typed: str, title: str) -> None:
    assert (await search.titles(typed))[:1] == [title]


async def test_words_are_left_out_and_phrases_kept_together(search: Searcher) -> None:
    assert set(await search.titles("succession")) == {"Succession planning Müller", "Succession of Meyer"}
    assert await search.titles("succession -planning") == ["Succession of Meyer"]
    assert await search.titles('"planning müller"') == ["Succession planning Müller"]
    assert await search.titles('"müller planning"') == []
    assert await search.titles('kind:deal -"of meyer"') == ["Succession planning Müller"]


async def test_filters_compare_facts_as_lists_do(search: Searcher) -> None:
    assert await search.titles("succession", filter="amount > 1000") == ["Succession planning Müller"]
    assert await search.titles(filter='kind = deal AND amount <= 90 AND currency = "EUR"') == ["Succession of Meyer"]
    assert await search.titles(filter="kind = (contact OR task) AND tag:*") != []
    assert await search.titles(filter='city = "Ber*" AND NOT country = "AT"') == ["Иван Петров"]
    assert await search.titles(filter="kind = deal AND created_at > 1d") == []
    assert len(await search.titles(filter="kind = deal AND created_at > -1d")) == 2
    assert await search.titles("city:Paris") == []


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"filter": "amuont > 3"}, UnknownField),
        ({"filter": "kind = invoice"}, WrongValue),
        ({"filter": "amount > soon"}, WrongValue),
        ({"filter": "((("}, FilterMalformed),
        ({"filter": " OR ".join(["city = x"] * 101)}, FilterTooLarge),
        ({"q": ""}, NothingToSearch),
        ({"q": "?!"}, NothingToSearch),
        ({"q": "w " * (MAX_CLAUSES + 1)}, SearchTooLong),
        ({"q": "anna", "page_token": "bm9uc2Vuc2U"}, SearchTokenUnusable),
    ],
)
async def test_what_can_not_be_searched_for_is_refused_with_the_reason(
    search: Searcher, how: dict[str, Any], why: type[Exception]
) -> None:
    with pytest.raises(why):
        await search.find(**how)


@pytest.mark.parametrize(
    "typed",
    [
        "(",
        '"',
        '"open',
        "a:b:c",
        "-",
        "--",
        "kind:",
        "kind:con",
        "amount:much",
        "owner:me",
        "-due_at:soon",
        "'''",
        "\\",
        "a & b | !c <-> d:*",
        "* **",
        "∀x🙂",
        "%s %(firm)s",
    ],
)
@pytest.mark.invariant("SR8")
async def test_nothing_typed_into_the_box_is_refused_for_how_it_is_written(search: Searcher, typed: str) -> None:
    assert isinstance((await search.find(f"anna {typed}"))["items"], list)


async def test_what_was_removed_is_not_found_and_what_is_archived_only_when_asked_for(search: Searcher) -> None:
    assert await search.titles("ephemeral") == []
    assert await search.titles("scrapped") == []
    assert await search.titles("archivarius") == []
    assert await search.titles("archivarius archived:true") == ["Gone Archivarius"]


@pytest.mark.invariant("SR3")
async def test_another_firms_records_are_never_found(search: Searcher, filled: Filled) -> None:
    assert await search.titles("foreign") == []
    theirs = search.of(filled.other.id)
    assert await theirs.titles("anna") == ["Anna Foreign"]
    assert await theirs.titles("anna muller") == ["Anna Foreign"]  # nearly: its own, by most of the words
    assert await theirs.suggest("an") == [("contact", "Anna Foreign")]


@pytest.mark.invariant("SR1")
async def test_kinds_that_may_not_be_read_are_not_found(search: Searcher) -> None:
    only_deals = search.allowed("firm:read", "deals:read", "personal:read")
    assert {h["kind"] for h in (await only_deals.find("muller"))["items"]} == {"deal"}
    assert await only_deals.titles("kind:contact anna") == []
    assert (await search.allowed("firm:read").find("anna"))["items"] == []
    assert await only_deals.suggest("anna") == []


@pytest.mark.invariant("SR1")
async def test_personal_values_are_neither_searched_nor_shown_nor_counted_without_permission(search: Searcher) -> None:
    blind = search.without("personal:read")
    for typed in ("anna", "muller", "1234567", "chamomile", "deposit", "city:Berlin", "walpurgis", "anna.mueller@example.org"):
        found = await blind.find(typed)
        assert (found["items"], found["total"]["count"], found["instead"]) == ([], 0, {}), typed
    assert await blind.suggest("ann") == []
    (acme,) = (await blind.find("acme"))["items"]
    assert acme["title"] == "Acme Straßenbau GmbH"
    (task,) = (await blind.find("urgent"))["items"]
    assert (task["title"], [h["field"] for h in task["highlights"]]) == (None, ["labels"])
    assert "muller" not in repr(await blind.find("filter", filter="kind = deal")).lower()


@pytest.mark.invariant("SR2")
async def test_a_hit_shows_where_the_words_stand_and_names_the_event_that_put_them_there(search: Searcher, filled: Filled) -> None:
    filled.do(AmendContact(id=filled.ids["anna"], job_title="Apothecary"))
    filled.index()
    (hit,) = (await search.find("apothecary"))["items"]
    (highlight,) = hit["highlights"]
    assert (highlight["field"], highlight["parts"]) == ("job_title", [{"text": "Apothecary", "hit": True}])
    assert hit["event"]["type"] == "contacts.Amended.v1"
    row = filled.firm.all("SELECT position, type FROM record.events WHERE event_id = %s", UUID(hit["event"]["id"]))
    assert row == [(hit["event"]["position"], "contacts.Amended.v1")]
    (hit,) = (await search.find("anna muller vip"))["items"]
    assert (hit["event"]["type"], hit["changed"]["type"]) == ("contacts.Created.v1", "contacts.Amended.v1")
    (lease,) = (await search.find("deposit"))["items"]
    (highlight,) = lease["highlights"]
    assert highlight["field"] == "content"
    assert {"text": "deposit", "hit": True} in highlight["parts"]
    assert highlight["event"]["type"] == "documents.VersionAdded.v1"


async def test_what_changes_is_found_as_it_is_now(search: Searcher, filled: Filled) -> None:
    note = filled.do(WriteNote(about_type="contact", about=filled.ids["anna"], text="Collects ammonites"))
    filled.index()
    assert await search.titles("ammonites") == ["Collects ammonites"]
    filled.do(EditNote(id=note, text="Collects trilobites"))
    filled.index()
    assert await search.titles("ammonites") == []
    assert await search.titles("trilobites") == ["Collects trilobites"]
    assert await search.titles("trilobtes") == ["Collects trilobites"]
    filled.do(RemoveNote(id=note))
    filled.index()
    assert (await search.find("trilobtes"))["instead"] == {}


async def test_pages_follow_one_another_without_repeating_or_leaving_out(search: Searcher) -> None:
    whole = await search.titles("zwilling", page_size=100)
    assert len(whole) == len(set(whole)) == 25
    seen: list[str] = []
    token = ""
    while True:
        page = await search.find("zwilling", page_size=7, page_token=token)
        seen += [h["title"] for h in page["items"]]
        token = page["next_page_token"]
        if not token:
            break
    assert seen == whole
    assert page["total"] == {"count": 25, "exact": True}
    assert page["kinds"] == {"contact": 25}
    first = await search.find("zwilling", page_size=7)
    with pytest.raises(SearchTokenUnusable):
        await search.find("twin", page_size=7, page_token=first["next_page_token"])


async def test_suggestions_follow_the_fingers(search: Searcher) -> None:
    assert ("contact", "Anna Müller") in await search.suggest("a")
    assert (await search.suggest("ann"))[0] == ("contact", "Anna Müller")
    assert (await search.suggest("mue"))[0][1] in {"Anna Müller", "Succession planning Müller"}
    assert ("contact", "Anna Müller") in await search.suggest("müll")
    assert ("contact", "Anna Müller") in await search.suggest("muller an")
    assert ("deal", "Succession of Meyer") in await search.suggest("succession")
    assert await search.suggest("succession", kind="task") == []
    assert len(await search.suggest("zw", limit=5)) == 5
    assert ("contact", "Иван Петров") in await search.suggest("petr")
    assert {kind for kind, _ in await search.suggest("kind:deal m")} == {"deal"}
    assert ("deal", "Succession planning Müller") in await search.suggest("mue kind:deal")
    assert await search.suggest("kind:task succession") == []
    assert await search.suggest("-city:Berlin -status:active ann") == []
    assert await search.suggest("archivar") == []
    assert await search.suggest("") == []


async def test_words_nearly_right_say_what_was_taken_instead(search: Searcher) -> None:
    found = await search.find("apotecary")
    assert [h["title"] for h in found["items"]] == ["Anna Müller"]
    assert found["instead"] == {"apotecary": ["apothecary"]}


async def test_when_no_record_holds_all_words_those_with_most_come(search: Searcher) -> None:
    found = await search.find("anna muller unicorns")
    assert (found["items"][0]["title"], found["loose"]) == ("Anna Müller", True)
