"""Maps guessed from a header, or from the values where there is none; a guess is an ordinary map, printed and stored like one.

Names are known in English, German, French, Dutch, Spanish, Italian and Portuguese, and as Google Contacts, Outlook, Thunderbird, HubSpot,
Salesforce, Mautic and Jira write them. A column that is not recognised is left to `extra`: a wrong guess is worse than none.
"""

import re
from collections.abc import Iterable, Mapping

from infra.imports.mapparts import FieldMap
from infra.imports.maps import ImportMap
from infra.imports.tables import Table, normal
from infra.imports.values import date_form, decimal_sign, is_empty, number
from infra.imports.vocabulary import BY_NAME

_ACCENTS = str.maketrans(dict(zip("äöüàâáãçéèêëíìîïñóòôõúùû", "aouaaaaceeeeiiiinoooouuu", strict=True)) | {"ß": "ss"})
_PLACES = {
    "home": "home",
    "work": "work",
    "business": "work",
    "office": "work",
    "other": "other",
    "private": "home",
    "privat": "home",
    "geschaftlich": "work",
    "company": "work",
    "billing": "billing",
    "shipping": "shipping",
    "mailing": "mailing",
    "primary": "primary",
    "postal": "postal",
}
_PLACE = "|".join(sorted(_PLACES, key=len, reverse=True))
_NUMBERED = re.compile(
    r"(e mail|email|phone|address|website|event|relation|im|telephone|tel) (\d{1,2})(?: (label|type|value|service|.*))?"
)
_PLACED = re.compile(
    rf"({_PLACE}) (phone|tel|telefon|fax|address|email|e mail|street|city|town|state|region|province|postal code|zip|zip code|zipcode|"
    r"postcode|country|country region|address po box|po box|web page|website|mobile)(?: (\d))?"
)
_PARTS = {
    "street": "street",
    "formatted": "formatted",
    "city": "city",
    "po box": "po_box",
    "address po box": "po_box",
    "region": "region",
    "state": "region",
    "province": "region",
    "postal code": "postal_code",
    "zip": "postal_code",
    "zip code": "postal_code",
    "zipcode": "postal_code",
    "postcode": "postal_code",
    "country": "country",
    "country region": "country",
    "town": "city",
    "extended address": "extended",
}
_BASES = {
    "e mail": "email",
    "email": "email",
    "phone": "phone",
    "telephone": "phone",
    "tel": "phone",
    "address": "address",
    "website": "url",
    "event": "date",
    "relation": "relation",
    "im": "im",
}
_HONORIFICS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "miss",
        "mx",
        "dr",
        "prof",
        "sir",
        "herr",
        "frau",
        "m",
        "mme",
        "mlle",
        "dhr",
        "mevr",
        "sr",
        "sra",
        "srta",
        "sig",
    ]
)
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")
_PHONE = re.compile(r"[+(]?[\d][\d ()./-]{5,24}(?:\s?(?:x|ext)\.?\s?\d+)?")
_URL = re.compile(r"(?:https?://|www\.)\S+")
_DATES = frozenset(
    [
        "opened_at",
        "expected_close",
        "closed_at",
        "created_at",
        "started_at",
        "completed_at",
        "due",
        "birthday",
        "anniversary",
        "at",
        "effective_to",
        "expires_at",
    ]
)
_AMOUNTS = frozenset(["amount", "probability", "estimate", "remaining"])


def guess_table(kind: str, table: Table, *, record: str = "person") -> ImportMap:
    """The map a table's header suggests; ambiguous dates are said in the source's notes."""
    targets = _by_content(table) if kind == "contacts" and not table.has_header else _by_header(kind, table)
    if kind == "deals" and "title" not in targets:
        made = tuple(targets[t] for t in ("organisation", "contact", "product") if t in targets) or (
            (targets["id"],) if "id" in targets else ()
        )
        fields = {t: _field(kind, t, c, table) for t, c in targets.items()}
        if made:
            fields["title"] = FieldMap(columns=made, join=" · ")
    else:
        fields = {t: _field(kind, t, c, table) for t, c in targets.items()}
    if (
        kind == "contacts"
        and record == "person"
        and not {"given_name", "family_name"} & set(fields)
        and "organisation" in fields
        and not {"full_name", "email"} & set(fields)
    ):
        record = "organisation"
    if kind == "contacts" and record == "organisation" and "full_name" not in fields and "organisation" in fields:
        fields["full_name"] = fields.pop("organisation")
    dialect = table.dialect
    return ImportMap(
        kind=kind,
        record=record,
        encoding=None if table.source.encoding == "utf-8" else table.source.encoding,
        delimiter=dialect.delimiter,
        quote=None if dialect.quote == '"' else dialect.quote,
        escape=dialect.escape,
        header=table.has_header,
        fields=fields,
        guessed=True,
    )


def _by_header(kind: str, table: Table) -> dict[str, str]:
    names = {c: normal(c).translate(_ACCENTS) for c in table.columns}
    taken: dict[str, str] = {}
    exact = BY_NAME[kind]
    titled = any(exact.get(n) == "title" for n in names.values()) if kind == "contacts" else False
    for column, name in names.items():
        target = exact.get(name)
        if kind == "contacts":
            if name in {"title", "titel", "titre", "titulo", "titolo"}:
                target = "prefix" if titled or _honorific(table, column) else "title"
            elif name == "account":
                target = "organisation" if names[table.columns[0]] == "account" else None
            elif target is None or (target == "address.street" and "address 1 street" in names.values()):
                target = _contact_slot(name)
        if target and target not in taken:
            taken[target] = column
        elif target and kind == "contacts" and target.split(".")[0] in {"email", "phone", "url"}:
            base = target.split(".")[0]
            free = next(
                (
                    f"{target}-{n}" if "." in target else f"{base}.{n}"
                    for n in range(2, 30)
                    if (f"{target}-{n}" if "." in target else f"{base}.{n}") not in taken
                ),
                None,
            )
            if free:
                taken[free] = column
    for place in {t.split(".")[1] for t in taken if t.startswith("address.") and t.endswith(".formatted")}:
        whole, street = f"address.{place}.formatted", f"address.{place}.street"
        if street not in taken and f"address.{place}.city" in taken:
            taken = {street if t == whole else t: c for t, c in taken.items()}
    return taken


def _contact_slot(name: str) -> str | None:
    """Google's numbered and Outlook's placed columns: `phone 2 value`, `business fax`, `home street 3`."""
    if m := _NUMBERED.fullmatch(name):
        base, what = _BASES[m[1]], m[3]
        if base == "address":
            if what in {"label", "type"}:
                return f"address.{m[2]}.label"
            return f"address.{m[2]}.{_PARTS[what]}" if what in _PARTS else None
        if what in {"label", "type", "service"}:
            return f"{base}.{m[2]}.label"
        return f"{base}.{m[2]}" if what in {"value", None} else None
    if m := _PLACED.fullmatch(name):
        place, what, n = _PLACES[m[1]], m[2], m[3]
        if what in {"phone", "tel", "telefon"}:
            return f"phone.{place}-{n}" if n else f"phone.{place}"
        if what in {"fax", "mobile"}:
            return f"phone.{place}_{what}"
        if what in {"email", "e mail"}:
            return f"email.{place}"
        if what in {"web page", "website"}:
            return f"url.{place}"
        if what in {"address", "street"}:
            return (
                f"address.{place}.{'formatted' if what == 'address' and not n else 'street' + (n or '') if n != '1' else 'street'}"
            )
        return f"address.{place}.{_PARTS[what]}"
    if m := re.fullmatch(rf"({_PLACE}) address (\d)", name):
        return f"address.{_PLACES[m[1]]}.street{m[2] if m[2] != '1' else ''}"
    return None


def _honorific(table: Table, column: str) -> bool:
    seen = [v for row in table.sample if (v := row.get(column, "").strip(" .").lower())]
    return bool(seen) and sum(v in _HONORIFICS for v in seen) * 2 > len(seen)


def _by_content(table: Table) -> dict[str, str]:
    cells = {c: [v for row in table.sample if (v := row.get(c, "").strip())] for c in table.columns}
    taken: dict[str, str] = {}
    for column, seen in cells.items():
        if not seen:
            continue
        for base, pattern in (("email", _EMAIL), ("url", _URL), ("phone", _PHONE)):
            if sum(bool(pattern.fullmatch(v)) for v in seen) * 10 >= len(seen) * 8 and not (
                base == "phone" and all(number(v) is not None and len(v) < 7 for v in seen)
            ):
                target = next((t for t in (base, *(f"{base}.{n}" for n in range(2, 9))) if t not in taken), None)
                if target:
                    taken[target] = column
                break
    rest = [c for c in table.columns if c not in taken.values() and cells[c]]
    for whole in rest:
        for a in rest:
            for b in rest:
                if len({whole, a, b}) == 3 and "given_name" not in taken:
                    same = [row for row in table.sample if row.get(whole, "").strip()]
                    if (
                        same
                        and all(row.get(whole, "").split() == f"{row.get(a, '')} {row.get(b, '')}".split() for row in same)
                        and all(row.get(a, "").strip() for row in same)
                    ):
                        taken |= {"full_name": whole, "given_name": a, "family_name": b}
        if len(rest) > 12:
            break
    if "full_name" not in taken:
        words = [c for c in rest if all(not any(ch.isdigit() for ch in v) and len(v) < 60 for v in cells[c])]
        if len(words) >= 2 and all(len(v.split()) == 1 for c in words[:2] for v in cells[c]):
            taken |= {"given_name": words[0], "family_name": words[1]}
        elif words:
            taken["full_name"] = words[0]
    return taken


def _field(kind: str, target: str, column: str, table: Table) -> FieldMap:
    base = target.split(".", maxsplit=1)[0]
    values = [row.get(column, "") for row in table.sample]
    if base in _DATES and not target.startswith("birthday."):
        form, sure = date_form(values)
        if not sure:
            table.source.note(
                f"Dates in {column!r} do not tell day from month; they were read as day/month. Name a format in the import map if not."
            )
        return FieldMap(columns=(column,), format=form if form not in {None, "iso"} else None)
    if base in _AMOUNTS and kind != "contacts":
        sign = decimal_sign(v for v in values if not is_empty(v))
        return FieldMap(columns=(column,), decimal="," if sign == "," else None)
    return FieldMap(columns=(column,))


def explain(m: ImportMap, columns: Iterable[str], sample: Iterable[Mapping[str, str]]) -> list[tuple[str, str, str]]:
    """(target, source, example) per field of a map, then every column nothing takes, as `extra`: what a dry run shows."""
    rows = list(sample)
    out = []
    for target, f in m.fields.items():
        example = next((v for r in rows for c in f.columns if (v := r.get(c, "").strip())), f.constant or "")
        out.append((target, " + ".join(f.columns) or "constant", example[:60]))
    used = m.named_columns()
    out += [("extra", c, next((v for r in rows if (v := r.get(c, "").strip())), "")[:60]) for c in columns if c not in used]
    return out
