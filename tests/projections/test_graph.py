"""The views of the graph: which nodes there are, which edges, since when and until when, and who did what how often."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from commands import (
    consent,
    contacts,
    deals,
    members,
    notes,
    organisations,
    pipelines,
    projects,
    purposes,
    relations,
    tasks,
)
from commands.kernel import Actor
from commands.notices import CreateNotice
from domain.deals import DealNoted
from domain.documents import DocumentAdded, DocumentLinked, DocumentUnlinked
from domain.members import ALL_PERMISSIONS
from projections.graph_edges import ACTS, GRAPH_EDGES, GraphEdgeRow, fold, keys
from projections.graph_nodes import GRAPH_NODES, purpose_id
from projections.kernel import Recorded
from tests.commands.test_undo_each import a_stage
from tests.desk import Desk


class Office(Desk):
    """A firm with a pipeline, two members and whatever a test adds."""

    ann: UUID
    ben: UUID

    @classmethod
    async def open(cls) -> "Office":
        office = cls()
        stages = [{"name": "Enquiry"}, {"name": "Won", "kind": "won"}]
        made = await office.make_one(pipelines.DefinePipeline, name="Mandates", stages=stages)
        office.pipeline = made
        office.ann, office.ben = [
            await office.make_one(
                members.AddMember, permissions=ALL_PERMISSIONS, name=n, email=f"{n}@example.com", roles=["adviser"]
            )
            for n in ("Ann", "Ben")
        ]
        return office

    pipeline: UUID

    async def make_one(
        self, model: Any, *, actor: Actor | None = None, permissions: frozenset[str] = frozenset(), **said: Any
    ) -> UUID:
        command = model.model_validate_json(orjson.dumps(said, default=str))
        return UUID((await self.do(command, actor=actor, permissions=permissions))["id"])

    async def contact(self, name: str, **said: Any) -> UUID:
        return await self.make_one(contacts.CreateContact, given=name, **said)

    async def deal(self, title: str, **said: Any) -> UUID:
        return await self.make_one(deals.OpenDeal, title=title, pipeline=self.pipeline, **said)

    def happened(self, stream: str, id: UUID, *events: object) -> None:
        """Events without the command that leads to them."""
        for e in events:
            at = len(self.record) + 1
            self.record.append(replace(noted(at, self.now, self.ann, id), stream_type=stream, name="", event=e, firm=self.firm))

    def edges(self, kind: str | None = None) -> list[GraphEdgeRow]:
        return [e for e in self.rows(GRAPH_EDGES).values() if kind is None or e.kind == kind]

    def edge(self, kind: str) -> GraphEdgeRow:
        (only,) = self.edges(kind)
        return only


def as_member(id: UUID) -> Actor:
    return Actor("member", str(id))


async def test_a_node_shows_what_a_thing_is_called_and_how_it_stands_and_another_stays_as_it_was() -> None:
    office = await Office.open()
    anna, other = await office.contact("Anna"), await office.contact("Otto")
    deal = await office.deal("House", amount="100", currency="EUR")
    acme = await office.make_one(organisations.CreateOrganisation, name="Acme")
    before = office.rows(GRAPH_NODES)[other]
    await office.do(contacts.AmendContact.model_validate({"id": anna, "family": "Berg"}))
    await office.do(contacts.ArchiveContact(id=anna))
    await office.do(deals.WinDeal.model_validate({"id": deal, "amount": "120", "currency": "EUR"}))
    rows = office.rows(GRAPH_NODES)
    assert (rows[anna].kind, rows[anna].label, rows[anna].status, rows[anna].subject) == ("contact", "Anna Berg", "archived", anna)
    assert (rows[acme].label, rows[acme].subject) == ("Acme", None)
    assert (rows[deal].status, rows[deal].amount, rows[deal].closed_on) == ("won", Decimal(120), office.now.date())
    assert rows[other] == before
    assert {rows[m].label for m in (office.ann, office.ben)} == {"Ann", "Ben"}


async def test_a_merged_contact_points_to_the_survivor_until_it_is_unmerged() -> None:
    office = await Office.open()
    one, other = await office.contact("Anna"), await office.contact("Ana")
    await office.do(contacts.MergeContact.model_validate({"id": one, "other": other}))
    assert (office.rows(GRAPH_NODES)[other].status, office.edge("merged_into").target) == ("merged", one)
    office.pass_time(days=1)
    await office.do(contacts.UnmergeContact.model_validate({"id": one, "other": other}))
    assert (office.rows(GRAPH_NODES)[other].status, office.edge("merged_into").until) == ("active", office.now)
    assert office.rows(GRAPH_NODES)[one].label == "Anna"


@pytest.mark.invariant("G1")
async def test_a_relation_is_an_edge_from_its_first_day_through_its_last_and_gone_when_removed() -> None:
    office = await Office.open()
    anna, acme = await office.contact("Anna"), await office.make_one(organisations.CreateOrganisation, name="Acme")
    said: dict[str, Any] = {
        "kind": "employs",
        "source_type": "organisation",
        "source": acme,
        "target_type": "contact",
        "target": anna,
    }
    relation = await office.make_one(relations.RelateParties, **said, label="Director", valid_from="2025-03-01")
    e = office.edge("works_at")
    assert (e.source, e.target, e.role, e.sealed, e.person) == (anna, acme, "Director", True, anna)
    assert (e.since, e.until) == (datetime(2025, 3, 1, tzinfo=UTC), None)
    await office.do(relations.EndRelation(id=relation, on=date(2025, 12, 31)))
    assert office.edge("works_at").until == datetime(2026, 1, 1, tzinfo=UTC)
    await office.do(relations.AmendRelation.model_validate({"id": relation, "label": "Chair"}))
    e = office.edge("works_at")
    assert (e.role, e.since, e.until) == ("Chair", datetime(2025, 3, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    await office.do(relations.RemoveRelation(id=relation))
    assert office.edges("works_at") == []


@pytest.mark.invariant("G2")
async def test_an_owner_and_an_assignee_are_edges_that_turn_to_the_new_one() -> None:
    office = await Office.open()
    task = await office.make_one(tasks.CreateTask, title="Survey", assignee=office.ann)
    first = office.edge("assigned_to")
    assert (first.source, first.target, first.since) == (task, office.ann, office.now)
    office.pass_time(days=1)
    await office.do(tasks.AssignTask(id=task, assignee=office.ben))
    turned = office.edge("assigned_to")
    assert (turned.target, turned.since, turned.count) == (office.ben, office.now, 2)
    office.pass_time(days=1)
    await office.do(tasks.UnassignTask(id=task))
    assert office.edge("assigned_to").until == office.now
    deal = await office.deal("House", owner=office.ann)
    await office.do(deals.AssignDeal.model_validate({"id": deal, "owner": office.ben}))
    assert office.edge("owned_by").target == office.ben


async def test_deals_projects_documents_and_tasks_hang_together() -> None:
    office = await Office.open()
    anna = await office.contact("Anna")
    parties = [{"kind": "contact", "party_id": anna, "role": role} for role in ("client", "guarantor")]
    deal = await office.deal("House", parties=parties)
    project = await office.make_one(projects.CreateProject, name="Move", deal=deal)
    task = await office.make_one(tasks.CreateTask, title="Survey", project=project, deal=deal, contact=anna)
    document = uuid4()
    office.happened("document", document, DocumentAdded(title="Plan"), DocumentLinked(kind="deal", target=deal))
    await office.do(projects.AddMember.model_validate({"id": project, "member": office.ben, "role": "lead"}))
    found = {(e.source, e.kind, e.role, e.target) for e in office.edges() if e.kind != "acted_on"}
    assert found == {
        (anna, "party_to", "client", deal),
        (anna, "party_to", "guarantor", deal),
        (project, "about", None, deal),
        (task, "part_of", None, project),
        (task, "about", None, deal),
        (task, "about", None, anna),
        (document, "about", None, deal),
        (office.ben, "works_on", "lead", project),
    }
    await office.do(deals.RemoveParty.model_validate({"id": deal, "kind": "contact", "party_id": anna, "role": "guarantor"}))
    office.happened("document", document, DocumentUnlinked(kind="deal", target=deal))
    ended = {(e.source, e.role) for e in office.edges() if e.until is not None}
    assert ended == {(anna, "guarantor"), (document, None)}


async def test_a_consent_is_an_edge_to_its_purpose_until_it_is_withdrawn() -> None:
    office = await Office.open()
    await office.make_one(purposes.DefinePurpose, key="news", name="News", dpv="https://w3id.org/dpv#DirectMarketing")
    notice = await office.make_one(CreateNotice, title="Privacy", language="en", text="We write.", purposes=["news"])
    anna = await office.contact("Anna")
    said = {"id": str(anna), "purposes": ["news"], "channel": "email"}
    given = {**said, "notice": {"id": str(notice)}}
    await office.do(consent.GiveConsent.model_validate_json(orjson.dumps(given)))
    e = office.edge("consented_to")
    assert (e.source, e.target, e.role, e.since, e.sealed) == (anna, purpose_id(office.firm, "news"), "email", office.now, False)
    assert office.rows(GRAPH_NODES)[e.target].label == "news"
    office.pass_time(days=1)
    await office.do(consent.WithdrawConsent.model_validate_json(orjson.dumps(said)))
    assert office.edge("consented_to").until == office.now


@pytest.mark.invariant("G3")
async def test_what_a_member_does_is_counted_with_its_first_and_last_time() -> None:
    office = await Office.open()
    deal, other = await office.deal("House"), await office.deal("Other")
    first = office.now
    for _ in range(3):
        await office.do(deals.NoteOnDeal(id=deal, note="Called"), actor=as_member(office.ann))
        office.pass_time(hours=1)
    await office.do(deals.NoteOnDeal(id=other, note="Hm"), actor=Actor("system", "operator"))
    (e,) = [e for e in office.edges("acted_on") if e.source == office.ann]
    assert (e.target, e.count, e.since, e.last_at, e.last_event) == (deal, 3, first, first + timedelta(hours=2), "deals.Noted.v1")
    anna = await office.contact("Anna")
    await office.make_one(notes.WriteNote, actor=as_member(office.ben), about_type="contact", about=anna, text="Nice")
    assert (office.edge("noted").source, office.edge("noted").target) == (office.ben, anna)


def noted(position: int, at: datetime, member: UUID, deal: UUID) -> Recorded:
    return Recorded(
        position=position,
        firm=Desk().firm,
        firm_position=position,
        stream_type="deal",
        stream_id=deal,
        version=position,
        event_id=UUID(int=position),
        name="deals.Noted.v1",
        event=DealNoted(note="x"),
        occurred_at=at,
        recorded_at=at,
        actor=f"member/{member}",
        origin=None,
        command_id="",
    )


@pytest.mark.invariant("G4")
def test_a_late_act_is_counted_and_is_not_the_last_one() -> None:
    member, deal = uuid4(), uuid4()
    today = datetime(2026, 5, 1, tzinfo=UTC)
    one, late = noted(1, today, member, deal), noted(2, today - timedelta(days=3), member, deal)
    (key,) = keys(one)
    row = fold(fold(None, key, one), key, late)
    assert row is not None
    assert (row.count, row.since, row.last_at, row.last_event_id) == (2, late.occurred_at, today, one.event_id)


def test_a_performer_did_it_and_an_actor_without_an_id_leaves_no_edge() -> None:
    member, performer, deal = uuid4(), uuid4(), uuid4()
    r = noted(1, datetime(2026, 5, 1, tzinfo=UTC), member, deal)
    told = replace(r, event=DealNoted(note="x", performer=performer))
    (key,) = keys(told)
    row = fold(None, key, told)
    assert row is not None
    assert row.source == performer
    assert list(keys(replace(r, actor="member/test"))) == []


OFFER = {"id": "@deal", "offer": "@offer"}
# What is done, to which node, and how the node then shows it.
SHOWN: list[tuple[list[tuple[str, dict[str, Any]]], str, dict[str, Any]]] = [
    ([("documents.rename", {"id": "@letter", "title": "Deed"})], "letter", {"label": "Deed"}),
    ([("documents.archive", {"id": "@letter"})], "letter", {"archived": True}),
    ([("documents.discard", {"id": "@letter", "reason": "Done"})], "letter", {"label": None, "status": "discarded"}),
    ([("tasks.amend", {"id": "@a", "title": "Pack"})], "a", {"label": "Pack"}),
    ([("tasks.complete", {"id": "@a"})], "a", {"status": "completed"}),
    ([("tasks.cancel", {"id": "@a"})], "a", {"status": "cancelled"}),
    ([("tasks.complete", {"id": "@a"}), ("tasks.reopen", {"id": "@a"})], "a", {"status": "open"}),
    ([("tasks.archive", {"id": "@a"})], "a", {"archived": True}),
    ([("tasks.archive", {"id": "@a"}), ("tasks.restore", {"id": "@a"})], "a", {"archived": False}),
    ([("projects.amend", {"id": "@project", "name": "Moving"})], "project", {"label": "Moving"}),
    ([("projects.complete", {"id": "@project"})], "project", {"status": "completed"}),
    ([("projects.cancel", {"id": "@project"})], "project", {"status": "cancelled"}),
    ([("projects.cancel", {"id": "@project"}), ("projects.reopen", {"id": "@project"})], "project", {"status": "active"}),
    ([("members.rename", {"id": "@max", "name": "Maximilian"})], "max", {"label": "Maximilian"}),
    ([("members.deactivate", {"id": "@max"})], "max", {"status": "inactive"}),
    ([("members.deactivate", {"id": "@max"}), ("members.reactivate", {"id": "@max"})], "max", {"status": "active"}),
    ([("keys.rename", {"id": "@key", "name": "Of the shop"})], "key", {"label": "Of the shop"}),
    ([("keys.revoke", {"id": "@key"})], "key", {"status": "revoked"}),
    ([("organisations.amend", {"id": "@acme", "name": "Acme Ltd"})], "acme", {"label": "Acme Ltd", "status": "active"}),
    ([("organisations.archive", {"id": "@acme"})], "acme", {"archived": True, "status": "archived", "label": "Acme"}),
    (
        [("deals.amend", {"id": "@deal", "title": "Home", "amount": "20", "currency": "CHF"})],
        "deal",
        {"label": "Home", "amount": Decimal(20), "currency": "CHF"},
    ),
    ([("deals.amend", {"id": "@deal", "amount": None})], "deal", {"amount": None, "currency": None, "label": "House"}),
    ([("deals.lose", {"id": "@deal", "reason_code": "price"})], "deal", {"status": "lost", "closed_on": date(2026, 1, 5)}),
    (
        [("deals.lose", {"id": "@deal", "reason_code": "price"}), ("deals.reopen", {"id": "@deal"})],
        "deal",
        {"status": "open", "closed_on": None},
    ),
    ([("offers.create", OFFER)], "offer", {"status": "created"}),
    ([("offers.send", OFFER)], "offer", {"status": "sent"}),
    ([("offers.send", OFFER), ("offers.accept", OFFER)], "offer", {"status": "accepted"}),
    ([("offers.send", OFFER), ("offers.decline", OFFER)], "offer", {"status": "declined"}),
    ([("offers.expire", {"id": "@deal", "offer": "@two"})], "two", {"status": "expired"}),
]


@pytest.mark.parametrize(("done", "node", "shown"), SHOWN, ids=[f"{n}-{n_}" for n, (_, n_, _) in enumerate(SHOWN)])
async def test_what_is_done_to_a_thing_is_seen_at_its_node_and_at_no_other(
    tmp_path: Path, done: list[tuple[str, dict[str, Any]]], node: str, shown: dict[str, Any]
) -> None:
    stage = await a_stage(tmp_path)
    before = stage.desk.rows(GRAPH_NODES)
    for name, body in done:
        await stage.do(name, body)
    after = stage.desk.rows(GRAPH_NODES)
    id = UUID(stage.ids[node])
    assert {name: getattr(after[id], name) for name in shown} == shown
    assert {k: row for k, row in after.items() if k != id} == {k: row for k, row in before.items() if k != id}


LINKED = [
    (f"{plural}.link", f"{plural}.unlink", {"id": f"@{thing}", word: what, "target": f"@{target}"}, ("about", thing, target))
    for plural, thing, word, ends in (
        (
            "documents",
            "letter",
            "kind",
            {"contact": "ann", "organisation": "acme", "deal": "deal", "task": "a", "project": "project"},
        ),
        ("tasks", "a", "what", {"contact": "ann", "organisation": "acme", "deal": "deal", "document": "letter"}),
        ("projects", "project", "what", {"contact": "ann", "organisation": "acme", "deal": "deal"}),
    )
    for what, target in ends.items()
]
TIES: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]], tuple[str, str, str]]] = [
    *(((link, body), (unlink, body), edge) for link, unlink, body, edge in LINKED),
    *(
        (
            (f"{plural}.assign", {"id": f"@{id}", "owner": "@mia"}),
            (f"{plural}.assign", {"id": f"@{id}", "owner": None}),
            ("owned_by", id, "mia"),
        )
        for plural, id in (("contacts", "ann"), ("organisations", "acme"), ("deals", "deal"))
    ),
    (
        ("organisations.place", {"id": "@acme", "parent": "@beta"}),
        ("organisations.place", {"id": "@acme", "parent": None}),
        ("part_of", "acme", "beta"),
    ),
    *(
        (
            (f"{plural}.merge", {"id": f"@{a}", "other": f"@{b}"}),
            (f"{plural}.unmerge", {"id": f"@{a}", "other": f"@{b}"}),
            ("merged_into", b, a),
        )
        for plural, a, b in (("contacts", "ann", "bob"), ("organisations", "acme", "beta"))
    ),
    (
        ("deals.add_party", {"id": "@deal", "kind": "organisation", "party_id": "@acme", "role": "lender"}),
        ("deals.remove_party", {"id": "@deal", "kind": "organisation", "party_id": "@acme", "role": "lender"}),
        ("party_to", "acme", "deal"),
    ),
    (("tasks.assign", {"id": "@a", "assignee": "@max"}), ("tasks.unassign", {"id": "@a"}), ("assigned_to", "a", "max")),
    (
        ("projects.add_tasks", {"id": "@project", "tasks": ["@free"]}),
        ("projects.remove_task", {"id": "@project", "task": "@free"}),
        ("part_of", "free", "project"),
    ),
    (
        ("projects.add_member", {"id": "@project", "member": "@max", "role": "lead"}),
        ("projects.remove_member", {"id": "@project", "member": "@max"}),
        ("works_on", "max", "project"),
    ),
    (
        ("projects.add_dependency", {"=dependency": "wait", "id": "@project", "predecessor": "@a", "successor": "@b"}),
        ("projects.remove_dependencies", {"id": "@project", "dependencies": ["@wait"]}),
        ("precedes", "a", "b"),
    ),
]


@pytest.mark.parametrize(("tie", "loosen", "edge"), TIES, ids=[f"{t[0]}-{e[2]}" for t, _, e in TIES])
async def test_what_ties_two_things_is_one_edge_until_it_is_loosened(
    tmp_path: Path, tie: tuple[str, dict[str, Any]], loosen: tuple[str, dict[str, Any]], edge: tuple[str, str, str]
) -> None:
    stage = await a_stage(tmp_path)
    kind, source, target = edge

    def ties() -> set[tuple[str, UUID, UUID]]:
        standing = stage.desk.rows(GRAPH_EDGES).values()
        return {(e.kind, e.source, e.target) for e in standing if e.kind not in ACTS and e.until is None}

    before = ties()
    await stage.do(*tie)
    assert ties() - before == {(kind, UUID(stage.ids[source]), UUID(stage.ids[target]))}
    assert before <= ties()
    nodes = stage.desk.rows(GRAPH_NODES)
    for e in (e for e in stage.desk.rows(GRAPH_EDGES).values() if e.kind not in ACTS):
        assert (e.source_kind, e.target_kind) == (nodes[e.source].kind, nodes[e.target].kind)
    await stage.do(*loosen)
    assert ties() == before
