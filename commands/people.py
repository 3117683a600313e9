"""What callers say of people and organisations, bounded, and how it is read into values: addresses checked, numbers normalised.

A `Reading` is strict or lenient. Strict, a bad value refuses the command and names the field. Lenient, as an import reads, a bad
value is kept as it came and flagged: in place where the value has a place for it (an email, a phone), among the issues otherwise.
A phone number that can't be read is kept and flagged either way.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, AwareDatetime, Field, StrictBool, StringConstraints, ValidationError

from commands.kernel import Command, Work
from domain.fields import FIELD, AppliesTo, Given, accept
from domain.firms import CURRENCIES, FIRM
from domain.kernel import Invalid, Refused
from domain.members import MEMBER
from domain.people import REASON, Address, Email, FieldValue, Issue, Link, Money, Phone

LIST = 100
ISSUES = 200
_ISO_3166_EXTRA = {"AQ", "BV", "GS", "HM", "PN", "TF", "UM"}
COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS) - {"AC", "TA", "XK"} | _ISO_3166_EXTRA
"""ISO 3166-1 alpha-2: the regions of the numbering plans without those ISO does not assign, and the territories without a plan."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,6}")
_DAY = re.compile(r"(?:(\d{4})|-)-(\d{2})-(\d{2})")
_PHOTO = re.compile(r"documents/[0-9a-f-]{36}|sha256:[0-9a-f]{64}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_HOST = re.compile(r"[^\s/:@]+\.[^\s/:@.]{2,}(?:[:/?#].*)?")
_UNSAFE = frozenset({"javascript", "data", "vbscript", "file", "blob", "about"})
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")


# --- bounded texts


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\r\t" for c in text):
        raise ValueError("holds control characters; remove them")
    return text


Short = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_plain)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300), AfterValidator(_plain)]
Uri = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2048), AfterValidator(_plain)]
Long = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000), AfterValidator(_plain)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON), AfterValidator(_plain)]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
FieldName = Annotated[str, StringConstraints(pattern=r"^(?:custom\.[a-z][a-z0-9_]{0,39}|[a-z][a-z_]{0,39})$")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2}$", to_upper=True)]
Custom = Annotated[
    StrictBool
    | Annotated[str, StringConstraints(max_length=4000), AfterValidator(_plain)]
    | Annotated[list[Short], Field(max_length=LIST)]
    | Decimal,
    Field(union_mode="left_to_right"),
]
CustomValues = Annotated[dict[Key, Custom | None], Field(max_length=200)]
CustomGiven = Annotated[dict[Key, Custom], Field(max_length=200)]
Tags = Annotated[list[Short], Field(max_length=LIST)]


class GivenEmail(Command):
    address: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=320), AfterValidator(_plain)]
    label: Short | None = None
    primary: bool = False


class GivenPhone(Command):
    number: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_plain)] = Field(
        description="As it is written. A number without a country code is read with `region`, else with the default region."
    )
    region: Country | None = None
    label: Short | None = None
    primary: bool = False


class GivenAddress(Command):
    street: Annotated[list[Name], Field(max_length=10)] = Field(default_factory=list)
    city: Name | None = None
    state: Name | None = None
    postal_code: Short | None = None
    country: Name | None = Field(default=None, description="ISO 3166-1 alpha-2, as `CH`.")
    country_name: Name | None = Field(default=None, description="The country as it is written.")
    latitude: Short | Decimal | None = Field(default=None, description="Degrees north, WGS 84, as decimal text.")
    longitude: Short | Decimal | None = Field(default=None, description="Degrees east, WGS 84, as decimal text.")
    label: Short | None = None
    primary: bool = False


class GivenLink(Command):
    url: Uri
    label: Short | None = None


class GivenIssue(Command):
    """A value an import found and could not place."""

    field: Short
    value: Annotated[str, StringConstraints(max_length=4000), AfterValidator(_plain)]
    reason: Name


class GivenMoney(Command):
    amount: Decimal = Field(ge=0, max_digits=24, decimal_places=4)
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{3}$", to_upper=True)]


Emails = Annotated[list[GivenEmail], Field(max_length=LIST)]
Phones = Annotated[list[GivenPhone], Field(max_length=LIST)]
Addresses = Annotated[list[GivenAddress], Field(max_length=LIST)]
Links = Annotated[list[GivenLink], Field(max_length=LIST)]
Issues = Annotated[list[GivenIssue], Field(max_length=ISSUES)]


# --- refusals


class BadValue(Invalid):
    """The value of a field is not acceptable."""


class SeveralPrimary(Invalid):
    """Only one entry of a list can be the primary one."""


class InTheFuture(Invalid):
    """The time it happened at lies more than a day in the future."""


# --- reading

E = TypeVar("E", Email, Phone, Address)


@dataclass(slots=True)
class Reading:
    """One reading of what a caller gave. `regions` are tried in order for phone numbers that name no country."""

    lenient: bool = False
    regions: tuple[str, ...] = ()
    issues: list[Issue] = field(default_factory=list)

    def flag(self, name: str, value: object, reason: str) -> None:
        """Refuse, or keep the value among the issues."""
        if not self.lenient:
            raise BadValue(field=name, reason=reason)
        if len(self.issues) < ISSUES:
            self.issues.append(Issue(field=name, value=str(value)[:4000], reason=reason))

    def emails(self, given: Sequence[GivenEmail]) -> tuple[Email, ...]:
        return _one_primary(
            self, "emails", [self._email(g, f"emails[{i}]") for i, g in enumerate(given)], lambda e: e.address.casefold()
        )

    def _email(self, given: GivenEmail, name: str) -> Email:
        try:
            address, issue = email_address(given.address), None
        except ValueError as bad:
            if not self.lenient:
                raise BadValue(field=name, reason=str(bad)) from None
            address, issue = given.address, str(bad)
        return Email(address=address, label=given.label, primary=given.primary, issue=issue)

    def phones(self, given: Sequence[GivenPhone]) -> tuple[Phone, ...]:
        return _one_primary(self, "phones", [self._phone(g) for g in given], lambda p: (p.number or p.raw, p.extension))

    def _phone(self, given: GivenPhone) -> Phone:
        regions = (given.region, *self.regions) if given.region else self.regions
        number, extension, issue = phone_number(given.number, regions)
        return Phone(raw=given.number, number=number, extension=extension, label=given.label, primary=given.primary, issue=issue)

    def addresses(self, given: Sequence[GivenAddress]) -> tuple[Address, ...]:
        return _one_primary(self, "addresses", [self._address(g, f"addresses[{i}]") for i, g in enumerate(given)], None)

    def _address(self, given: GivenAddress, name: str) -> Address:
        country, country_name = given.country, given.country_name
        if country is not None and country.upper() in COUNTRIES:
            country = country.upper()
        elif country is not None:
            self.flag(f"{name}.country", country, "not a country code of ISO 3166-1 alpha-2")
            country, country_name = None, country_name or country
        return Address(
            street=tuple(given.street),
            city=given.city,
            state=given.state,
            postal_code=given.postal_code,
            country=country,
            country_name=country_name,
            latitude=self._degrees(f"{name}.latitude", given.latitude, 90),
            longitude=self._degrees(f"{name}.longitude", given.longitude, 180),
            label=given.label,
            primary=given.primary,
        )

    def _degrees(self, name: str, given: str | Decimal | None, limit: int) -> Decimal | None:
        if given is None:
            return None
        try:
            degrees = Decimal(given)
        except InvalidOperation:
            degrees = Decimal("NaN")
        if degrees.is_finite() and abs(degrees) <= limit:
            return round(degrees, 8).normalize() + 0
        self.flag(name, given, f"not degrees between -{limit} and {limit}")
        return None

    def links(self, given: Sequence[GivenLink]) -> tuple[Link, ...]:
        links = []
        for i, g in enumerate(given):
            try:
                links.append(Link(url=uri(g.url), label=g.label))
            except ValueError as bad:
                self.flag(f"websites[{i}]", g.url, str(bad))
        return tuple(dict.fromkeys(links))

    def languages(self, given: Sequence[str]) -> tuple[str, ...]:
        for i, tag in enumerate(given):
            if not _LANGUAGE.fullmatch(tag):
                self.flag(f"languages[{i}]", tag, "not a language tag as `de` or `pt-BR` (BCP 47)")
        return tuple(dict.fromkeys(tag for tag in given if _LANGUAGE.fullmatch(tag)))

    def domains(self, given: Sequence[str]) -> tuple[str, ...]:
        read = []
        for i, domain in enumerate(given):
            try:
                ascii = domain.lower().rstrip(".").encode("idna").decode()
            except UnicodeError:
                ascii = ""
            if len(ascii) <= 253 and _DOMAIN.fullmatch(ascii):
                read.append(ascii)
            else:
                self.flag(f"domains[{i}]", domain, "not a domain name")
        return tuple(dict.fromkeys(read))

    def day(self, name: str, given: str) -> str | None:
        """`2001-04-15`, or `--04-15` where the year is not known."""
        if m := _DAY.fullmatch(given):
            try:
                date(int(m[1] or 2000), int(m[2]), int(m[3]))
            except ValueError:
                pass
            else:
                return given
        self.flag(name, given, "not a day as 2001-04-15, or --04-15 without a year")
        return None

    def photo(self, given: str) -> str | None:
        parts = _parts(given)
        if _PHOTO.fullmatch(given) or (parts is not None and parts[0] in {"http", "https"} and parts[1]):
            return given
        self.flag("photo", given, "not a web address, documents/<id> or sha256:<hex>")
        return None

    def currency(self, name: str, given: GivenMoney) -> Money | None:
        if given.currency in CURRENCIES:
            return Money(amount=given.amount, currency=given.currency)
        self.flag(name, f"{given.amount} {given.currency}", "not a currency of ISO 4217")
        return None


def _one_primary(reading: Reading, name: str, entries: Iterable[E], same: Callable[[E], object] | None) -> tuple[E, ...]:
    """Each entry once; at most one of them primary."""
    unique = list({same(e) if same else e: e for e in reversed(list(entries))}.values())[::-1]
    if sum(e.primary for e in unique) > 1:
        if not reading.lenient:
            raise SeveralPrimary(field=name)
        first = next(i for i, e in enumerate(unique) if e.primary)
        unique = [_not_primary(e) if e.primary and i != first else e for i, e in enumerate(unique)]
    return tuple(unique)


def _not_primary(entry: E) -> E:
    values = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
    return type(entry)(**{**values, "primary": False})


def email_address(text: str) -> str:
    """The address in its normal form; ValueError says what is wrong with it."""
    try:
        return validate_email(text, check_deliverability=False, allow_quoted_local=True, test_environment=True).normalized
    except EmailNotValidError as bad:
        raise ValueError(str(bad)) from None


def phone_number(text: str, regions: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    """E.164 number, extension and issue. A number of a possible length is a number; one that no region can read is not."""
    issue = "no country code, and no region to read it with"
    for region in (*regions, None):
        try:
            parsed = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException as bad:
            if bad.error_type != phonenumbers.NumberParseException.INVALID_COUNTRY_CODE or region is not None:
                issue = "not a phone number"
            continue
        if phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE:
            return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164), parsed.extension or None, None
        issue = "not a possible phone number: too long or too short for its country"
    return None, None, issue


def uri(text: str) -> str:
    """The URI in full; a bare host is taken for a web site. ValueError says what is wrong with it."""
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("holds blanks or control characters")
    if not _SCHEME.match(text) or (_HOST.fullmatch(text) and "://" not in text):
        if not _HOST.fullmatch(text):
            raise ValueError("not a web address")
        text = "https://" + text
    parts = _parts(text)
    if parts is None or parts[0] in _UNSAFE:
        raise ValueError("not an address that may be opened")
    if parts[0] in {"http", "https"} and not parts[1]:
        raise ValueError("a web address without a host")
    return text


def _parts(text: str) -> tuple[str, str | None] | None:
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return parts.scheme.lower(), parts.hostname


# --- what every handler here needs


async def read(
    w: Work, *, lenient: bool = False, region: str | None = None, addresses: Sequence[GivenAddress] | None = None
) -> Reading:
    """A reading with the regions to try: the one given, that of the first address, the firm's own."""
    firm = await w.find(FIRM, w.firm)
    near = [a.country.upper() for a in addresses or () if a.country]
    regions = [r for r in (region, *near[:1], firm.state.settings.country) if r and r in COUNTRIES]
    return Reading(lenient=lenient, regions=tuple(dict.fromkeys(regions)))


async def custom(w: Work, kind: AppliesTo, given: Mapping[str, Any], reading: Reading) -> dict[str, FieldValue | None]:
    """Custom values as their definitions read them; None where one is to be cleared."""
    values: dict[str, FieldValue | None] = {}
    for key, value in given.items():
        if value is None:
            values[key] = None
            continue
        definition = await w.find(FIELD, w.derive_id("field", kind, key))
        plain: Given = tuple(value) if isinstance(value, list) else value
        try:
            values[key] = accept(definition.state, value=plain)
        except Refused as refused:
            if not reading.lenient:
                raise type(refused)(**{**refused.about, "key": key}) from None
            reading.flag(f"custom.{key}", value, refused.why)
    return values


async def member(w: Work, id: UUID | None) -> UUID | None:
    """The member, who must be one of this firm's and active."""
    if id is not None and not (await w.load(MEMBER, id)).state.active:
        raise OwnerIsInactive
    return id


class OwnerIsInactive(Refused):
    """The member has been deactivated and can't own anything. Choose another one."""


def happened(w: Work, at: datetime | None) -> datetime | None:
    """The business time a caller gave, unless it lies in the future."""
    if at is not None and at > w.now + timedelta(days=1):
        raise InTheFuture
    return at


def _legible(value: object, limit: int) -> str:
    """The value as text that can be kept: what is neither printable nor a line break is shown as U+FFFD."""
    text = unicodedata.normalize("NFC", "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(value)))
    return text[:limit].strip() or "?"


class Tolerant(Command):
    """A command an import fills: `tolerant` keeps what does not fit among the issues instead of refusing the row."""

    issues: Issues = Field(default_factory=list)
    lenient: bool = Field(
        default=False, description="Keep values that are not acceptable as they are, flagged, instead of refusing."
    )
    occurred_at: AwareDatetime | None = Field(default=None, description="When it happened, if not now.")

    @classmethod
    def tolerant(cls, values: Mapping[str, Any]) -> Self:
        """The command, lenient; a field (or one entry of a list) whose value can't be taken becomes an issue."""
        wanted = {**values, "lenient": True}
        issues = list(wanted.pop("issues", []))
        for _ in range(ISSUES):
            try:
                return cls.model_validate({**wanted, "issues": issues[:ISSUES]})
            except ValidationError as bad:
                first = bad.errors(include_url=False, include_context=False, include_input=False)[0]
                name, *deeper = first["loc"]
                if name not in wanted:
                    raise
                value, where = wanted[str(name)], str(name)
                if deeper and isinstance(deeper[0], int) and isinstance(value, list | tuple) and deeper[0] < len(value):
                    where = f"{name}[{deeper[0]}]"
                    wanted[str(name)] = [v for i, v in enumerate(value) if i != deeper[0]]
                    value = value[deeper[0]]
                elif deeper and isinstance(value, Mapping) and deeper[0] in value:
                    where = f"{name}.{deeper[0]}"
                    wanted[str(name)] = {k: v for k, v in value.items() if k != deeper[0]}
                    value = value[deeper[0]]
                else:
                    del wanted[str(name)]
                issues.append(
                    {"field": _legible(where, 100), "value": _legible(value, 4000), "reason": _legible(first["msg"], 300)}
                )
        raise Invalid
