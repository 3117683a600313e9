"""Cards as trees: jCard (RFC 7095) and xCard (RFC 6351) into the same cards as text files give."""

from collections.abc import Iterator
from typing import Any

from infra.imports.jsons import plain, values
from infra.imports.rows import FileDefect, doubt, refusal
from infra.imports.source import Source
from infra.imports.values import clean
from infra.imports.vcards import BINARY, MAX_CARD, MAX_LINE, MAX_PROPERTIES, Card, Property, sealed
from infra.imports.xmls import stream


class JcardFile:
    """A jCard document, or an array of them."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Card]:
        number = 0
        single = self.source.head_text().lstrip()[1:].lstrip()[:1] != "["
        for path, value in values(self.source, 1):
            if single and (not path or path[0] == 0):
                if value != "vcard":
                    break
                continue
            number += 1
            properties = (
                value if single else value[1] if isinstance(value, list) and len(value) > 1 and value[0] == "vcard" else None
            )
            card = Card(number, number, "4.0", raw=str(plain(value))[:MAX_CARD])
            if not isinstance(properties, list):
                card.errors.append(refusal(number, "", "", "this element is no jCard"))
            else:
                for p in properties[:MAX_PROPERTIES]:
                    _put_json(card, p, number)
            yield sealed(card)
        if not number:
            raise FileDefect(
                "The JSON file holds no jCard", 'a jCard begins with ["vcard", …', "Export the address book as vCard or CSV"
            )


def _put_json(card: Card, p: Any, line: int) -> None:
    if not (isinstance(p, list) and len(p) > 3 and isinstance(p[0], str) and isinstance(p[1], dict)):
        card.errors.append(doubt(line, "", p, "this property is not of the form [name, parameters, type, value]"))
        return
    name = p[0].upper()
    params = {str(k).upper(): [str(plain(x)) for x in (v if isinstance(v, list) else [v])] for k, v in p[1].items()}
    params["VALUE"] = [str(p[2])]
    group = params.pop("GROUP", [None])[0]
    parts = [
        [str(plain(x)) for x in (part if isinstance(part, list) else [part])]
        for part in (p[3] if isinstance(p[3], list) else p[3:])
    ]
    if name in {"CATEGORIES", "NICKNAME"}:
        parts = [[v for part in parts for v in part]]
    size = sum(len(v) for part in parts for v in part)
    if name in BINARY and parts[0][0][:5].lower() == "data:":
        card.properties.append(Property(line, name, [[parts[0][0].partition(",")[0]]], params, group, size * 3 // 4))
    elif name == "VERSION":
        card.version = parts[0][0]
    else:
        card.properties.append(Property(line, name, parts, params, group))


_XML_ORDER = {
    "n": ("surname", "given", "additional", "prefix", "suffix"),
    "adr": ("pobox", "ext", "street", "locality", "region", "code", "country"),
}


class XcardFile:
    """An xCard document (RFC 6351)."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Card]:
        out: list[Card] = []
        parsers: list[Any] = []
        path: list[str] = []
        card: Card | None = None
        name, param = "", ""
        params: dict[str, list[str]] = {}
        found: list[tuple[str, str]] = []
        words: list[str] = []
        number = group = 0

        def start(tag: str, _: dict[str, str]) -> None:
            nonlocal card, name, params, found, param, number, group
            tag = tag.rpartition(":")[2].lower()
            path.append(tag)
            words.clear()
            if tag == "vcard":
                number += 1
                card = Card(parsers[0].CurrentLineNumber, number, "4.0")
            elif tag == "group":
                group += 1
            elif card is not None and not name and tag != "vcards":
                name, params, found = tag, {}, []
            elif "parameters" in path and path[-2:-1] == ["parameters"]:
                param = tag.upper()

        def end(tag: str) -> None:
            nonlocal card, name
            tag = path.pop()
            text = clean("".join(words).strip())
            words.clear()
            if tag == "vcard" and card is not None:
                out.append(sealed(card))
                card = None
            elif card is None or tag in {"group", "parameters", "vcards"}:
                return
            elif "parameters" in path:
                if text:
                    params.setdefault(param, []).append(text)
            elif tag == name and (not path or path[-1] in {"vcard", "group"}):
                order = _XML_ORDER.get(name)
                parts = [[v for t, v in found if t == want] or [""] for want in order] if order else [[v] for _, v in found]
                if name in {"categories", "nickname"}:
                    parts = [[v for _, v in found]]
                card.raw += f"{name.upper()}:{';'.join(','.join(p) for p in parts)[:MAX_LINE]}\n"
                if len(card.raw) > MAX_CARD or len(card.properties) >= MAX_PROPERTIES:
                    card.errors.append(doubt(card.line, name, "", "the card is too large; the property was left out"))
                elif parts:
                    inline = name.upper() in BINARY and parts[0][0][:5].lower() == "data:"
                    size = len(parts[0][0]) * 3 // 4 if inline else 0
                    card.properties.append(
                        Property(
                            card.line,
                            name.upper(),
                            [[parts[0][0].partition(",")[0]]] if inline else parts,
                            params,
                            str(group) if "group" in path else None,
                            size,
                        )
                    )
                name = ""
            elif name:
                found.append((tag, text))

        for _ in stream(self.source, start, end, words.append, parser_out=parsers):
            yield from out
            out.clear()
        if not number:
            raise FileDefect("The XML file holds no xCard", "it has no <vcard> element", "Export the address book as vCard or CSV")
