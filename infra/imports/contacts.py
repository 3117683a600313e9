"""Contacts and organisations out of table rows and vCards. Nothing is dropped: what no field takes stands in `extra`."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from infra.imports.binding import Bound
from infra.imports.mapparts import ADDRESS_PARTS
from infra.imports.maps import ImportMap
from infra.imports.rows import Mapped, RowError, doubt, refusal
from infra.imports.tables import TableRow
from infra.imports.values import day, is_empty, number
from infra.imports.vcards import Card, Property

_EMAIL = re.compile(r"[^@\s,;<>()\"]{1,64}@[^@\s,;<>()\"]{1,253}")
_ANGLE = re.compile(r".*<([^<>]+@[^<>]+)>\s*")
_KINDS = {
    "org": "organisation",
    "organization": "organisation",
    "organisation": "organisation",
    "company": "organisation",
    "account": "organisation",
    "group": "group",
    "location": "organisation",
}
_LABEL = re.compile(r"_\$!<(.*)>!\$_")


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
            return Mapped(line=row.line, number=row.number, record=None, source=row.values or {"": row.raw}, errors=tuple(errors))
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
                    value=_date(anniversary, b.map.fields["anniversary"].format, "anniversary", line, errors), label="anniversary"
                ),
            )
        given["tags"] = b.texts(values, "tags", line, errors)
        given["categories"] = b.texts(values, "categories", line, errors)
        kind = b.text(values, "kind", line, errors)
        given["kind"] = _KINDS.get((kind or "").lower(), b.map.record)
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
            return _date(
                text,
                b.map.fields["birthday"].format,
                b.map.fields["birthday"].columns[0] if b.map.fields["birthday"].columns else "birthday",
                line,
                errors,
            )
        year, month, dom = (b.text(values, f"birthday.{p}", line, errors) for p in ("year", "month", "day"))
        if not (month and dom):
            return year
        return _date(
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


def _date(text: str, form: str | None, name: str, line: int, errors: list[RowError]) -> str:
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


def from_card(card: Card, map: ImportMap | None = None) -> Mapped[ContactRecord]:
    """A vCard as a contact; properties without a field of their own go to `extra`."""
    errors = list(card.errors)
    line = card.line
    if any(e.refused for e in errors):
        return Mapped(line=line, number=card.number, record=None, source=card.source, errors=tuple(errors))
    labels: dict[str | None, str] = {
        p.group: _LABEL.sub(r"\1", p.text) for p in card.properties if p.group and p.name == "X-ABLABEL"
    }
    given: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {
        n: [] for n in ("emails", "phones", "addresses", "urls", "ims", "dates", "relations", "members", "categories", "notes")
    }
    extra: dict[str, str] = {}
    kind = map.record if map else "person"
    uid: str | None = None
    for p in card.properties:
        text, label = p.text, _card_label(p, labels)
        match p.name:
            case "FN" if text:
                given.setdefault("full_name", text)
            case "N":
                for n, i in (("family_name", 0), ("given_name", 1), ("additional_name", 2), ("prefix", 3), ("suffix", 4)):
                    if value := p.part(i):
                        given.setdefault(n, value)
            case "NICKNAME" | "SORT-STRING" if text and p.name == "NICKNAME":
                given.setdefault("nickname", ", ".join(v for part in p.parts for v in part if v))
            case "X-PHONETIC-FIRST-NAME":
                given.setdefault("phonetic_given_name", text)
            case "X-PHONETIC-LAST-NAME":
                given.setdefault("phonetic_family_name", text)
            case "ORG" if any(v for part in p.parts for v in part):
                if given.get("organisation"):
                    _keep(extra, "ORG", text)
                    continue
                given["organisation"] = p.part(0) or None
                if rest := " / ".join(filter(None, (p.part(i) for i in range(1, len(p.parts))))):
                    given["department"] = rest
            case "TITLE" | "ROLE" if text and p.name.lower() not in given:
                given[p.name.lower()] = text
            case "EMAIL" if text:
                if address := checked_email(text, ("EMAIL",), p.line, errors, extra):
                    lists["emails"].append(Labelled(value=address, label=label, preferred=_preferred(p)))
            case "TEL" if text:
                lists["phones"].append(
                    Labelled(value=text.removeprefix("tel:").replace(";ext=", " ext. "), label=label, preferred=_preferred(p))
                )
            case "ADR" if any(p.part(i) for i in range(7)):
                keys = ("po_box", "extended", "street", "city", "region", "postal_code", "country")
                full = p.params.get("LABEL", [None])[0]
                lists["addresses"].append(
                    AddressRecord(
                        label=label,
                        preferred=_preferred(p),
                        formatted=full,
                        **{k: v for i, k in enumerate(keys) if (v := p.part(i))},
                    )
                )
            case "URL" if text:
                lists["urls"].append(Labelled(value=text, label=label, preferred=_preferred(p)))
            case (
                "IMPP"
                | "X-AIM"
                | "X-ICQ"
                | "X-MSN"
                | "X-JABBER"
                | "X-YAHOO"
                | "X-SKYPE"
                | "X-SKYPE-USERNAME"
                | "X-GOOGLE-TALK"
                | "X-GTALK"
                | "X-QQ"
                | "X-GADUGADU"
                | "X-MS-IMADDRESS"
            ) if text:
                service = (
                    p.name.removeprefix("X-").removesuffix("-USERNAME").lower()
                    if p.name != "IMPP"
                    else (p.params.get("X-SERVICE-TYPE", [""])[0] or text.partition(":")[0]).lower()
                )
                lists["ims"].append(Labelled(value=text, label=service))
            case "BDAY" if text:
                given.setdefault("birthday", _date(text, None, "BDAY", p.line, errors))
            case "ANNIVERSARY" | "X-ANNIVERSARY" | "X-EVOLUTION-ANNIVERSARY" | "X-MS-ANNIVERSARY" | "X-ABDATE" if text:
                lists["dates"].append(
                    Labelled(
                        value=_date(text, None, p.name, p.line, errors),
                        label="anniversary" if p.name != "X-ABDATE" else label.lower() or "date",
                    )
                )
            case "RELATED" | "X-ABRELATEDNAMES" if text:
                lists["relations"].append(Labelled(value=text, label=label.lower()))
            case (
                "X-SPOUSE"
                | "X-MANAGER"
                | "X-ASSISTANT"
                | "X-EVOLUTION-SPOUSE"
                | "X-EVOLUTION-MANAGER"
                | "X-EVOLUTION-ASSISTANT"
                | "X-MS-SPOUSE"
                | "X-MS-MANAGER"
                | "X-MS-ASSISTANT"
            ) if text:
                lists["relations"].append(Labelled(value=text, label=p.name.rpartition("-")[2].lower()))
            case "GENDER" | "X-GENDER" if text:
                given.setdefault("gender", text.strip(";"))
            case "LANG" if text:
                given.setdefault("language", text)
            case "TZ" if text:
                given.setdefault("timezone", text)
            case "NOTE" if text:
                lists["notes"].append(text)
            case "CATEGORIES" if text:
                lists["categories"] += [v.strip() for part in p.parts for value in part for v in value.split(",") if v.strip()]
            case "PHOTO" | "LOGO" if p.size or text:
                kind_of = p.params.get("MEDIATYPE", p.params.get("TYPE", ["image"]))[0].lower()
                given.setdefault(
                    "photo", f"inline {text.removeprefix('data:').partition(';')[0] or kind_of}, {p.size} bytes" if p.size else text
                )
            case "UID" if text:
                uid = text
            case "KIND" | "X-ADDRESSBOOKSERVER-KIND" | "X-ABSHOWAS":
                kind = _KINDS.get(text.lower(), "person")
            case "MEMBER" | "X-ADDRESSBOOKSERVER-MEMBER":
                lists["members"].append(text)
            case "GEO" if text:
                _geo(text, lists["addresses"], extra)
            case "X-ABLABEL" | "PRODID" | "PROFILE" | "REV":
                if p.name in {"REV", "PRODID"} and text:
                    _keep(extra, p.name, text)
            case _:
                if p.size or text.strip(";, "):
                    _keep(extra, f"{p.name} ({label})" if label else p.name, f"inline, {p.size} bytes" if p.size else text)
    for agent in card.agents:
        inner = from_card(agent).record
        if inner and inner.display_name:
            lists["relations"].append(Labelled(value=inner.display_name, label="agent"))
        _keep(extra, "AGENT", agent.raw or "a card")
    notes = "\n\n".join(lists.pop("notes"))
    given |= {k: tuple(dict.fromkeys(v)) for k, v in lists.items()}
    record = ContactRecord(
        source_id=uid or digest(card.source),
        id_given=uid is not None,
        kind=kind,  # type: ignore[arg-type]
        notes=notes or None,
        extra=extra,
        **given,
    )
    if not record.display_name:
        errors.append(refusal(line, "FN", "", "the card names nobody: it has no name, organisation, email or phone"))
    return Mapped(
        line=line, number=card.number, record=record if record.display_name else None, source=card.source, errors=tuple(errors)
    )


def _card_label(p: Property, labels: Mapping[str | None, str]) -> str:
    if p.group in labels and p.name != "X-ABLABEL":
        return labels[p.group]
    types = [
        t
        for t in p.types
        if t
        not in {"pref", "internet", "voice", "x-pref", "postal", "parcel", "intl", "dom", "msg", "uri", "text", "jpeg", "video"}
    ]
    return " ".join(dict.fromkeys("mobile" if t == "cell" else t for t in types))


def _preferred(p: Property) -> bool:
    return "pref" in p.types or p.params.get("PREF", [""])[0] in {"1", "true"}


def _keep(extra: dict[str, str], name: str, text: str) -> None:
    if len(extra) < 500 and not is_empty(text):
        extra[name] = f"{extra[name]}\n{text}" if name in extra else text


def _geo(text: str, addresses: list[AddressRecord], extra: dict[str, str]) -> None:
    m = re.fullmatch(r"(?:geo:)?(-?[\d.]{1,20})[;,](-?[\d.]{1,20})(?:[;,].*)?", text.strip())
    if m is None or number(m[1]) is None or number(m[2]) is None:
        _keep(extra, "GEO", text)
    else:
        addresses.append(AddressRecord(label="position", latitude=m[1], longitude=m[2]))
