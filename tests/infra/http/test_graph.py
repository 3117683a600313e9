"""The graph over HTTP: its questions, its forms, moments, pages, and what a key may not see."""

import csv
import io
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from defusedxml.ElementTree import fromstring

from domain.members import Role
from queries.graph.forms import graphml, inert
from tests.house import House

ML = "{http://graphml.graphdrawing.org/xmlns}"


class World:
    """Rita referred Anna, Anna referred Otto; Otto won a deal that Anna guarantees and Rita introduced; two members work on it."""

    ids: dict[str, str]

    def __init__(self, house: House) -> None:
        self.house = house
        self.ids = {}

    async def post(self, path: str, key: str | None = None, **said: Any) -> Any:
        client = self.house.client if key is None else self.house.as_key(key)
        done = await client.post(f"/v1/{path}", json=said)
        assert done.status_code in {200, 201}, done.text
        return done.json()

    async def contact(self, name: str) -> str:
        self.ids[name] = (await self.post("contacts", given=name))["id"]
        return self.ids[name]

    async def build(self) -> "World":
        ids = self.ids
        for name in ("Rita", "Anna", "Otto", "=SUM(A1)"):
            await self.contact(name)
        for one, other in (("Anna", "Rita"), ("Otto", "Anna")):
            await self.post(
                "relations", kind="referred_by", source_type="contact", source=ids[one], target_type="contact", target=ids[other]
            )
        pipeline = await self.post("pipelines", name="Mandates", stages=[{"name": "Open"}, {"name": "Won", "kind": "won"}])
        roles = (("Otto", "client"), ("Anna", "guarantor"), ("Rita", "introducer"), ("=SUM(A1)", "witness"))
        parties = [{"kind": "contact", "party_id": ids[name], "role": role} for name, role in roles]
        self.ids["deal"] = (
            await self.post("deals", title="House", pipeline=pipeline["id"], amount="1000.50", currency="EUR", parties=parties)
        )["id"]
        for name in ("Mia", "Max"):
            member = await self.post("members", name=name, email=f"{name}@example.com", roles=["adviser"])
            self.ids[name] = member["id"]
            key = await self.post("keys", name=name, member=member["id"])
            await self.house.settle()
            await self.post(f"deals/{ids['deal']}:note", key["api_key"], note="Called")
        self.before_won = datetime.now(UTC)
        await self.post(f"deals/{ids['deal']}:win")
        await self.house.settle()
        return self

    async def get(self, path: str, client: Any = None, **asked: Any) -> Any:
        done = await (client or self.house.client).get(f"/v1/graph/{path}", params=asked)
        assert done.status_code == 200, done.text
        return done.json()

    def at(self, name: str) -> str:
        return f"contact/{self.ids[name]}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(house: House) -> World:
    return await World(house).build()


def labels(answer: Any) -> set[str | None]:
    return {n["label"] for n in answer["nodes"]}


async def test_a_neighbourhood_is_drawn_as_nodes_and_edges(world: World) -> None:
    near = await world.get(f"{world.at('Anna')}/neighbourhood", depth=1, node_kinds="contact,deal")
    assert labels(near) == {"Anna", "Rita", "Otto", "House"}
    assert {e["kind"] for e in near["edges"]} == {"referred_by", "party_to"}
    assert {n["distance"] for n in near["nodes"]} == {0, 1}
    (deal,) = [n for n in near["nodes"] if n["kind"] == "deal"]
    assert (deal["status"], deal["amount"], near["truncated"]) == ("won", "1000.50", False)
    fewer = await world.get(f"{world.at('Anna')}/neighbourhood", edge_kinds="party_to")
    assert labels(fewer) == {"Anna", "House"}


async def test_pages_of_a_neighbourhood_add_up_to_the_whole(world: World) -> None:
    path = f"{world.at('Anna')}/neighbourhood"
    whole = await world.get(path, depth=3)
    nodes, edges, token = [], [], ""
    while True:
        page = await world.get(path, depth=3, page_size=2, **({"page_token": token} if token else {}))
        assert len(page["nodes"]) <= 2
        nodes += page["nodes"]
        edges += page["edges"]
        token = page["next_page_token"]
        if not token:
            break
    assert nodes == whole["nodes"]
    assert sorted(e["id"] for e in edges) == sorted(e["id"] for e in whole["edges"])
    first = await world.get(path, depth=3, page_size=2)
    wrong = await world.house.client.get(f"/v1/graph/{path}", params={"depth": 2, "page_token": first["next_page_token"]})
    assert (wrong.status_code, wrong.json()["type"]) == (422, "urn:chancery:problem:page-token-unusable")


async def test_paths_and_what_two_have_in_common(world: World) -> None:
    found = await world.get(
        f"{world.at('Rita')}/paths", to=world.at("Otto"), which="simple", max_depth=2, node_kinds="contact,deal"
    )
    ids = world.ids
    assert sorted(p["nodes"] for p in found["paths"]) == sorted([ids["Rita"], ids[via], ids["Otto"]] for via in ("Anna", "deal"))
    common = await world.get(f"{world.at('Rita')}/common", to=world.at("Otto"))
    assert [n["label"] for n in common["items"]] == ["Anna"]
    assert len(common["edges"]) == 2
    assert labels(await world.get(f"{world.at('Rita')}/common", to=world.at("Otto"), node_kinds="deal")) == {
        "Rita",
        "Otto",
        "House",
    }


async def test_chains_of_referrals_lead_to_what_was_won(world: World) -> None:
    told = await world.get("referrals", won_only=True)
    ids = world.ids
    chains = {(tuple(i["chain"]), i["via"]): i["won"] for i in told["items"]}
    won = [{"currency": "EUR", "amount": "1000.50"}]
    assert chains == {
        ((ids["Rita"], ids["Anna"]), "referred_by"): won,
        ((ids["Rita"], ids["Anna"], ids["Otto"]), "referred_by"): won,
        ((ids["Rita"],), "introducer"): won,
    }
    ours = await world.get("referrals", referrer=world.at("Anna"))
    assert [i["chain"] for i in ours["items"]] == [[ids["Anna"], ids["Otto"]]]
    earlier = await world.get("referrals", won_only=True, as_of=world.before_won.isoformat().replace("+00:00", "Z"))
    assert earlier["items"] == []
    rows = await table(world, "referrals", referrer=world.at("Anna"))
    assert [(r["referrer_label"], r["introduced_label"], r["deal_label"], r["amount"]) for r in rows] == [
        ("Anna", "Otto", "House", "1000.50")
    ]


async def test_members_who_worked_on_the_same_deal_are_a_pair(world: World) -> None:
    told = await world.get("co-working")
    (pair,) = [i for i in told["items"] if set(i["members"]) == {world.ids["Mia"], world.ids["Max"]}]
    assert (pair["shared"], pair["by_kind"]) == (1, {"deal": 1})
    only = await world.get("co-working", member=world.ids["Mia"])
    assert only["items"] == [pair]
    assert only["edges"][0]["kind"] == "co_worked"


async def test_the_most_connected_come_first_by_every_measure(world: World) -> None:
    for by in ("degree", "pagerank", "betweenness"):
        told = await world.get("central", by=by, node_kinds="contact,deal,member", edge_kinds="party_to,acted_on,referred_by")
        values = [n["value"] for n in told["items"]]
        assert values == sorted(values, reverse=True)
        assert told["items"][0]["label"] == "House", by
        assert told["edges"]
    two = await world.get("central", page_size=2)
    assert len(two["items"]) == 2
    following = await world.get("central", page_size=2, page_token=two["next_page_token"])
    assert following["items"][0]["id"] not in {n["id"] for n in two["items"]}


async def test_a_timeline_tells_what_happened_around_a_node(world: World) -> None:
    told = await world.get(f"deal/{world.ids['deal']}/timeline")
    acts = [i for i in told["items"] if i["kind"] == "acted_on" and i["source"] == world.ids["Mia"]]
    assert [i["event"] for i in acts] == ["deals.Noted.v1"]
    times = [i["at"] for i in told["items"]]
    assert times == sorted(times, reverse=True)
    assert {i["event"] for i in told["items"]} >= {"deals.Opened.v1", "deals.Noted.v1"}


async def test_communities_are_the_same_every_time(world: World) -> None:
    told = await world.get("communities")
    assert told == await world.get("communities")
    assert sum(i["size"] for i in told["items"]) == len(told["nodes"])
    assert {n["community"] for n in told["nodes"]} == {i["community"] for i in told["items"]}


async def table(world: World, path: str, **asked: Any) -> list[dict[str, str]]:
    done = await world.house.client.get(f"/v1/graph/{path}", params={**asked, "format": "csv"})
    assert done.headers["content-type"].startswith("text/csv")
    assert "attachment" in done.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(done.text)))


@pytest.mark.invariant("G8")
async def test_a_table_runs_no_formula(world: World) -> None:
    rows = await table(world, f"deal/{world.ids['deal']}/neighbourhood", edge_kinds="party_to")
    assert "'=SUM(A1)" in {r["source_label"] for r in rows}
    for text in ("=1", "+1", "-1", "@x", "\t=1", " =1", "\u00a0@x"):
        assert inert(text).startswith("'")
    assert (inert(-1), inert("plain"), inert(None), inert(True)) == ("-1", "plain", "", "true")


@pytest.mark.invariant("G9")
async def test_graphml_is_read_by_a_parser_and_every_end_is_a_node(world: World) -> None:
    for path in (
        f"{world.at('Anna')}/neighbourhood",
        "central",
        "communities",
        "referrals",
        "co-working",
        f"{world.at('Anna')}/timeline",
    ):
        done = await world.house.client.get(f"/v1/graph/{path}", params={"format": "graphml"})
        assert done.headers["content-type"].startswith("application/graphml+xml"), path
        root = fromstring(done.text)
        nodes = {n.get("id") for n in root.iter(f"{ML}node")}
        ends = {e.get(end) for e in root.iter(f"{ML}edge") for end in ("source", "target")}
        assert ends <= nodes, path
        assert nodes
    id = uuid4()
    root = fromstring(graphml([{"id": id, "kind": "contact", "label": 'a\x00<b>&"\ud800'}], []))
    assert [d.text for d in root.iter(f"{ML}data")] == ["contact", 'a\ufffd<b>&"\ufffd']


@pytest.mark.invariant("G5")
async def test_a_key_sees_the_kinds_it_may_read_and_no_names_without_personal_read(world: World) -> None:
    analyst = await world.house.as_role(Role.ANALYST)
    path = f"{world.at('Anna')}/neighbourhood"
    near = await world.get(path, analyst, node_kinds="contact,deal")
    assert labels(near) == {None}
    assert {e["kind"] for e in near["edges"]} == {"related_to", "party_to"}
    assert (await world.get(path, analyst, edge_kinds="referred_by"))["edges"] == []
    assert {i["via"] for i in (await world.get("referrals", analyst))["items"]} == {"introducer"}
    made = await world.post("keys", name="Deals only", role="owner", scopes=["firm:read", "contacts:read"])
    await world.house.settle()
    narrow = world.house.as_key(made["api_key"])
    assert {n["kind"] for n in (await world.get(path, narrow, depth=3))["nodes"]} == {"contact"}
    hidden = await narrow.get(f"/v1/graph/deal/{world.ids['deal']}/neighbourhood")
    assert hidden.status_code == 404
    assert (await world.get("co-working", narrow))["items"] == []
    made = await world.post("keys", name="Nothing", role="owner", scopes=["tasks:read"])
    await world.house.settle()
    assert (await world.house.as_key(made["api_key"]).get("/v1/graph/central")).status_code == 403


async def test_another_firm_finds_nothing_of_it(world: World) -> None:
    other = await world.house.another_firm()
    assert (await other.client.get(f"/v1/graph/{world.at('Anna')}/neighbourhood")).status_code == 404
    seen = {n["id"] for n in (await world.get("central", other.client, page_size=1000))["items"]}
    assert not seen & set(world.ids.values())


async def test_the_graph_is_read_as_of_a_moment(world: World) -> None:
    path = f"deal/{world.ids['deal']}/neighbourhood"
    then = await world.get(path, as_of=world.before_won.isoformat().replace("+00:00", "Z"), node_kinds="deal")
    now = await world.get(path, node_kinds="deal")
    assert ([n["status"] for n in then["nodes"]], [n["status"] for n in now["nodes"]]) == (["open"], ["won"])
    assert (await world.house.client.get(f"/v1/graph/{path}", params={"as_of": "2020-01-01T00:00:00Z"})).status_code == 404


# What each is asked about, with what, and what its pages hold.
QUESTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "neighbourhood": ("{Anna}/neighbourhood", {"depth": 2}, "nodes"),
    "shortest paths": ("{Rita}/paths", {"to": "{Otto}", "which": "shortest"}, "paths"),
    "all simple paths": ("{Rita}/paths", {"to": "{Otto}", "which": "simple"}, "paths"),
    "in common": ("{Rita}/common", {"to": "{Otto}"}, "items"),
    "timeline": ("{Anna}/timeline", {"depth": 1}, "items"),
    "co-working": ("co-working", {}, "items"),
    "degree": ("central", {"by": "degree"}, "items"),
    "pagerank": ("central", {"by": "pagerank"}, "items"),
    "betweenness": ("central", {"by": "betweenness"}, "items"),
    "communities": ("communities", {}, "items"),
    "referrals": ("referrals", {}, "items"),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_every_question_takes_a_moment_and_pages_and_is_answered_in_three_forms(world: World, name: str) -> None:
    path, asked, held = QUESTIONS[name]
    ends = {who: world.at(who) for who in ("Anna", "Rita", "Otto")}
    path, asked = path.format(**ends), {k: v.format(**ends) if isinstance(v, str) else v for k, v in asked.items()}
    whole = await world.get(path, **asked)
    assert whole[held]
    assert {"nodes", "edges"} <= set(whole)
    drawn = {n["id"] for n in whole["nodes"]}
    assert all({e["source"], e["target"]} <= drawn for e in whole["edges"])
    pages, token = [], ""
    while True:
        page = await world.get(path, **asked, page_size=1, **({"page_token": token} if token else {}))
        assert len(page[held]) <= 1
        pages += page[held]
        token = page["next_page_token"]
        if not token:
            break
    assert pages == whole[held]
    assert await table(world, path, **asked)
    drawing = await world.house.client.get(f"/v1/graph/{path}", params={**asked, "format": "graphml"})
    assert {n.get("id") for n in fromstring(drawing.text).iter(f"{ML}node")} == drawn
    then = await world.house.client.get(f"/v1/graph/{path}", params={**asked, "as_of": "2020-01-01T00:00:00Z"})
    if path.startswith("contact/"):
        assert then.status_code == 404
    else:
        assert (then.status_code, then.json()[held]) == (200, [])


async def test_what_can_not_be_asked_is_refused_with_what_can(world: World) -> None:
    client, anna = world.house.client, world.at("Anna")
    for path, asked, status, problem in (
        (f"{anna}/neighbourhood", {"depth": 99}, 422, None),
        (f"{anna}/neighbourhood", {"edge_kinds": "loves"}, 422, "no-such-kind"),
        (f"{anna}/paths", {"to": "somewhere"}, 422, "not-an-end"),
        (f"{anna}/paths", {"to": f"contact/{UUID(int=9)}"}, 404, None),
        (f"{anna}/common", {"to": anna}, 422, "same-ends"),
        (f"deal/{world.ids['Anna']}/neighbourhood", {}, 404, None),
        ("castle/1/neighbourhood", {}, 404, None),
        ("central", {"by": "beauty"}, 422, None),
        ("central", {"after": "2026-02-01T00:00:00Z", "before": "2026-01-01T00:00:00Z"}, 422, "period-ends-before-it-begins"),
    ):
        refused = await client.get(f"/v1/graph/{path}", params=asked)
        assert refused.status_code == status, (path, asked, refused.text)
        if problem:
            assert refused.json()["type"] == f"urn:chancery:problem:{problem}"
