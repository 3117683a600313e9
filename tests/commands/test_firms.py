from uuid import uuid4

import pytest
from pydantic import ValidationError

from commands.firms import ChangeFirmSettings, CreateFirm, ReactivateFirm, RenameFirm, SuspendFirm
from commands.kernel import COMMANDS
from domain.firms import FirmCreated, FirmExists, FirmSettingsChanged, OwnerAdded, Region, Settings
from domain.kernel import NotFound
from domain.members import AddressClaimed, MemberAdded, Role
from tests.desk import Desk


async def test_a_firm_is_created_under_the_id_of_the_firm_it_is() -> None:
    desk = Desk()
    done = await desk.do(CreateFirm(name="  Ash & Elm ", region="ch", time_zone="Europe/Zurich", currency="CHF"))
    assert done["id"] == str(desk.firm)
    assert done["events"] == [
        FirmCreated(name="Ash & Elm", region=Region.CH, settings=Settings(time_zone="Europe/Zurich", currency="CHF"))
    ]
    assert [(r.stream_type, r.stream_id) for r in desk.record] == [("firm", desk.firm)]


async def test_a_firm_is_created_with_its_first_owner_in_one_command() -> None:
    desk = Desk()
    done = await desk.do(CreateFirm(name="Ash", owner_name="Ann", owner_email="Ann@Ash.example"))
    kinds = [type(e) for e in done["events"]]
    assert kinds == [FirmCreated, MemberAdded, AddressClaimed, OwnerAdded]
    assert done["events"][1].roles == (Role.OWNER,)
    assert str(done["events"][3].member) == done["owner"]


async def test_a_firm_is_created_once() -> None:
    desk = Desk()
    await desk.do(CreateFirm(name="Ash"))
    with pytest.raises(FirmExists):
        await desk.do(CreateFirm(name="Elm"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"name": "a" * 201},
        {"name": "a\x00b"},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
        {"locale": "german"},
        {"currency": "DEM"},
        {"country": "XX"},
        {"region": "moon"},
        {"first_weekday": "someday"},
        {"fiscal_year_start": 13},
        {"retention_months": 0},
        {"owner_name": "Ann"},
        {"owner_email": "ann@ash.example"},
        {"unknown": 1},
    ],
)
def test_a_firm_with_a_wrong_value_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CreateFirm.model_validate({"name": "Ash", **wrong})


@pytest.mark.parametrize("locale", ["en", "de-AT", "zh-Hant-TW", "es-419", "gsw-CH"])
def test_ordinary_language_tags_are_taken(locale: str) -> None:
    assert CreateFirm(name="Ash", locale=locale).locale == locale


async def test_only_the_settings_that_are_given_change() -> None:
    desk = Desk()
    await desk.do(CreateFirm(name="Ash", time_zone="Europe/Vienna", country="AT", retention_months=84))
    done = await desk.do(ChangeFirmSettings(id=desk.firm, currency="CHF", retention_months=None))
    assert done["events"] == [
        FirmSettingsChanged(settings=Settings(time_zone="Europe/Vienna", country="AT", currency="CHF", retention_months=None))
    ]
    assert (await desk.do(ChangeFirmSettings(id=desk.firm, currency="CHF")))["events"] == []


def test_a_setting_a_firm_needs_is_not_taken_away() -> None:
    with pytest.raises(ValidationError, match="currency"):
        ChangeFirmSettings.model_validate({"id": str(uuid4()), "currency": None})
    with pytest.raises(ValidationError, match="at least one"):
        ChangeFirmSettings.model_validate({"id": str(uuid4())})


async def test_another_firm_is_not_found() -> None:
    desk = Desk()
    await desk.do(CreateFirm(name="Ash"))
    with pytest.raises(NotFound):
        await desk.do(RenameFirm(id=uuid4(), name="Mine"))


async def test_retrying_a_change_records_nothing_more() -> None:
    desk = Desk()
    await desk.do(CreateFirm(name="Ash"))
    for command in (RenameFirm(id=desk.firm, name="Elm"), SuspendFirm(id=desk.firm, reason="x"), ReactivateFirm(id=desk.firm)):
        assert len((await desk.do(command))["events"]) == 1
        assert (await desk.do(command))["events"] == []


def test_creating_suspending_and_reactivating_a_firm_are_the_operators() -> None:
    mine = {name for name, spec in COMMANDS.items() if spec.permission == "operator" and name.startswith("firms.")}
    assert mine == {"firms.create", "firms.suspend", "firms.reactivate"}
