from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from commands.contacts import CreateContact
from commands.deals import (
    AddParty,
    AmendDeal,
    ArchiveDeal,
    AssignDeal,
    ItemiseDeal,
    LineAs,
    LoseDeal,
    MoveDeal,
    NoteOnDeal,
    OpenDeal,
    PartyAs,
    RecordDealActivity,
    RemoveParty,
    ReopenDeal,
    RestoreDeal,
    TransferDeal,
    WinDeal,
)
from commands.firms import CreateFirm
from commands.kernel import COMMANDS, Stale
from commands.members import AddMember, DeactivateMember
from commands.offers import AcceptOffer, CreateOffer, DeclineOffer, ReturnOffer, SelectOffer, SendOffer
from commands.organisations import CreateOrganisation
from commands.pipelines import (
    ArchivePipeline,
    DefinePipeline,
    MakePipelineDefault,
    NewStage,
    RedefinePipeline,
    RenamePipeline,
    RestorePipeline,
    StageAsWished,
)
from domain.deals import DealMoved, DealOpened, DealReopened, DealWon
from domain.deals.money import UnknownCurrency
from domain.deals.refusals import DealIsArchived, DealIsClosed, HappenedInTheFuture, OwnerIsInactive, StageCloses
from domain.kernel import NotFound
from domain.members import PERMISSIONS, Role
from domain.pipelines import (
    DefaultChosen,
    NoDefaultPipeline,
    PipelineArchived,
    PipelineDefaultGivenUp,
    PipelineId,
    PipelineIsArchived,
    PipelineMadeDefault,
    StageIsRetired,
    StageNotInPipeline,
)
from projections.deal_activities import DEAL_ACTIVITIES
from projections.deals import DEALS, DealRow
from projections.offers import OFFERS
from projections.pipelines import PIPELINES, STAGES
from tests.desk import Desk

OWNER = PERMISSIONS[Role.OWNER]
LOANS = [
    NewStage(name="Enquiry", probability=10, time_limit_days=14),
    NewStage(name="Offer", probability=60),
    NewStage(name="Won", kind="won"),
    NewStage(name="Lost", kind="lost"),
]


class Office(Desk):
    """A firm with one pipeline."""

    pipeline: UUID
    stages: list[UUID]

    @classmethod
    async def open(cls) -> "Office":
        office = cls()
        office.pipeline, office.stages = await office.define("Loans", LOANS)
        return office

    async def define(self, name: str, stages: list[NewStage]) -> tuple[UUID, list[UUID]]:
        done = await self.do(DefinePipeline(name=name, stages=stages))
        return UUID(done["id"]), [UUID(s) for s in done["stages"]]

    async def deal(self, **how: Any) -> UUID:
        return UUID((await self.do(OpenDeal(**{"title": "House", **how})))["id"])

    def row(self, deal: UUID) -> DealRow:
        row: DealRow = self.rows(DEALS)[deal]
        return row


async def test_a_deal_begins_in_the_first_open_stage_of_the_default_pipeline() -> None:
    office = await Office.open()
    row = office.row(await office.deal(amount="20000.00", currency="EUR"))
    assert (row.pipeline_id, row.stage_id, row.stage_name) == (office.pipeline, office.stages[0], "Enquiry")
    assert (row.amount, row.currency, row.probability) == (Decimal("20000.00"), "EUR", 10)
    assert row.stage_due == office.now + timedelta(days=14)


@pytest.mark.invariant("P6")
async def test_the_first_pipeline_is_the_default_and_another_can_be_chosen() -> None:
    office = await Office.open()
    made, _ = await office.define("Mandates", [NewStage(name="First")])
    second = PipelineId(made)
    assert [r.is_default for r in office.rows(PIPELINES).values()] == [True, False]
    chosen = await office.do(MakePipelineDefault(id=second))
    assert chosen["events"] == [
        PipelineMadeDefault(previous=PipelineId(office.pipeline)),
        DefaultChosen(pipeline=second),
        PipelineDefaultGivenUp(successor=second),
    ]
    assert [r.is_default for r in office.rows(PIPELINES).values()] == [False, True]
    assert (await office.do(MakePipelineDefault(id=second)))["events"] == []
    archived = await office.do(ArchivePipeline(id=second, reason="merged"))
    assert archived["events"] == [DefaultChosen(), PipelineDefaultGivenUp(), PipelineArchived(reason="merged")]
    with pytest.raises(NoDefaultPipeline):
        await office.deal()
    await office.define("Third", [NewStage(name="First")])
    with pytest.raises(NoDefaultPipeline):
        await office.deal()


@pytest.mark.invariant("P5")
async def test_an_archived_pipeline_takes_no_deal_but_those_in_it_go_on() -> None:
    office = await Office.open()
    under_way = await office.deal()
    await office.do(ArchivePipeline(id=office.pipeline))
    with pytest.raises(PipelineIsArchived):
        await office.deal(pipeline=office.pipeline)
    await office.do(MoveDeal(id=under_way, stage=office.stages[1]))
    await office.do(WinDeal(id=under_way))
    await office.do(RestorePipeline(id=office.pipeline))
    assert office.row(await office.deal(pipeline=office.pipeline, stage=office.stages[1])).stage_name == "Offer"


@pytest.mark.invariant("P3")
async def test_redefining_a_pipeline_rewrites_no_history() -> None:
    office = await Office.open()
    resting, other = await office.deal(), await office.deal(stage=office.stages[1])
    untouched = office.row(other)
    done = await office.do(
        RedefinePipeline(
            id=office.pipeline,
            stages=[StageAsWished(name="Advice"), StageAsWished(stage_id=office.stages[1], name="Proposal", probability=70)],
        )
    )
    rows = office.rows(STAGES)
    assert [(r.name, r.place, r.retired) for r in sorted(rows.values(), key=lambda r: r.place)] == [
        ("Advice", 1, False),
        ("Proposal", 2, False),
        ("Enquiry", 3, True),
        ("Won", 4, True),
        ("Lost", 5, True),
    ]
    assert office.row(resting).stage_name == "Enquiry"
    assert office.row(other) == untouched
    with pytest.raises(StageIsRetired):
        await office.do(MoveDeal(id=other, stage=office.stages[0]))
    await office.do(MoveDeal(id=resting, stage=UUID(done["stages"][0])))
    assert office.row(resting).stage_name == "Advice"
    with pytest.raises(StageNotInPipeline):
        await office.do(RedefinePipeline(id=office.pipeline, stages=[StageAsWished(stage_id=uuid4(), name="x")]))


async def test_a_pipeline_is_renamed_where_it_is_listed_and_another_is_not() -> None:
    office = await Office.open()
    other, _ = await office.define("Mandates", [NewStage(name="First")])
    await office.do(RenamePipeline(id=office.pipeline, name="Credit", description="All"))
    rows = office.rows(PIPELINES)
    assert (rows[office.pipeline].name, rows[office.pipeline].description, rows[other].name) == ("Credit", "All", "Mandates")


async def test_parties_and_owners_must_exist_and_the_owner_be_active() -> None:
    office = await Office.open()
    await office.do(CreateFirm(name="Ash", owner_name="Ann", owner_email="ann@ash.example"))
    ben = UUID((await office.do(AddMember(name="Ben", email="ben@ash.example", roles=(Role.ADVISER,)), permissions=OWNER))["id"])
    eva = UUID((await office.do(CreateContact(given="Eva")))["id"])
    acme = UUID((await office.do(CreateOrganisation(name="Acme")))["id"])
    client = PartyAs(kind="contact", party_id=eva, role="client")
    deal = await office.deal(owner=ben, parties=[client, PartyAs(kind="organisation", party_id=acme, role="introducer")])
    row = office.row(deal)
    assert (row.owner_id, row.contact_id, row.contact_ids, row.organisation_ids) == (ben, eva, (eva,), (acme,))
    with pytest.raises(NotFound):
        await office.deal(parties=[PartyAs(kind="contact", party_id=acme, role="client")])
    with pytest.raises(NotFound):
        await office.deal(owner=eva)
    await office.do(AssignDeal(id=deal, owner=None))
    await office.do(DeactivateMember(id=ben), permissions=OWNER)
    with pytest.raises(OwnerIsInactive):
        await office.do(AssignDeal(id=deal, owner=ben))
    await office.do(AddParty(id=deal, kind="organisation", party_id=acme, role="guarantor"))
    await office.do(RemoveParty(id=deal, kind="contact", party_id=eva, role="client"))
    assert (office.row(deal).contact_id, len(office.row(deal).parties)) == (None, 2)


async def test_a_deal_goes_through_its_stages_and_its_times_are_known() -> None:
    office = await Office.open()
    deal, other = await office.deal(), await office.deal()
    before = office.row(other)
    enquiry, offer, won, _ = (str(s) for s in office.stages)
    office.pass_time(hours=2)
    await office.do(MoveDeal(id=deal, stage=office.stages[1], reason="papers are in"))
    office.pass_time(hours=3)
    with pytest.raises(StageCloses):
        await office.do(MoveDeal(id=deal, stage=office.stages[2]))
    done = await office.do(WinDeal(id=deal, amount="21000", currency="EUR"))
    assert isinstance(done["events"][0], DealWon)
    row = office.row(deal)
    assert (row.status, row.stage_name, row.probability, row.closed_on) == ("won", "Won", 100, office.now.date())
    assert (row.amount, row.currency, row.moves) == (Decimal(21000), "EUR", 1)
    assert row.stage_seconds == {enquiry: 7200, offer: 10800}
    assert (row.closed_at, row.stage_since, row.reason) == (office.now, office.now, None)
    office.pass_time(hours=1)
    reopened = await office.do(ReopenDeal(id=deal, reason="not signed"))
    assert isinstance(reopened["events"][0], DealReopened)
    row = office.row(deal)
    assert (row.status, row.stage_name, row.closed_at, row.closed_on) == ("open", "Offer", None, None)
    assert row.stage_seconds == {enquiry: 7200, offer: 10800, won: 3600}
    assert office.row(other) == before


async def test_a_deal_lost_where_it_stood_rests_no_longer() -> None:
    office = await Office.open()
    bare, (first,) = await office.define("Bare", [NewStage(name="First", time_limit_days=5)])
    deal = await office.deal(pipeline=bare)
    office.pass_time(hours=1)
    await office.do(LoseDeal(id=deal, reason_code="price", reason="the bank next door", closed_on=date(2026, 1, 4)))
    row = office.row(deal)
    assert (row.stage_id, row.stage_until, row.stage_due, row.stage_seconds) == (first, office.now, None, {})
    assert (row.lost_code, row.reason, row.closed_on) == ("price", "the bank next door", date(2026, 1, 4))
    office.pass_time(days=1)
    await office.do(ReopenDeal(id=deal))
    row = office.row(deal)
    assert (row.stage_seconds, row.stage_since, row.stage_until, row.lost_code) == ({str(first): 3600}, office.now, None, None)


async def test_a_deal_whose_stage_was_retired_is_reopened_in_a_stage_that_is_named() -> None:
    office = await Office.open()
    deal = await office.deal()
    await office.do(LoseDeal(id=deal, reason_code="price"))
    await office.do(RedefinePipeline(id=office.pipeline, stages=[StageAsWished(stage_id=office.stages[1], name="Offer")]))
    with pytest.raises(StageIsRetired):
        await office.do(ReopenDeal(id=deal))
    await office.do(ReopenDeal(id=deal, stage=office.stages[1]))
    assert office.row(deal).stage_name == "Offer"


async def test_a_deal_closed_where_it_stood_does_not_reopen_in_a_stage_retired_since() -> None:
    office = await Office.open()
    bare, (first,) = await office.define("Bare", [NewStage(name="First")])
    deal, resting = await office.deal(pipeline=bare), await office.deal(pipeline=bare)
    await office.do(LoseDeal(id=deal, reason_code="price"))
    await office.do(RedefinePipeline(id=bare, stages=[StageAsWished(name="Second")]))
    with pytest.raises(StageIsRetired):
        await office.do(ReopenDeal(id=deal))
    assert (await office.do(MoveDeal(id=resting, stage=first)))["events"] == []


async def test_a_deal_is_brought_into_another_pipeline() -> None:
    office = await Office.open()
    mandates, (first,) = await office.define("Mandates", [NewStage(name="First")])
    deal = await office.deal()
    with pytest.raises(StageNotInPipeline):
        await office.do(MoveDeal(id=deal, stage=first))
    await office.do(TransferDeal(id=deal, pipeline=mandates, reason="too big"))
    row = office.row(deal)
    assert (row.pipeline_id, row.stage_id, row.reason, row.moves) == (mandates, first, "too big", 1)


async def test_an_amendment_changes_what_is_named_and_null_removes() -> None:
    office = await Office.open()
    deal = await office.deal(amount="1", currency="EUR", source="web", attributes={"channel": "post"})
    await office.do(
        AmendDeal(id=deal, source=None, attributes={"channel": None, "region": "north"}, expected_close=date(2026, 5, 1))
    )
    row = office.row(deal)
    assert (row.title, row.amount, row.source, row.attributes) == ("House", Decimal(1), None, {"region": "north"})
    assert row.expected_close == date(2026, 5, 1)
    await office.do(AmendDeal(id=deal, amount=None, title="Flat"))
    row = office.row(deal)
    assert (row.title, row.amount, row.currency) == ("Flat", None, None)
    assert (await office.do(AmendDeal(id=deal, title="Flat", amount=None)))["events"] == []
    with pytest.raises(UnknownCurrency):
        await office.do(AmendDeal(id=deal, amount="1", currency="ZZZ"))


async def test_what_is_noted_and_done_is_listed_one_by_one() -> None:
    office = await Office.open()
    deal = await office.deal()
    await office.do(NoteOnDeal(id=deal, note="called, will call back"))
    await office.do(RecordDealActivity(id=deal, name="Site visit", details={"place": "Elm Road 4"}))
    await office.do(ItemiseDeal(id=deal, lines=[LineAs(product="GTX Pro", quantity="2", unit_price="4821")]))
    row = office.row(deal)
    assert (row.notes, row.last_note, row.activities, row.last_activity) == (1, "called, will call back", 1, "Site visit")
    assert (row.last_activity_details, row.products) == ({"place": "Elm Road 4"}, ("GTX Pro",))
    listed = list(office.rows(DEAL_ACTIVITIES).values())
    assert [(a.deal_id, a.kind, a.name, a.note) for a in listed] == [
        (deal, "note", None, "called, will call back"),
        (deal, "activity", "Site visit", None),
    ]


async def test_an_archived_deal_rests_until_it_is_restored() -> None:
    office = await Office.open()
    deal = await office.deal()
    await office.do(ArchiveDeal(id=deal, reason="entered twice"))
    assert (office.row(deal).archived, office.row(deal).reason) == (True, "entered twice")
    with pytest.raises(DealIsArchived):
        await office.do(MoveDeal(id=deal, stage=office.stages[1]))
    await office.do(RestoreDeal(id=deal))
    await office.do(MoveDeal(id=deal, stage=office.stages[1]))
    assert (office.row(deal).archived, office.row(deal).stage_name) == (False, "Offer")


async def test_an_offer_is_made_and_accepted_and_another_deals_offers_stay_as_they_are() -> None:
    office = await Office.open()
    deal, other = await office.deal(amount="20000", currency="EUR"), await office.deal()
    await office.do(SelectOffer(id=other))
    made = await office.do(
        SelectOffer(id=deal, amount="15000", rate="3.9", term_months=60, terms="fixed", valid_until=date(2026, 2, 1))
    )
    offer = UUID(made["offer"])
    steps = [
        CreateOffer(id=deal, offer=offer),
        SendOffer(id=deal, offer=offer, valid_until=date(2026, 3, 1)),
        ReturnOffer(id=deal, offer=offer, remark="signed"),
        AcceptOffer(id=deal, offer=offer),
    ]
    for step in steps:
        office.pass_time(hours=1)
        await office.do(step)
        assert (await office.do(step))["events"] == []
    rows = office.rows(OFFERS)
    accepted = rows.pop(offer)
    assert (accepted.deal_id, accepted.status, accepted.amount, accepted.currency) == (deal, "accepted", Decimal(15000), "EUR")
    assert (accepted.rate, accepted.term_months, accepted.terms) == (Decimal("3.9"), 60, "fixed")
    assert (accepted.remark, accepted.valid_until, accepted.settled_at) == ("signed", date(2026, 3, 1), office.now)
    assert accepted.selected_at < accepted.drawn_up_at < accepted.sent_at < accepted.returned_at < accepted.settled_at
    assert [(o.deal_id, o.status) for o in rows.values()] == [(other, "selected")]
    (listed,) = office.row(deal).offers
    assert (listed.id, listed.number, listed.status, listed.since) == (offer, 1, "accepted", office.now)
    await office.do(SelectOffer(id=deal))
    assert [o.number for o in office.row(deal).offers] == [1, 2]


async def test_a_declined_offer_says_why() -> None:
    office = await Office.open()
    deal = await office.deal()
    offer = UUID((await office.do(SelectOffer(id=deal)))["offer"])
    await office.do(SendOffer(id=deal, offer=offer))
    await office.do(LoseDeal(id=deal, reason_code="rate"))
    await office.do(DeclineOffer(id=deal, offer=offer, reason_code="rate", reason="4 % is too much"))
    row = office.rows(OFFERS)[offer]
    assert (row.status, row.reason_code, row.reason) == ("declined", "rate", "4 % is too much")
    with pytest.raises(DealIsClosed):
        await office.do(SelectOffer(id=deal))


async def test_what_happened_keeps_its_own_time_and_not_one_far_ahead() -> None:
    office = await Office.open()
    then = datetime(2025, 12, 24, 10, 0, tzinfo=UTC)
    deal = await office.deal(occurred_at=then)
    assert office.row(deal).opened_at == then
    await office.do(WinDeal(id=deal, occurred_at=then + timedelta(days=1)))
    assert (office.row(deal).closed_on, office.row(deal).closed_at) == (date(2025, 12, 25), then + timedelta(days=1))
    with pytest.raises(HappenedInTheFuture):
        await office.do(NoteOnDeal(id=deal, note="x", occurred_at=office.now + timedelta(days=2)))


async def test_a_stale_move_is_refused() -> None:
    office = await Office.open()
    deal = await office.deal()
    await office.do(NoteOnDeal(id=deal, note="x"))
    with pytest.raises(Stale):
        await office.do(MoveDeal(id=deal, stage=office.stages[1]), target=deal, expected_version=1)
    done = await office.do(MoveDeal(id=deal, stage=office.stages[1]), target=deal, expected_version=2)
    assert isinstance(done["events"][0], DealMoved)


async def test_a_deal_that_does_not_exist_is_not_found() -> None:
    office = await Office.open()
    for command in (MoveDeal(id=uuid4(), stage=office.stages[1]), WinDeal(id=uuid4()), SelectOffer(id=uuid4())):
        with pytest.raises(NotFound):
            await office.do(command)


@pytest.mark.parametrize(
    "body",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"title": "a\x00b"},
        {"title": "x", "amount": "1e3"},
        {"title": "x", "amount": "-1"},
        {"title": "x", "amount": 1},
        {"title": "x", "currency": "eur"},
        {"title": "x", "attributes": {"ü": "x"}},
        {"title": "x", "attributes": {f"a{n}": "x" for n in range(51)}},
        {"title": "x", "occurred_at": "2026-01-01T00:00:00"},
        {"title": "x", "colour": "red"},
        {"title": "x", "parties": [{"kind": "contact", "party_id": str(UUID(int=1)), "role": "Client"}]},
    ],
)
def test_a_malformed_deal_is_refused_before_anything_is_read(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OpenDeal.model_validate(body)


def test_every_command_on_deals_asks_for_the_permission_to_write_them() -> None:
    for spec in COMMANDS.values():
        area = spec.name.partition(".")[0]
        if area in {"deals", "offers"}:
            assert spec.permission == "deals:write"
        if area == "pipelines":
            assert spec.permission == "pipelines:write"


async def test_opening_is_one_event() -> None:
    office = await Office.open()
    done = await office.do(OpenDeal(title="House"))
    assert [type(e) for e in done["events"]] == [DealOpened]
