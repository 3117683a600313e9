"""A contact's chain of consent on paper: a PDF a person reads, with the proof attached and a code that leads to its verification.

The page says what the bundle says; the bundle itself is a file inside the PDF, and it alone proves anything. The PDF is an archival one
(PDF/A-3b) and holds the letters it shows. Letters of most living scripts have a font; any other, and what would be invisible or turn the
order of its neighbours around, is shown by its number, `U+202E`: nothing is lost, and nothing looks like what it is not.
"""

import functools
import importlib.util
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import segno
import typst
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # it has no types

from verifier.chancery_verify import Entry, Verified, dated

PAGE = Path(__file__).with_suffix(".typ")
FONTS = (
    "fontpkg_noto_sans",
    "noto_cjk_sans_otc",
    "justmytype_intl_rtl",
    "justmytype_intl_south_asia",
    "justmytype_intl_sea",
    "justmytype_intl_africa",
)
"""Packages that hold nothing but fonts. One that is not there takes its scripts along, and nothing else."""

CARRIED = "DejaVu Sans Mono"
"""A font that the typesetter carries: for digests, and for these scripts, which no other has."""
ARMENIAN_AND_GEORGIAN = frozenset((*range(0x531, 0x557), *range(0x561, 0x588), *range(0x10D0, 0x10F1)))
FIRST = ("Noto Sans", "Noto Sans CJK SC")
JOINERS = frozenset("\u200c\u200d")  # Persian and the scripts of India spell with them
ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"
HEAD = 2_000  # bytes of what stands before a stream
_LENGTH = re.compile(rb"/Length\s+([0-9]{1,9})(?!\s+[0-9]+\s+R)")
LONG_WORD = re.compile(r"\S{30}(?=\S{10})")
SAID = {
    "Requested": "was asked for consent",
    "Confirmed": "confirmed the consent",
    "Given": "consented",
    "Refused": "refused",
    "Deferred": "put off the answer",
    "Withdrawn": "took the consent back",
    "Revoked": "had the consent ended by the firm",
    "Expired": "had a consent whose time ended",
    "Superseded": "had a consent that a newer notice ended",
    "Invalidated": "had a consent that never was valid",
    "Suppressed": "is not to be contacted",
    "SuppressionLifted": "may be contacted again",
}
CALLED = {"display_name": "name", "ip_address": "IP address", "user_agent": "browser"}
"""What is disclosed, where its own name is not how people say it."""
ATTACHED = "consent-proof.json"
MOST = 2_000  # acts; setting as many takes a second and a quarter of a gigabyte


def paper(
    bundle: Mapping[str, Any],
    found: Verified,
    *,
    firm: str,
    name: str | None,
    link: str,
    purposes: Mapping[str, str] | None = None,
    notices: Mapping[tuple[str, int], str] | None = None,
) -> bytes:
    """The PDF of a bundle that was verified. `name` is the person's, `link` where anybody may have the proof verified,
    `purposes` what the firm calls its purposes, by key, and `notices` what it calls its notices, by id and version: the bundle binds
    neither, so the keys and digests that it does bind are printed too."""
    data = {
        "title": "Record of consent",
        "firm": shown(firm),
        "subject": found.contact,
        "who": [shown(name or "The person"), shown(firm)],
        "about": _about(found, link),
        "link": link,
        "qr": segno.make(link, error="m", micro=False).svg_inline(border=0),
        "entries": list(_entries(found.entries, purposes or {}, notices or {})),
        "foot": "Times are in UTC. What is not shown here of an entry is committed to by a salted digest in it. This paper proves nothing"
        " by itself: the attached file does, with a key of the log that you got from elsewhere.",
        "attached": ATTACHED,
        "attached_as": "The proof of this record, to be verified",
        "bundle": orjson.dumps(dict(bundle)).decode(),
        "fonts": _families(),
    }
    made = typst.compile(
        PAGE,
        root=PAGE.parent,
        font_paths=_fonts(),
        format="pdf",
        sys_inputs={"data": orjson.dumps(data).decode()},
        pdf_standards="a-3b",
        timestamp=_written(found),  # so that one bundle makes one file
    )
    return bytes(made)


def attached(pdf: bytes, most: int) -> bytes | None:
    """The proof inside a PDF that was made here, also when another program has saved it since; None when there is none of at most so many
    bytes. The file may be anyone's: nothing of it is read but the streams that call themselves attachments."""
    at = 0
    for _ in range(20):
        at = pdf.find(b"/EmbeddedFile", at + 1)
        begins = pdf.find(b"stream", at, at + HEAD) if at > 0 else -1
        if begins < 0:
            return None
        head = pdf[max(pdf.rfind(b"obj", max(0, at - HEAD), at), 0) : begins]
        start = begins + len(b"stream") + (2 if pdf[begins + 6 : begins + 8] == b"\r\n" else 1)
        content = pdf[start : start + most]
        length = _LENGTH.search(head)
        if b"/FlateDecode" in head:
            try:
                content = zlib.decompressobj().decompress(content, most + 1)
            except zlib.error:
                continue
        else:
            content = content[: int(length[1])] if length else content.partition(b"endstream")[0]
        if content.lstrip().startswith(b"{") and len(content) <= most:
            return content
    return None


def shown(text: str) -> str:
    """The text as it can be printed: letters that have no font, and signs that can't be seen, by their numbers. Set apart from what
    stands around it, so that a name written from right to left leaves the order of the line as it is."""
    seen = "".join(ch if _showable(ch) else f" U+{ord(ch):04X} " for ch in text)
    return f"{ISOLATE}{LONG_WORD.sub(_breakable, seen)}{END_OF_ISOLATE}"


def _breakable(found: re.Match[str]) -> str:
    return f"{found[0]}\u200b"


def _showable(ch: str) -> bool:
    if ch in JOINERS or ch == " ":
        return True
    return unicodedata.category(ch)[0] not in "CZ" and ord(ch) in _covered()


@functools.cache
def _fonts() -> typst.Fonts:
    folders = [
        spec.submodule_search_locations[0]
        for p in FONTS
        if (spec := importlib.util.find_spec(p)) and spec.submodule_search_locations
    ]
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=list(folders))


@functools.cache
def _families() -> list[str]:
    """Our fonts in the order in which they are asked for a letter, and no other that the typesetter carries."""
    ours = {f.family for f in _fonts().fonts() if f.path}
    return [*(f for f in FIRST if f in ours), *sorted(f for f in ours if f not in FIRST and "CJK" not in f), CARRIED]


@functools.cache
def _covered() -> frozenset[int]:
    """Every letter that one of the fonts has."""
    found = set(ARMENIAN_AND_GEORGIAN)
    for font in _fonts().fonts():
        if font.path and font.family in _families():
            with TTFont(font.path, fontNumber=font.index, lazy=True) as opened:
                found.update(opened.getBestCmap())
    return frozenset(found)


def _written(found: Verified) -> int:
    """When the newest entry was recorded, in seconds."""
    times = [e.event.get("recordedtime") or e.event["time"] for e in found.entries]
    return int(max((datetime.fromisoformat(t).timestamp() for t in times), default=0.0))


def _about(found: Verified, link: str) -> list[str]:
    complete = (
        f"Nothing was left out up to entry {found.complete_as_of} of the log."
        if found.complete_as_of is not None and not found.after
        else "Completeness is not proved: later changes may not be shown."
    )
    return [
        f"Log {found.log}, {found.size} entries. {complete}",
        f"The proof is attached to this file as {ATTACHED}. Verify this file at {link}, or the proof offline with chancery_verify.py.",
    ]


def _entries(entries: Sequence[Entry], names: Mapping[str, str], titles: Mapping[tuple[str, int], str]) -> Iterator[dict[str, Any]]:
    for e in entries:
        data = e.event["data"]
        what = e.event["type"].split(".")[1]
        when, recorded = dated(e)
        purposes = ", ".join(shown(names.get(str(p["key"]), str(p["key"]))) for p in data.get("purposes", []))
        about = [
            f"For {purposes}" if purposes else "",
            f"over {data['channel']}" if "channel" in data else "",
            f"({_basis(str(data['legal_basis']))})" if "legal_basis" in data else "",
            f"because of {shown(str(data['reason']))}" if "reason" in data else "",
        ]
        lines = [] if recorded is None else [f"Recorded on {_moment(recorded)}. The time above is what whoever recorded it said."]
        notice = data.get("notice")
        if isinstance(notice, dict):
            title = titles.get((notice["id"], notice["version"]))
            called = f"“{shown(title)}”, " if title else ""
            lines.append(
                f"On the notice {called}{notice['id']}, version {notice['version']} ({notice['language']}), SHA-256 {notice['sha256']}."
            )
        for member, value in sorted(e.disclosed.items()):
            first, *more = str(value).splitlines() or [""]
            lines += [f"{CALLED.get(member, member.replace('_', ' '))}: {shown(first)}", *map(shown, more)]
        yield {
            "head": f"{data['seq']}. {_moment(when)}: the person {SAID.get(what, what)}",
            "said": [" ".join(a for a in about if a) + "."] if any(about) else [],
            "lines": lines,
            "leaf": f"entry {e.place} of the log, leaf {e.hash.hex()}",
        }


def _basis(text: str) -> str:
    """A legal basis as people write it: Article 6(1)(a) of the GDPR."""
    found = re.fullmatch(r"(eu|uk)-gdpr:A(\d+)-(\d+)-([a-z])", text)
    return f"{'UK ' if found[1] == 'uk' else ''}GDPR, Article {found[2]}({found[3]})({found[4]})" if found else text


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return text
