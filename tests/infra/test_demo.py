"""The demo firm: alive in every view, made up in every detail, the same for everybody."""

import asyncio
import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from commands.kernel import COMMANDS
from infra.demo import make
from infra.demo.papers import pdf
from infra.followers import parts
from infra.keeping import Keeper
from infra.media import media_type
from infra.record.reader import replay
from projections.kernel import VIEWS
from queries.kernel import COLLECTIONS, QUERIES
from tests.house import House
from tests.once import Once

UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[0-9.]*(?:\+00:00|Z)?")
IDS = {"firm_id", "id", "position"}
MADE_OF_IDS = {"keys": {"public_id", "sha256", "previous_sha256"}, "consent_events": {"prev"}}
RESERVED_PHONE = re.compile(r"\+44(2079460|7700900)\d{3}|\+120255501\d\d")
LONG_AGO = "2000-01-01T00:00:00Z"
OF_NOW = {"search.find", "search.suggest", "me.day"}  # the first two say so, the third is that of a member's key
OPERATORS = {"firms.reactivate", "firms.suspend"}  # not offered over HTTP
NOW = datetime.now(UTC).isoformat()
ALWAYS = {"members.roles", "compliance.reconsent"}  # the same at any time: nobody in it is to be asked again
RESERVED_MAIL = re.compile(r"[^@]+@([a-z-]+\.)*(example|example\.(com|net|org))")


@pytest.fixture(scope="module")
def begun() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
async def demo(house: House, begun: datetime) -> House:
    """The house with a demo firm in it."""
    made = await make(house.chancery, begun.date())
    await house.settle()
    return House(house.chancery, house._app, made["firm_id"], made["api_key"])


def rows(house: House, view: str, since: datetime) -> list[str]:
    """A view's rows of a firm, sorted, without ids and without the times at which this test ran."""

    def time(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0])
        return "now" if at.replace(tzinfo=UTC) >= since else found[0]

    with house.chancery.database.connect("record") as c:
        cursor = c.execute(f"SELECT * FROM {VIEWS[view].table} WHERE firm_id = %s", (house.firm,))
        names = [d.name for d in cursor.description or ()]
        found = [{n: v for n, v in zip(names, row, strict=True) if n not in IDS | MADE_OF_IDS.get(view, set())} for row in cursor]
    texts = [orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS).decode() for row in found]
    return sorted(TIMES.sub(time, UUIDS.sub("id", text)) for text in texts)


async def test_every_collection_has_something_to_show(demo: House) -> None:
    empty = []
    for name in COLLECTIONS:
        page = await demo.client.get(f"/v1/{name}", params={"page_size": 1})
        assert page.status_code == 200, page.text
        if not page.json()["items"]:
            empty.append(name)
    assert empty == []


async def test_no_view_lags_or_stops(demo: House) -> None:
    ready = await demo.client.get("/readyz")
    assert ready.status_code == 200, ready.text
    assert set(ready.json()["lag"].values()) == {0}
    assert ready.json()["stopped"] == {}


async def test_rows_that_never_change_come_of_one_event_each(demo: House) -> None:
    once = Once()
    with demo.chancery.database.connect("record") as c:
        told = list(replay(c, demo.chancery.vault))
    for r in told:
        once.hear(r)
    assert once.rows > len(told) > 1_000


async def test_two_demo_firms_of_one_day_differ_in_ids_alone(demo: House, begun: datetime) -> None:
    made = await make(demo.chancery, begun.date())
    await demo.settle()
    other = House(demo.chancery, demo._app, made["firm_id"], made["api_key"])
    assert other.firm != demo.firm
    # what time has ended is noted for both by now, and not for one of them in between
    keeper = Keeper(parts(demo.chancery.settings, demo.chancery.database))
    await asyncio.to_thread(keeper.rebuild)
    await demo.settle()
    for view in VIEWS:
        a, b = rows(demo, view, begun), rows(other, view, begun)
        assert [x for x in a if x not in b] == [x for x in b if x not in a], view
        assert a == b, view


async def everything(house: House, collection: str, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = await house.client.get(
            f"/v1/{collection}", params={"page_size": 100, **params, **({"page_token": token} if token else {})}
        )
        assert page.status_code == 200, page.text
        found += page.json()["items"]
        token = page.json().get("next_page_token") or ""
        if not token:
            return found


async def test_work_is_under_way_at_every_stage_whatever_the_day(demo: House) -> None:
    deals = await everything(demo, "deals")
    assert {d["status"] for d in deals} == {"open", "won", "lost"}
    stages = {d["stage_name"] for d in deals if d["status"] == "open"}
    assert {"Enquiry", "Application", "Underwriting", "Valuation", "Offer", "Fact find", "Recommendation"} <= stages
    assert {c["status"] for c in await everything(demo, "consents")} >= {
        "requested", "deferred", "given", "renewed", "refused", "withdrawn", "revoked", "expired", "superseded", "invalidated",
    }  # fmt: skip
    assert {t["status"] for t in await everything(demo, "tasks")} >= {"open", "in_progress", "completed", "cancelled"}
    assert {d["type"] for d in await everything(demo, "dependencies")} == {
        "finish_to_start", "start_to_start", "finish_to_finish", "start_to_finish",
    }  # fmt: skip
    assert {k["status"] for k in await everything(demo, "keys")} >= {"live", "revoked"}
    assert {r for m in await everything(demo, "members") for r in m["roles"]} == {
        "owner", "adviser", "compliance", "auditor", "analyst", "read-only",
    }  # fmt: skip


async def test_nobody_in_it_can_be_reached(demo: House) -> None:
    people = await everything(demo, "contacts") + await everything(demo, "organisations")
    mails = [e["address"] for p in people for e in p["emails"]] + [m["email"] for m in await everything(demo, "members")]
    phones = [p["number"] for x in people for p in x["phones"] if "number" in p]
    assert len(mails) > 100
    assert [m for m in mails if not RESERVED_MAIL.fullmatch(m)] == []
    assert len(phones) > 100
    assert [p for p in phones if not RESERVED_PHONE.fullmatch(p)] == []


async def answered(demo: House, path: str, status: int = 200, **params: Any) -> Any:
    answer = await demo.client.get(f"/v1/{path}", params=params)
    assert answer.status_code == status, (path, params, answer.text)
    return answer


@pytest.mark.parametrize("name", sorted(COLLECTIONS))
async def test_every_list_is_downloaded_compared_explained_and_read_as_it_was(demo: House, name: str) -> None:
    page = (await answered(demo, name, include_total="true", page_size=20)).json()
    total, items = page["total"], page["items"]
    assert (await answered(demo, name)).json().get("total") is None
    table = await answered(demo, f"{name}:export", format="csv")
    assert len(list(csv.DictReader(io.StringIO(table.text, newline="")))) == total
    assert len((await answered(demo, f"{name}:export", format="jsonl")).text.splitlines()) == total
    for before in ({"as_of": LONG_AGO}, {"known_at": 1}):
        then = (await answered(demo, name, include_total="true", **before)).json()
        assert (then["items"], then["total"]) == ([], 0)
        await answered(demo, f"{name}/{items[0]['id']}", 404, **before)
    compared = (await answered(demo, name, vs_as_of=LONG_AGO, include_total="true", page_size=5)).json()
    assert compared["totals"] == {"added": total, "changed": 0, "removed": 0}
    picked = await demo.client.post(f"/v1/{name}:batch-get", json={"ids": [i["id"] for i in items]})
    assert picked.json()["items"] == items
    some = (await answered(demo, name, fields="id,position", page_size=20)).json()["items"]
    assert some == [{"id": i["id"], "position": i["position"]} for i in items]
    path = f"{name}/{items[0]['id']}"
    assert (await answered(demo, path)).json() == items[0]
    assert (await answered(demo, path, fields="position")).json() == some[0]
    assert (await answered(demo, path, vs_as_of=LONG_AGO)).json()["change"] == "added"
    assert (await answered(demo, f"{path}/history")).json()["items"]
    assert [f for f in (await answered(demo, f"{path}/explain")).json()["fields"] if f["event"] is not None]
    if COLLECTIONS[name].stream is not None and not COLLECTIONS[name].own:
        assert (await answered(demo, f"{path}/timeline")).json()["items"]


@pytest.fixture(scope="module")
async def stranger(demo: House) -> House:
    """Another firm in the same database."""
    return await demo.another_firm()


async def test_nothing_of_it_is_there_for_another_firm(demo: House, stranger: House) -> None:
    ids = {name: (await answered(demo, name, page_size=1)).json()["items"][0]["id"] for name in COLLECTIONS}
    for name, id in ids.items():
        for path in (f"{name}/{id}", f"{name}/{id}/history", f"{name}/{id}/explain", f"{name}/{id}/timeline"):
            await answered(stranger, path, 404)
        moments: tuple[dict[str, Any], ...] = ({"as_of": NOW}, {"known_at": NOW}, {"vs_as_of": LONG_AGO})
        for moment in moments:
            await answered(stranger, f"{name}/{id}", 404, **moment)
            listed = (await answered(stranger, name, page_size=1000, **moment)).json()["items"]
            assert id not in {i["id"] for i in listed}
        picked = await stranger.client.post(f"/v1/{name}:batch-get", json={"ids": [id]})
        assert picked.json() == {"items": [], "missing": [id]}
        assert id not in (await answered(stranger, f"{name}:export", format="jsonl")).text
    tried = 0
    for spec in COMMANDS.values():
        needed = {n for n, f in spec.model.model_fields.items() if f.is_required()}
        kind = spec.path.split("/")[1].partition(":")[0]
        if needed != {"id"} or kind not in ids or spec.name in OPERATORS:
            continue
        answer = await stranger.client.post(f"/v1{spec.path.replace('{id}', ids[kind])}", json={})
        if answer.json()["type"] != "urn:chancery:problem:invalid-request":  # it wants to be told more
            assert answer.status_code == 404, (spec.name, answer.text)
            tried += 1
    assert tried > 30


async def test_every_other_question_is_answered_as_of_a_moment(demo: House) -> None:
    first = {name: (await answered(demo, name, page_size=1)).json()["items"][0] for name in COLLECTIONS}
    ids = {name: row["id"] for name, row in first.items()}
    two = (await answered(demo, "contacts", page_size=2)).json()["items"]
    other = {"to": f"contact/{two[1]['id']}"}
    consent = {"purpose": first["consents"]["purpose"], "channel": first["consents"]["channel"]}
    needed: dict[str, dict[str, Any]] = {
        "activity": {"since": "1999-12-01T00:00:00Z", "bucket": "month"},
        "pipelines.column": {"stage": first["stages"]["id"]},
        "compliance.reconsent": {"notice": ids["notices"]},
        "consent.contacts": consent,
        "consent.decision": {"contact": ids["contacts"], **consent},
        "graph.paths": other,
        "graph.common": other,
    }
    given = {"number": "1", "seq": "1", "kind": "contact"}
    now, asked = datetime.now(UTC).isoformat(), set()
    for name, spec in QUERIES.items():
        if spec.method != "GET" or name in OF_NOW:
            continue
        kind = spec.path.split("/")[1]
        told = (
            {**given, "id": ids[{"pipelines": "pipelines", "graph": "contacts"}.get(kind, kind)]} if "{id}" in spec.path else given
        )
        if name == "pipelines.column":
            told = {"id": first["stages"]["pipeline_id"]}
        if name == "consent.receipt":
            told = {**given, "id": first["consent_events"]["contact"]}
        path = re.sub(r"{(\w+)}", lambda m, told=told: told[m[1]], spec.path).lstrip("/")  # type: ignore[misc]
        params = needed.get(name, {})
        present = (await answered(demo, path, as_of=now, **params)).json()
        then = await demo.client.get(f"/v1/{path}", params={**params, "as_of": LONG_AGO})
        assert then.status_code in {200, 404}, (name, then.text)
        assert then.status_code == 404 or name in ALWAYS or then.json() != present, name
        asked.add(name)
    assert len(asked) > 55


async def test_its_year_can_be_read_back(demo: House) -> None:
    deal = next(d for d in await everything(demo, "deals") if d["status"] == "won")
    history = await demo.client.get(f"/v1/deals/{deal['id']}/history")
    assert history.status_code == 200
    assert len(history.json()["items"]) > 3
    document = next(d for d in await everything(demo, "documents") if d["title"] == "Lending policy")
    text = await demo.client.get(f"/v1/documents/{document['id']}/versions/1/content")
    assert text.status_code == 200
    assert text.text.startswith("# Lending policy")


def test_its_letters_are_pdf_files() -> None:
    content = pdf(["A line (with brackets)", r"and a \ stroke"])
    assert media_type(content, None) == "application/pdf"
    place = int(content.split(b"startxref\n")[1].split(b"\n")[0])
    assert content[place:].startswith(b"xref\n")
    for n, entry in enumerate(content[place:].split(b"\n")[3:8], 1):
        assert content[int(entry[:10]) :].startswith(b"%d 0 obj" % n)
