"""vCards as they are found: 2.1, 3.0 and 4.0 (RFC 6350), any number in one file. jCard and xCard stand in cardtrees.

Lines are unfolded however they were folded, quoted-printable and its character set are undone, groups are kept, an AGENT is a card
within its card. Inline pictures, sounds and keys are counted, never held. A defect costs its line or its card, not the file.
"""

import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from infra.imports.rows import FileDefect, RowError, doubt, refusal
from infra.imports.source import Overlong, Source
from infra.imports.values import clean

MAX_LINE = 16 << 20
MAX_CARD = 4 << 20
MAX_PROPERTIES = 2_000
MAX_AGENTS = 4

BINARY = frozenset(("PHOTO", "LOGO", "SOUND", "KEY"))
_ENCODINGS = frozenset(("QUOTED-PRINTABLE", "BASE64", "B", "8BIT", "7BIT", "QP"))
_HEAD = re.compile(r'\s*(?:([A-Za-z0-9_.-]+)\.)?([A-Za-z0-9_-]+)((?:;(?:[^":;]|"[^"]*")*)*):', re.DOTALL)
_PARAM = re.compile(r';((?:[^";]|"[^"]*")*)')
_VALUE = re.compile(r'((?:[^",]|"[^"]*")+)')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_BASE64 = re.compile(r"\s*[A-Za-z0-9+/]*={0,2}\s*")
_SEMI = re.compile(r"((?:[^\\;]|\\.)*)(;|$)", re.DOTALL)
_COMMA = re.compile(r"((?:[^\\,]|\\.)*)(,|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Property:
    """One line of a card. `parts` are its components (between semicolons), each a list of values (between commas), unescaped.

    `params` have upper-case names; `types` are those of TYPE, lower case. `size` is the number of bytes of inline data that was not kept.
    """

    line: int
    name: str
    parts: list[list[str]] = field(repr=False)
    params: dict[str, list[str]]
    group: str | None = None
    size: int = 0

    @property
    def text(self) -> str:
        """The whole value as one text, separators kept."""
        return ";".join(",".join(p) for p in self.parts)

    @property
    def types(self) -> list[str]:
        return [t.lower() for t in self.params.get("TYPE", [])]

    def part(self, index: int) -> str:
        return ", ".join(v for v in self.parts[index] if v) if index < len(self.parts) else ""


@dataclass(slots=True)
class Card:
    """One card. `raw` is its text as it was, without inline data; `agents` are cards inside it."""

    line: int
    number: int
    version: str = ""
    properties: list[Property] = field(default_factory=list, repr=False)
    raw: str = field(default="", repr=False)
    agents: list["Card"] = field(default_factory=list, repr=False)
    errors: list[RowError] = field(default_factory=list)

    @property
    def source(self) -> dict[str, str]:
        return {"vcard": self.raw}

    def all(self, name: str) -> list[Property]:
        return [p for p in self.properties if p.name == name]


class CardFile(Protocol):
    """What every reader of cards offers."""

    source: Source

    def __iter__(self) -> Iterator[Card]: ...


@dataclass(slots=True)
class _Line:
    """A logical line being put together: `size` counts what was not kept of inline data."""

    line: int
    text: str
    quoted: bool = False
    binary: bool = False
    size: int = 0
    pieces: list[str] = field(default_factory=list)

    def joined(self) -> str:
        return self.text + "".join(self.pieces)


class VcardFile:
    """A .vcf file. Anything between cards is skipped and noted; a file without any card is a FileDefect."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Card]:
        number = 0
        stack: list[Card] = []
        current: _Line | None = None
        size = 0
        stray = False

        def finish() -> None:
            nonlocal current
            if current is not None and stack:
                _put(stack[-1], current, self.source)
            current = None

        for at, physical in enumerate(self.source.lines(MAX_LINE), 1):
            if type(physical) is Overlong:
                if stack:
                    finish()
                    stack[-1].errors.append(
                        doubt(
                            at,
                            physical[:40],
                            physical,
                            f"the line is longer than {MAX_LINE >> 20} million characters and was left out",
                        )
                    )
                continue
            line = physical.rstrip("\r\n")
            bare = line.strip()
            upper = bare.upper().replace(" ", "") if len(bare) < 40 else ""
            if upper == "BEGIN:VCARD":
                agent = current is not None and current.text.upper().startswith("AGENT")
                finish()
                if stack and not agent:
                    done = stack[0]
                    done.errors.append(doubt(at, "END", "", "the card has no END:VCARD; the next one begins here"))
                    yield done
                    stack = []
                if len(stack) >= MAX_AGENTS:
                    raise FileDefect(
                        "Cards are nested too deeply",
                        f"more than {MAX_AGENTS} stand inside each other",
                        "Check where the file comes from",
                        line=at,
                    )
                if not stack:
                    number += 1
                    size = 0
                card = Card(at, number)
                if stack:
                    stack[-1].agents.append(card)
                stack.append(card)
                stack[0].raw = ""
                continue
            if not stack:
                if bare and bare != "\x1a" and not stray:
                    stray = True
                    self.source.note(f"Lines outside any card were skipped, the first at line {at}.")
                continue
            if upper == "END:VCARD":
                finish()
                done = stack.pop()
                if not stack:
                    yield sealed(done)
                continue
            size += len(line)
            if size > MAX_CARD and not (current and current.binary):
                if not any(e.refused for e in stack[0].errors):
                    finish()
                    stack[0].errors.append(refusal(at, "", "", f"the card has more than {MAX_CARD >> 20} MB of text"))
                continue
            if current is not None and self._continues(current, line, bare, stack[-1]):
                continue
            finish()
            if bare:
                current = _begin(at, line)
                if current.binary:
                    size -= len(line)
        finish()
        if stack:
            stack[0].errors.append(doubt(stack[0].line, "END", "", "the file ends inside this card"))
            yield sealed(stack[0])
        if not number:
            raise FileDefect("The file holds no vCard", "no line says BEGIN:VCARD", "Export the address book as vCard or CSV")

    def _continues(self, current: _Line, line: str, bare: str, card: Card) -> bool:
        """Whether `line` goes on with the line before it, and if so, take it."""
        if current.quoted and current.pieces[-1:] and current.pieces[-1].endswith("="):
            current.pieces[-1] = current.pieces[-1][:-1]
            current.pieces.append(line)
            return True
        if current.quoted and not current.pieces and current.text.endswith("="):
            current.text = current.text[:-1]
            current.pieces.append(line)
            return True
        if line[:1] in {" ", "\t"}:
            if current.binary:
                current.size += len(bare)
            else:
                current.pieces.append(line if current.quoted or card.version == "2.1" else line[1:])
            return True
        if not bare:
            return True
        if current.binary and _BASE64.fullmatch(bare):
            current.size += len(bare)
            return True
        if _HEAD.match(line) is None:
            card.errors.append(
                doubt(
                    current.line,
                    current.text.partition(":")[0][:60],
                    line,
                    "the value goes on in a line that is not indented; it was joined",
                )
            )
            current.pieces.append(f"\n{line}" if not current.quoted else line)
            return True
        return False


def _begin(at: int, line: str) -> _Line:
    m = _HEAD.match(line)
    if m is None:
        return _Line(at, line)
    params = m[3].upper()
    name = m[2].upper()
    value = line[m.end() :]
    binary = (name in BINARY and ("BASE64" in params or "ENCODING=B" in params)) or (
        value[:5].lower() == "data:" and ";base64," in value[:100]
    )
    if binary:
        return _Line(
            at,
            line[: m.end()] + (value[: value.find(",") + 1] if value[:5].lower() == "data:" else ""),
            binary=True,
            size=len(value.strip()),
        )
    return _Line(at, line, quoted="QUOTED-PRINTABLE" in params)


def _put(card: Card, line: _Line, source: Source) -> None:
    text = line.joined()
    card.raw += f"{text}{f' [{line.size * 3 // 4} bytes]' if line.binary else ''}\n"
    if len(card.properties) >= MAX_PROPERTIES:
        if len(card.properties) == MAX_PROPERTIES and not any(e.field == "properties" for e in card.errors):
            card.errors.append(
                doubt(
                    line.line,
                    "properties",
                    "",
                    f"the card has more than {MAX_PROPERTIES:,} properties; the rest stay in its source only",
                )
            )
        return
    m = _HEAD.match(text)
    if m is None:
        card.errors.append(doubt(line.line, "", text, "this line is not of the form NAME:value and was left out"))
        return
    name, value = m[2].upper(), text[m.end() :]
    head = m[3]
    if name == "ADR" and "^" in value and (cut := value.find(":", value.rfind("^"))) >= 0:
        head, value = f"{head}:{value[:cut]}", value[cut + 1 :]
        card.errors.append(
            doubt(line.line, name, head, "the label holds a colon but stands in no quotes; the address was taken after its last ^")
        )
    params = _params(head)
    encoding = "".join(params.get("ENCODING", [])).upper()
    if line.binary:
        params.setdefault("ENCODING", ["B"])
        card.properties.append(Property(line.line, name, [[value.rstrip(",")]], params, m[1], line.size * 3 // 4))
        return
    charset = params.get("CHARSET", [""])[0]
    if encoding in {"QUOTED-PRINTABLE", "QP"}:
        value = _unquote(value, charset, card, line.line, name)
    elif charset and source.encoding == "cp1252" and not value.isascii():
        try:
            value = value.encode("cp1252").decode(charset)
        except (LookupError, UnicodeError):
            card.errors.append(
                doubt(
                    line.line,
                    name,
                    value,
                    f"the character set {charset[:40]!r} does not fit the bytes; they were read as Windows-1252",
                )
            )
    value = clean(value)
    if name == "VERSION":
        card.version = value.strip()
        return
    if name == "AGENT" and "BEGIN:VCARD" in value.upper():
        _agent(card, value, line.line, source)
        return
    card.properties.append(Property(line.line, name, _parts(name, value, card.version), params, m[1]))


def _params(text: str) -> dict[str, list[str]]:
    params: dict[str, list[str]] = {}
    for m in _PARAM.finditer(text):
        name, sign, value = m[1].partition("=")
        name = name.strip().upper()
        if not sign:
            name, value = ("ENCODING" if name in _ENCODINGS else "TYPE"), name
        for v in _VALUE.findall(value):
            v = v.strip()
            if v[:1] == '"' == v[-1:] and len(v) > 1:
                v = v[1:-1]
            if "^" in v:
                v = re.sub(r"\^([n'^])", lambda x: {"n": "\n", "'": '"', "^": "^"}[x[1]], v)
            params.setdefault(name, []).extend(v.split(",") if name == "TYPE" else [v])
    return params


def _unquote(value: str, charset: str, card: Card, line: int, name: str) -> str:
    data = quopri.decodestring(value.encode("utf-8", "replace"))
    try:
        return data.decode(charset or "utf-8").replace("\r\n", "\n")
    except (LookupError, TypeError):
        card.errors.append(doubt(line, name, charset, "the character set is unknown; the bytes were read as UTF-8"))
    except UnicodeError:
        card.errors.append(
            doubt(line, name, value, f"some bytes are not valid {charset[:40] or 'UTF-8'}; they were read as Windows-1252")
        )
    return data.decode("utf-8", "chancery-windows-1252").replace("\r\n", "\n")


def _parts(name: str, value: str, version: str) -> list[list[str]]:
    if name in {
        "NOTE",
        "FN",
        "LABEL",
        "URL",
        "UID",
        "REV",
        "TITLE",
        "ROLE",
        "TEL",
        "EMAIL",
        "BDAY",
        "SOURCE",
        "MAILER",
        "PRODID",
        "IMPP",
        "GEO",
        "KEY",
        "FBURL",
        "CALURI",
    }:
        return [[_unescape(value)]]
    commas = name in {"N", "ADR", "NICKNAME", "CATEGORIES", "ORG"} and version != "2.1" and name != "ORG"
    return [
        [_unescape(v) for v in _split(_COMMA, part)] if commas or name == "CATEGORIES" else [_unescape(part)]
        for part in _split(_SEMI, value)
    ]


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    if "\\" not in text:
        return text.split(";" if pattern is _SEMI else ",")
    out = []
    for m in pattern.finditer(text):
        out.append(m[1])
        if not m[2]:
            break
    return out or [text]


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda m: "\n" if m[1] in "nN" else m[1], text).strip() if "\\" in text else text.strip()


def _agent(card: Card, value: str, line: int, source: Source) -> None:
    inner = Card(line, card.number)
    for text in _unescape(value).splitlines():
        if text.strip().upper() not in {"BEGIN:VCARD", "END:VCARD"} and not text.upper().startswith("AGENT") and text.strip():
            _put(inner, _begin(line, text), source)
    card.agents.append(inner)


def sealed(card: Card) -> Card:
    if not card.properties and not card.agents and not any(e.refused for e in card.errors):
        card.errors.append(refusal(card.line, "", "", "the card is empty"))
    return card
