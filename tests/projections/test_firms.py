from uuid import uuid4

from commands.firms import ChangeFirmSettings, CreateFirm, ReactivateFirm, RenameFirm, SuspendFirm
from domain.kernel import FirmId
from projections.firms import FIRMS, FirmRow
from tests.desk import Desk


async def test_the_firm_stands_as_it_was_created() -> None:
    desk = Desk()
    await desk.do(CreateFirm(name="Ash", region="us", time_zone="America/New_York", currency="USD", first_weekday="sunday"))
    assert desk.rows(FIRMS) == {
        desk.firm: FirmRow(
            name="Ash",
            region="us",
            locale="en",
            time_zone="America/New_York",
            currency="USD",
            first_weekday="sunday",
            fiscal_year_start=1,
            double_opt_in=True,
        )
    }


async def test_a_change_of_one_firm_leaves_another_untouched() -> None:
    desk = Desk()
    await desk.do(CreateFirm(name="Ash"))
    other, desk.firm = desk.firm, FirmId(uuid4())
    await desk.do(CreateFirm(name="Elm"))
    before = desk.rows(FIRMS)[other]
    await desk.do(RenameFirm(id=desk.firm, name="Oak"))
    await desk.do(ChangeFirmSettings(id=desk.firm, currency="CHF", country="CH", retention_months=120))
    await desk.do(SuspendFirm(id=desk.firm, reason="Unpaid"))
    row = desk.rows(FIRMS)[desk.firm]
    assert (row.name, row.currency, row.country, row.retention_months) == ("Oak", "CHF", "CH", 120)
    assert (row.status, row.suspended_because) == ("suspended", "Unpaid")
    assert desk.rows(FIRMS)[other] == before


async def test_a_reactivated_firm_is_active_without_a_reason() -> None:
    desk = Desk()
    await desk.do(CreateFirm(name="Ash"))
    await desk.do(SuspendFirm(id=desk.firm, reason="Unpaid"))
    await desk.do(ReactivateFirm(id=desk.firm))
    row = desk.rows(FIRMS)[desk.firm]
    assert (row.status, row.suspended_because) == ("active", None)


async def test_an_event_without_its_firm_makes_no_row() -> None:
    desk = Desk()
    await desk.do(CreateFirm(name="Ash"))
    await desk.do(RenameFirm(id=desk.firm, name="Elm"))
    assert FIRMS.fold(None, desk.firm, desk.record[-1]) is None
