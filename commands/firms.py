"""Commands of a firm. Creating, suspending and reactivating one is the operator's; the rest is its owners'."""

import re
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Self
from uuid import UUID
from zoneinfo import available_timezones

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from commands.kernel import Answer, Command, Work, command
from commands.members import Email, PersonName, join
from domain import firms
from domain.firms import CURRENCIES, FIRM, Region, Settings, Weekday
from domain.members import ALL_PERMISSIONS, MEMBER, OPERATOR, Role

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _time_zone(value: str) -> str:
    if value not in _time_zones():
        raise ValueError("not a time zone of the IANA database; write it like Europe/Berlin")
    return value


def _locale(value: str) -> str:
    if not _LOCALE.fullmatch(value):
        raise ValueError("not a language tag; write it like en, de-AT or zh-Hant-TW")
    return value


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError("not a currency in circulation; write its ISO 4217 code, like EUR")
    return value


def _country(value: str) -> str:
    if value not in SUPPORTED_REGIONS:
        raise ValueError("not a country; write its ISO 3166-1 code, like DE")
    return value


FirmName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Locale = Annotated[str, StringConstraints(max_length=12), AfterValidator(_locale)]
TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_time_zone)]
Currency = Annotated[str, StringConstraints(min_length=3, max_length=3), AfterValidator(_currency)]
Country = Annotated[str, StringConstraints(min_length=2, max_length=2), AfterValidator(_country)]
Month = Annotated[int, Field(ge=1, le=12)]
RetentionMonths = Annotated[int, Field(ge=1, le=1200)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]+$")]


class CreateFirm(Command):
    name: FirmName
    region: Region = Region.EU
    locale: Locale = "en"
    time_zone: TimeZone = "UTC"
    currency: Currency = "EUR"
    country: Country | None = None
    first_weekday: Weekday = Weekday.MONDAY
    fiscal_year_start: Month = 1
    double_opt_in: bool = True
    retention_months: RetentionMonths | None = None
    owner_name: PersonName | None = None
    owner_email: Email | None = None

    @model_validator(mode="after")
    def _owner_is_whole(self) -> Self:
        if (self.owner_name is None) != (self.owner_email is None):
            raise ValueError("a first owner needs both owner_name and owner_email")
        return self


class RenameFirm(Command):
    id: UUID
    name: FirmName


class ChangeFirmSettings(Command):
    """Only what is given changes; `country` and `retention_months` are taken away by null."""

    id: UUID
    locale: Locale | None = None
    time_zone: TimeZone | None = None
    currency: Currency | None = None
    country: Country | None = None
    first_weekday: Weekday | None = None
    fiscal_year_start: Month | None = None
    double_opt_in: bool | None = None
    retention_months: RetentionMonths | None = None

    @model_validator(mode="after")
    def _something_to_change(self) -> Self:
        given = self.model_fields_set - {"id"}
        if not given:
            raise ValueError("name at least one setting to change")
        empty = sorted(f for f in given - {"country", "retention_months"} if getattr(self, f) is None)
        if empty:
            raise ValueError(f"a firm can't be without {', '.join(empty)}: give a value or leave it out")
        return self

    def settings(self, before: Settings) -> Settings:
        """The settings as they are to stand."""
        changes: dict[str, Any] = {f: getattr(self, f) for f in self.model_fields_set - {"id"}}
        return replace(before, **changes)


class SuspendFirm(Command):
    id: UUID
    reason: Reason


class ReactivateFirm(Command):
    id: UUID


@command("firms.create", "POST /firms", permission=OPERATOR, title="Create a firm", creates=True, undoable=False)
async def create(cmd: CreateFirm, w: Work) -> Answer:
    """Create a firm in a region, with its settings and, if named, its first owner."""
    firm = await w.find(FIRM, w.firm)
    settings = Settings(
        locale=cmd.locale,
        time_zone=cmd.time_zone,
        currency=cmd.currency,
        country=cmd.country,
        first_weekday=cmd.first_weekday,
        fiscal_year_start=cmd.fiscal_year_start,
        double_opt_in=cmd.double_opt_in,
        retention_months=cmd.retention_months,
    )
    w.record(firm, firms.create(firm.state, name=cmd.name, region=cmd.region, settings=settings))
    if cmd.owner_name is None or cmd.owner_email is None:
        return {"id": str(w.firm)}
    owner = w.create(MEMBER, w.new_id())
    await join(w, owner, name=cmd.owner_name, email=cmd.owner_email, roles=[Role.OWNER], by=ALL_PERMISSIONS)
    return {"id": str(w.firm), "owner": str(owner.id)}


@command("firms.rename", "POST /firms/{id}:rename", permission="firm:write", title="Rename the firm", target=FIRM)
async def rename(cmd: RenameFirm, w: Work) -> Answer:
    firm = await w.load(FIRM, cmd.id)
    w.record(firm, firms.rename(firm.state, name=cmd.name))
    return None


@command(
    "firms.change_settings",
    "POST /firms/{id}:change-settings",
    permission="firm:write",
    title="Change settings of the firm",
    target=FIRM,
)
async def change_settings(cmd: ChangeFirmSettings, w: Work) -> Answer:
    """Change the settings that are given and leave the others."""
    firm = await w.load(FIRM, cmd.id)
    w.record(firm, firms.change_settings(firm.state, settings=cmd.settings(firm.state.settings)))
    return None


@command("firms.suspend", "POST /firms/{id}:suspend", permission=OPERATOR, title="Suspend a firm", target=FIRM, undoable=False)
async def suspend(cmd: SuspendFirm, w: Work) -> Answer:
    """Suspend a firm: its keys are refused until it is reactivated, and its record stays."""
    firm = await w.load(FIRM, cmd.id)
    w.record(firm, firms.suspend(firm.state, reason=cmd.reason))
    return None


@command(
    "firms.reactivate", "POST /firms/{id}:reactivate", permission=OPERATOR, title="Reactivate a firm", target=FIRM, undoable=False
)
async def reactivate(cmd: ReactivateFirm, w: Work) -> Answer:
    firm = await w.load(FIRM, cmd.id)
    w.record(firm, firms.reactivate(firm.state))
    return None
