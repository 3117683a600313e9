"""Firms: the practice whose record this is, where its data lives, how it reckons, and who owns it.

F1  A firm is created once; its region never changes, because its data stays where it was promised to stay.
F2  A suspended firm is neither renamed nor set differently until it is reactivated.
F3  A firm that has had an owner always has one: the last owner is not removed.
F4  Nothing is recorded when nothing changes.

F3 counts across members, and no view may be asked. So the owners stand on the firm's own stream: whatever makes a member
an active owner, or ends that, records the member's event and the firm's in one command. Two demotions at the same moment
both write to the firm at the version they read; one is carried out, the other is decided anew and refused.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from domain.kernel import Refused, Stream, event

MAX_OWNERS = 100


class Region(StrEnum):
    """Where a firm's data is kept."""

    EU = "eu"
    UK = "uk"
    CH = "ch"
    US = "us"
    CA = "ca"
    BR = "br"
    AU = "au"
    IN = "in"
    JP = "jp"
    SG = "sg"
    AE = "ae"
    ZA = "za"


class Weekday(StrEnum):
    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


_ISO_4217 = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC
    CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK
    JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR
    MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP
    STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW
    ZWG
"""
CURRENCIES = frozenset(_ISO_4217.split())
"""The circulating currencies of ISO 4217."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a firm reckons.

    `locale` is a BCP 47 tag, `time_zone` an IANA name, `currency` ISO 4217; `country` (ISO 3166-1 alpha-2) is the one meant by a
    phone number or an address that names none. `fiscal_year_start` is a month, 1 to 12. `double_opt_in` is what a request for
    consent does when it does not say. `retention_months` is how long a document is kept when nothing else says so; absent, until
    it is removed.
    """

    locale: str = "en"
    time_zone: str = "UTC"
    currency: str = "EUR"
    country: str | None = None
    first_weekday: Weekday = Weekday.MONDAY
    fiscal_year_start: int = 1
    double_opt_in: bool = True
    retention_months: int | None = None


# --- events


@event("firms.Created.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FirmCreated:
    name: str
    region: Region
    settings: Settings


@event("firms.Renamed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FirmRenamed:
    name: str


@event("firms.SettingsChanged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FirmSettingsChanged:
    """All settings as they stand after the change."""

    settings: Settings


@event("firms.Suspended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FirmSuspended:
    reason: str


@event("firms.Reactivated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FirmReactivated:
    pass


@event("firms.OwnerAdded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerAdded:
    member: UUID


@event("firms.OwnerRemoved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerRemoved:
    member: UUID


Event = FirmCreated | FirmRenamed | FirmSettingsChanged | FirmSuspended | FirmReactivated | OwnerAdded | OwnerRemoved

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Firm:
    exists: bool = False
    name: str = ""
    settings: Settings = Settings()
    suspended: bool = False
    owners: tuple[UUID, ...] = ()


# --- refusals


class FirmExists(Refused):
    """This firm has been created already. Change its settings instead."""


class FirmIsSuspended(Refused):
    """The firm is suspended, so nothing in it can be changed. Ask the operator to reactivate it."""


class LastOwner(Refused):
    """This member is the firm's last active owner, and a firm needs one. Make another member owner first."""


class TooManyOwners(Refused):
    """The firm has as many owners as it may have. Give the new member another role, or end an owner's first."""


# --- decisions


def create(firm: Firm, *, name: str, region: Region, settings: Settings) -> list[Event]:
    if firm.exists:
        raise FirmExists
    return [FirmCreated(name=name, region=region, settings=settings)]


def rename(firm: Firm, *, name: str) -> list[Event]:
    if firm.suspended:
        raise FirmIsSuspended
    return [] if name == firm.name else [FirmRenamed(name=name)]


def change_settings(firm: Firm, *, settings: Settings) -> list[Event]:
    if firm.suspended:
        raise FirmIsSuspended
    return [] if settings == firm.settings else [FirmSettingsChanged(settings=settings)]


def suspend(firm: Firm, *, reason: str) -> list[Event]:
    return [] if firm.suspended else [FirmSuspended(reason=reason)]


def reactivate(firm: Firm) -> list[Event]:
    return [FirmReactivated()] if firm.suspended else []


def add_owner(firm: Firm, *, member: UUID) -> list[Event]:
    if member in firm.owners:
        return []
    if len(firm.owners) >= MAX_OWNERS:
        raise TooManyOwners(limit=MAX_OWNERS)
    return [OwnerAdded(member=member)]


def remove_owner(firm: Firm, *, member: UUID) -> list[Event]:
    if member not in firm.owners:
        return []
    if len(firm.owners) == 1:
        raise LastOwner
    return [OwnerRemoved(member=member)]


# --- evolve


def evolve(firm: Firm, e: Event) -> Firm:
    match e:
        case FirmCreated():
            return replace(firm, exists=True, name=e.name, settings=e.settings)
        case FirmRenamed():
            return replace(firm, name=e.name)
        case FirmSettingsChanged():
            return replace(firm, settings=e.settings)
        case FirmSuspended():
            return replace(firm, suspended=True)
        case FirmReactivated():
            return replace(firm, suspended=False)
        case OwnerAdded():
            return replace(firm, owners=(*firm.owners, e.member))
        case OwnerRemoved():
            return replace(firm, owners=tuple(o for o in firm.owners if o != e.member))
        case _:
            assert_never(e)


FIRM = Stream("firm", Firm(), evolve)
