"""Contacts and organisations of cards: what vCard 4.0 (RFC 6350) says of a person, as a contact."""

import re
from collections.abc import Mapping
from typing import Any

from infra.imports.contacts import KINDS, AddressRecord, ContactRecord, Labelled, checked_email, date_of, digest
from infra.imports.maps import ImportMap
from infra.imports.rows import Mapped, refusal
from infra.imports.values import is_empty, number
from infra.imports.vcards import Card, Property

_LABEL = re.compile(r"_\$!<(.*)>!\$_")


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
            case "NICKNAME" if text:
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
                given.setdefault("birthday", date_of(text, None, "BDAY", p.line, errors))
            case "ANNIVERSARY" | "X-ANNIVERSARY" | "X-EVOLUTION-ANNIVERSARY" | "X-MS-ANNIVERSARY" | "X-ABDATE" if text:
                lists["dates"].append(
                    Labelled(
                        value=date_of(text, None, p.name, p.line, errors),
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
                kind = KINDS.get(text.lower(), "person")
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
