from datetime import date
from typing import Any
from uuid import UUID

import pytest

from commands.contacts import CreateContact
from commands.deals import (
    ItemiseDeal,
    LineAs,
    LoseDeal,
    MoveDeal,
    NoteOnDeal,
    OpenDeal,
    PartyAs,
    RecordDealActivity,
    ReopenDeal,
)
from commands.offers import CancelOffer, SelectOffer, SendOffer
from commands.pipelines import DefinePipeline, NewStage, RedefinePipeline, StageAsWished
from domain.kernel import FirmId
from infra.database import Database
from infra.projector.tables import Table
from infra.record import wire
from projections.deal_activities import DEAL_ACTIVITIES
from projections.deals import DEALS
from projections.kernel import View
from projections.offers import OFFERS
from projections.pipelines import PIPELINES, STAGES
from tests.desk import Desk
from tests.folding import fold_batch

VIEWS: list[View[Any]] = [PIPELINES, STAGES, DEALS, OFFERS, DEAL_ACTIVITIES]


@pytest.fixture
async def desk() -> Desk:
    """Two deals, one with everything a deal can have."""
    desk = Desk()
    stages = [
        NewStage(name="Enquiry", probability=10, time_limit_days=14),
        NewStage(name="Offer"),
        NewStage(name="Lost", kind="lost"),
    ]
    loans = await desk.do(DefinePipeline(name="Loans", description="All of them", stages=stages))
    eva = UUID((await desk.do(CreateContact(given="Eva")))["id"])
    await desk.do(OpenDeal(title="Flat"))
    opened = OpenDeal(
        title="House",
        amount="20000.00",
        currency="EUR",
        expected_close=date(2026, 6, 1),
        source="web",
        parties=[PartyAs(kind="contact", party_id=eva, role="borrower")],
        lines=[LineAs(product="Loan", quantity="1", unit_price="20000.5")],
        attributes={"channel": "post"},
    )
    deal = UUID((await desk.do(opened))["id"])
    desk.pass_time(hours=1)
    enquiry, offer, _ = (UUID(s) for s in loans["stages"])
    await desk.do(MoveDeal(id=deal, stage=offer, reason="papers are in"))
    made = UUID((await desk.do(SelectOffer(id=deal, amount="15000", rate="3.9", term_months=60, terms="fixed")))["offer"])
    await desk.do(SendOffer(id=deal, offer=made, valid_until=date(2026, 3, 1)))
    await desk.do(CancelOffer(id=deal, offer=made, reason_code="error", reason="wrong rate"))
    await desk.do(NoteOnDeal(id=deal, note="called"))
    await desk.do(RecordDealActivity(id=deal, name="Site visit", details={"place": "Elm Road 4"}))
    await desk.do(LoseDeal(id=deal, reason_code="rate", reason="the bank next door"))
    desk.pass_time(hours=1)
    await desk.do(ReopenDeal(id=deal))
    await desk.do(ItemiseDeal(id=deal, lines=[LineAs(product="Loan", quantity="2")]))
    await desk.do(RedefinePipeline(id=UUID(loans["id"]), stages=[StageAsWished(stage_id=enquiry, name="First")], reason="simpler"))
    return desk


@pytest.mark.parametrize("batch", [1, 1000])
async def test_rows_stored_in_postgresql_come_back_as_they_were_folded(database: Database, desk: Desk, batch: int) -> None:
    with database.connect("record") as c:
        wire.register(c)
        for view in VIEWS:
            table = Table(view)
            for start in range(0, len(desk.record), batch):
                with c.transaction():
                    fold_batch(view, table, c, desk.record[start : start + batch])
            rows = desk.rows(view)
            stored = table.load(c, [(desk.firm, key) for key in rows])
            assert {key: s.row for (_, key), s in stored.items()} == rows
            assert len(rows) >= 1


async def test_the_rows_of_another_firm_stay_untouched(database: Database, desk: Desk) -> None:
    with database.connect("record") as c:
        wire.register(c)
        for view in VIEWS:
            fold_batch(view, Table(view), c, desk.record)
            for key in desk.rows(view):
                assert Table(view).load(c, [(FirmId(UUID(int=7)), key)]) == {}


async def test_the_time_a_deal_has_rested_follows_from_its_row(desk: Desk) -> None:
    _, row = desk.rows(DEALS).values()
    enquiry, offer, lost = (
        s for s, r in sorted(desk.rows(STAGES).items(), key=lambda x: ["First", "Offer", "Lost"].index(x[1].name))
    )
    assert row.stage_seconds == {str(enquiry): 3600, str(offer): 0, str(lost): 3600}
    assert row.stage_since == desk.now
