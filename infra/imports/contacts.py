"""Contacts and organisations out of table rows. Nothing is dropped: what no field takes stands in `extra`."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from infra.imports.binding import Bound
from infra.imports.mapparts import ADDRESS_PARTS
from infra.imports.rows import Mapped, RowError, doubt, refusal
from infra.imports.tables import TableRow
from infra.imports.values import day, number

_EMAIL = re.compile(r"[^@\s,;<>()\"]{1,64}@[^@\s,;<>()\"]{1,253}")
_ANGLE = re.compile(r".*<([^<>]+@[^<>]+)>\s*")
KINDS = {
    "org": "organisation",
    "organization": "organisation",
    "organisation": "organisation",
    "company": "organisation",
    "account": "organisation",
    "group": "group",
    "location": "organisation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A value with what it is for (`work`, `home`, `mobile`, a label of the owner's own; '' where nothing is said)."""

    value: str = field(repr=False)
    label: str = ""
    preferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRecord:
    label: str = ""
    street: str | None = field(default=None, repr=False)
    extended: str | None = field(default=None, repr=False)
    po_box: str | None = field(default=None, repr=False)
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None
    formatted: str | None = field(default=None, repr=False)
    latitude: str | None = field(default=None, repr=False)
    longitude: str | None = field(default=None, repr=False)
    preferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRecord:
    """One person, organisation or group. `source_id` is the source's own id when `id_given`, else a digest of the row.

    Phones stand as written. `birthday` and dates are ISO 8601, possibly without a year (`--02-03`); what was no date stays as written, with a doubt.
    `members` are the UIDs of a group; `photo` is its address, or its media type and size when it was inline.
    """

    source_id: str
    id_given: bool
    kind: Literal["person", "organisation", "group"] = "person"
    full_name: str | None = field(default=None, repr=False)
    prefix: str | None = None
    given_name: str | None = field(default=None, repr=False)
    additional_name: str | None = field(default=None, repr=False)
    family_name: str | None = field(default=None, repr=False)
    suffix: str | None = None
    nickname: str | None = field(default=None, repr=False)
    phonetic_given_name: str | None = field(default=None, repr=False)
    phonetic_family_name: str | None = field(default=None, repr=False)
    emails: tuple[Labelled, ...] = ()
    phones: tuple[Labelled, ...] = ()
    addresses: tuple[AddressRecord, ...] = ()
    urls: tuple[Labelled, ...] = ()
    ims: tuple[Labelled, ...] = ()
    dates: tuple[Labelled, ...] = ()
    relations: tuple[Labelled, ...] = ()
    members: tuple[str, ...] = ()
    organisation: str | None = None
    department: str | None = None
    title: str | None = None
    role: str | None = None
    parent: str | None = None
    birthday: str | None = field(default=None, repr=False)
    gender: str | None = None
    language: str | None = None
    timezone: str | None = None
    notes: str | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    owner: str | None = None
    photo: str | None = None
    custom: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def display_name(self) -> str:
        """How the contact is called, from whatever it has."""
        parts = (self.prefix, self.given_name, self.additional_name, self.family_name, self.suffix)
        made = " ".join(p for p in parts if p)
        first = self.emails[0].value if self.emails else self.phones[0].value if self.phones else ""
        return (
            self.full_name
            or made
            or self.nickname
            or self.organisation
            or first
            or (self.urls[0].value if self.urls else self.source_id if self.id_given else "")
        )


def digest(source: Mapping[str, Any]) -> str:
    """The id of a row that has none: equal rows have equal ids."""
    return f"sha256:{hashlib.sha256(orjson.dumps(source, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()[:40]}"


_NAME_FIELDS = (
    "full_name",
    "prefix",
    "given_name",
    "additional_name",
    "family_name",
    "suffix",
    "nickname",
    "phonetic_given_name",
    "phonetic_family_name",
)
_ONE_FIELDS = ("organisation", "department", "title", "role", "parent", "gender", "language", "timezone", "notes", "owner", "photo")
_LISTS = {"email": "emails", "phone": "phones", "url": "urls", "im": "ims", "date": "dates", "relation": "relations"}


class ContactMapper:
    """Table rows to contacts, by a bound map."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        fields = bound.map.fields
        self.slots: dict[str, list[tuple[str, str, str | None]]] = {base: [] for base in _LISTS}
        self.places: dict[str, list[str]] = {}
        for target in fields:
            base, _, rest = target.partition(".")
            if base in _LISTS and not target.endswith(".label"):
                label_target = f"{target}.label"
                self.slots[base].append(
                    (target, re.sub(r"[-_ ]?\d+$", "", rest).replace("_", " "), label_target if label_target in fields else None)
                )
            elif base == "address":
                place, _, _ = rest.rpartition(".")
                self.places.setdefault(place, []).append(target)

    def map(self, row: TableRow) -> Mapped[ContactRecord]:
        errors = list(row.errors)
        if any(e.refused for e in errors):
            return Mapped(line=row.line, number=row.number, record=None, source=row.source, errors=tuple(errors))
        b, values, line = self.bound, row.values, row.line
        extra = b.leftover(values)
        given: dict[str, Any] = {n: b.text(values, n, line, errors) for n in (*_NAME_FIELDS, *_ONE_FIELDS) if n in b.map.fields}
        for base, name in _LISTS.items():
            given[name] = self._slots(base, values, line, errors, extra)
        given["addresses"] = tuple(a for p in self.places if (a := self._address(p, values, line, errors)))
        given["birthday"] = self._birthday(values, line, errors)
        if (anniversary := b.text(values, "anniversary", line, errors)) is not None:
            given["dates"] += (
                Labelled(
                    value=date_of(anniversary, b.map.fields["anniversary"].format, "anniversary", line, errors), label="anniversary"
                ),
            )
        given["tags"] = b.texts(values, "tags", line, errors)
        given["categories"] = b.texts(values, "categories", line, errors)
        kind = b.text(values, "kind", line, errors)
        given["kind"] = KINDS.get((kind or "").lower(), b.map.record)
        id = b.text(values, "id", line, errors)
        record = ContactRecord(
            source_id=id or digest(values), id_given=id is not None, custom=b.custom(values, line, errors), extra=extra, **given
        )
        if record.id_given and not replace(record, id_given=False).display_name:
            errors.append(doubt(line, "", record.source_id, "the row has no name; its id stands for it"))
        if not record.display_name and not any(e.refused for e in errors):
            errors.append(refusal(line, "", "", "the row names nobody: it has no name, organisation, email or phone"))
        refused = any(e.refused for e in errors)
        return Mapped(line=line, number=row.number, record=None if refused else record, source=values, errors=tuple(errors))

    def _slots(
        self, base: str, values: Mapping[str, str], line: int, errors: list[RowError], extra: dict[str, str]
    ) -> tuple[Labelled, ...]:
        out: list[Labelled] = []
        for target, label, label_target in self.slots[base]:
            text = self.bound.text(values, target, line, errors)
            said = self.bound.text(values, label_target, line, errors) if label_target else None
            if text is None:
                continue
            preferred = bool(said and said.startswith("*"))
            for part in (
                text.split(" ::: ") if " ::: " in text else re.split(r"[;,]\s*|\s+/\s+", text) if base == "email" else [text]
            ):
                value = part.strip()
                if base == "email" and value:
                    value = checked_email(value, self.bound.map.fields[target].columns, line, errors, extra) or ""
                if value:
                    out.append(Labelled(value=value, label=(said or label).strip("* ").lower(), preferred=preferred))
        return tuple(dict.fromkeys(out))

    def _address(self, place: str, values: Mapping[str, str], line: int, errors: list[RowError]) -> AddressRecord | None:
        found: dict[str, str] = {}
        for target in self.places[place]:
            text = self.bound.text(values, target, line, errors)
            if text is not None:
                found[target.rpartition(".")[2]] = text
        if not set(found) - {"label"}:
            return None
        streets = "\n".join(v for p in ("street", "street2", "street3") if (v := found.pop(p, None)))
        house = found.pop("number", None)
        if streets or house:
            found["street"] = f"{house} {streets}".strip() if house else streets
        wrong = [
            p for p in ("latitude", "longitude") if p in found and ((degrees := number(found[p])) is None or abs(degrees) > 180)
        ]
        errors.extend(doubt(line, p, found.pop(p), f"{p} is not a number of degrees; it was left out") for p in wrong)
        label = found.pop("label", re.sub(r"[-_ ]?\d+$", "", place))
        return AddressRecord(label=label.lower(), **{k: v for k, v in found.items() if k in ADDRESS_PARTS})  # type: ignore[arg-type]

    def _birthday(self, values: Mapping[str, str], line: int, errors: list[RowError]) -> str | None:
        b = self.bound
        if (text := b.text(values, "birthday", line, errors)) is not None:
            return date_of(
                text,
                b.map.fields["birthday"].format,
                b.map.fields["birthday"].columns[0] if b.map.fields["birthday"].columns else "birthday",
                line,
                errors,
            )
        year, month, dom = (b.text(values, f"birthday.{p}", line, errors) for p in ("year", "month", "day"))
        if not (month and dom):
            return year
        return date_of(
            f"{year}-{month.zfill(2)}-{dom.zfill(2)}" if year else f"--{month.zfill(2)}-{dom.zfill(2)}",
            None,
            "birthday",
            line,
            errors,
        )


def checked_email(value: str, columns: tuple[str, ...], line: int, errors: list[RowError], extra: dict[str, str]) -> str | None:
    """The address alone (`Ann <ann@example.com>` gives `ann@example.com`); what is none goes to `extra` with a doubt."""
    if m := _ANGLE.fullmatch(value):
        value = m[1].strip()
    value = value.removeprefix("mailto:")
    if _EMAIL.fullmatch(value) and len(value) <= 254:
        return value
    name = columns[0] if columns else "email"
    errors.append(doubt(line, name, value, "this is not an email address; it was kept as extra"))
    extra[name] = f"{extra[name]}; {value}" if name in extra else value
    return None


def date_of(text: str, form: str | None, name: str, line: int, errors: list[RowError]) -> str:
    """A date in ISO 8601, of whatever precision it has; as written, with a remark, where it is none."""
    body = text.strip()
    if m := re.fullmatch(r"--(\d\d)-?(\d\d)(?:T.*)?", body):
        if 1 <= int(m[1]) <= 12 and 1 <= int(m[2]) <= 31:
            return f"--{m[1]}-{m[2]}"
    elif m := re.fullmatch(r"(\d{4})(?:-(\d\d))?", body):
        return body
    elif found := day(body, form=form or "iso"):
        return found.isoformat()
    errors.append(doubt(line, name, text, "this is not a date that can be read; it was kept as written"))
    return text
