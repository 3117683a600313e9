"""How long a firm has to answer a person, by the law they invoke."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from commands.contacts import CreateContact
from commands.privacy import ExtendRequest, RequestOfPerson
from domain.privacy import CannotBeExtended, Ground, Kind
from tests.desk import Desk

FRIDAY = datetime(2026, 1, 2, 9, 30, tzinfo=UTC)


async def asked(desk: Desk, kind: Kind, ground: Ground, at: datetime = FRIDAY) -> tuple[UUID, UUID, datetime]:
    """A request of a person, and when it is due."""
    person = UUID((await desk.do(CreateContact(given="Ann")))["id"])
    done = await desk.do(RequestOfPerson(id=person, kind=kind, ground=ground, received_at=at))
    return person, UUID(done["request"]), done["events"][0].due_by


@pytest.mark.invariant("PY6")
@pytest.mark.parametrize(
    ("ground", "due", "extended"),
    [
        ("gdpr", "2026-02-02", "2026-04-02"),
        ("uk-gdpr", "2026-02-02", "2026-04-02"),
        ("ccpa", "2026-02-16", "2026-04-02"),
        ("pipeda", "2026-02-01", "2026-03-03"),
        ("other", "2026-02-02", "2026-04-02"),
    ],
)
async def test_the_law_that_is_invoked_says_when_an_answer_is_due(ground: Ground, due: str, extended: str) -> None:
    desk = Desk()
    person, request, by = await asked(desk, "access", ground)
    assert by == datetime.fromisoformat(f"{due}T09:30:00Z")
    done = await desk.do(ExtendRequest(id=person, request=request, because="complexity"))
    assert done["events"][0].due_by == datetime.fromisoformat(f"{extended}T09:30:00Z")


@pytest.mark.invariant("PY6")
async def test_an_opt_out_of_sale_under_the_ccpa_is_due_in_fifteen_working_days_and_not_later() -> None:
    desk = Desk()
    person, request, by = await asked(desk, "opt_out_of_sale", "ccpa")
    assert by == datetime(2026, 1, 23, 9, 30, tzinfo=UTC)
    with pytest.raises(CannotBeExtended):
        await desk.do(ExtendRequest(id=person, request=request, because="complexity"))
    _, _, from_sunday = await asked(desk, "opt_out_of_sale", "ccpa", datetime(2026, 1, 4, 9, 30, tzinfo=UTC))
    assert from_sunday == datetime(2026, 1, 23, 9, 30, tzinfo=UTC)


@pytest.mark.invariant("PY6")
async def test_a_month_from_the_end_of_january_ends_with_february() -> None:
    _, _, due = await asked(Desk(), "erase", "gdpr", datetime(2025, 1, 31, 23, 0, tzinfo=UTC))
    assert due == datetime(2025, 2, 28, 23, 0, tzinfo=UTC)
