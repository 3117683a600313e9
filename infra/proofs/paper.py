"""A contact's chain of consent on paper: a PDF a person reads, with the proof attached and a code that leads to its verification.

The page says what the bundle says; the bundle itself is a file inside the PDF, and it alone proves anything.
"""

import io
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

import orjson
from pypdf import PdfReader, PdfWriter
from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.graphics.shapes import Drawing
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import HRFlowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table

from verifier.chancery_verify import Entry, Verified

INK, QUIET = HexColor("#1b1f24"), HexColor("#59636e")
BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10, leading=14, textColor=INK, alignment=TA_LEFT)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8, leading=11, textColor=QUIET)
MONO = ParagraphStyle("mono", parent=SMALL, fontName="Courier", fontSize=7, leading=9)
TITLE = ParagraphStyle("title", parent=BODY, fontName="Helvetica-Bold", fontSize=18, leading=24)
HEAD = ParagraphStyle("head", parent=BODY, fontName="Helvetica-Bold", fontSize=11, leading=15)
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
ATTACHED = "consent-proof.json"


def paper(
    bundle: Mapping[str, Any], found: Verified, *, firm: str, name: str | None, link: str, purposes: Mapping[str, str] | None = None
) -> bytes:
    """The PDF of a bundle that was verified. `name` is the person's, `link` where anybody may have the proof verified,
    `purposes` what the firm calls its purposes, by key."""
    out = io.BytesIO()
    titles = {str(n["id"]): str(n["title"]) for n in bundle.get("notices", ()) if n.get("title")}
    page = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=22 * mm, rightMargin=22 * mm, topMargin=20 * mm, bottomMargin=20 * mm,
        title="Record of consent", author=firm, subject=found.contact, creator="Chancery", invariant=1,
    )  # fmt: skip
    page.build(
        [*_head(found, firm, name, link), *_chain(found.entries, purposes or {}, titles), *_foot()],
        onFirstPage=_numbered,
        onLaterPages=_numbered,
    )
    return _attached(out.getvalue(), orjson.dumps(dict(bundle)))


def _head(found: Verified, firm: str, name: str | None, link: str) -> list[Any]:
    widget = QrCodeWidget(link, barLevel="M")
    left, low, right, high = widget.getBounds()
    size = 26 * mm
    code = Drawing(size, size, transform=[size / (right - left), 0, 0, size / (high - low), 0, 0])
    code.add(widget)
    complete = (
        f"Nothing was left out up to entry {found.complete_as_of} of the log."
        if found.complete_as_of is not None and not found.after
        else "Completeness is not proved: later changes may not be shown."
    )
    about = [
        Paragraph("Record of consent", TITLE),
        Paragraph(f"{escape(name or 'The person')} and {escape(firm)}", BODY),
        Paragraph(f"Log {escape(found.log)}, {found.size} entries. {complete}", SMALL),
        Paragraph(
            f"The proof is attached to this file as {ATTACHED}. Verify it at {escape(link)}, or offline with chancery_verify.py.",
            SMALL,
        ),
    ]
    style = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, 0), 0)]
    return [Table([[about, code]], colWidths=[None, 30 * mm], style=style), Spacer(1, 6 * mm)]


def _chain(entries: Sequence[Entry], names: Mapping[str, str], titles: Mapping[str, str]) -> list[Any]:
    out: list[Any] = []
    for e in entries:
        data = e.event["data"]
        what = e.event["type"].split(".")[1]
        purposes = ", ".join(names.get(str(p["key"]), str(p["key"])) for p in data.get("purposes", []))
        when = _moment(str(data.get("effective_from") or e.event["time"]))
        lines: list[Any] = [Paragraph(f"{data['seq']}. {when}: the person {SAID.get(what, what)}", HEAD)]
        about = [
            f"For {escape(purposes)}" if purposes else "",
            f"over {escape(str(data['channel']))}" if "channel" in data else "",
            f"({escape(_basis(str(data['legal_basis'])))})" if "legal_basis" in data else "",
            f"because of {escape(str(data['reason']))}" if "reason" in data else "",
        ]
        if any(about):
            lines.append(Paragraph(" ".join(a for a in about if a) + ".", BODY))
        notice = data.get("notice")
        if isinstance(notice, dict):
            called = f"“{titles[notice['id']]}”" if notice.get("id") in titles else str(notice["id"])
            said = f"On the notice {called}, version {notice['version']} ({notice['language']}), SHA-256 {notice['sha256']}."
            lines.append(Paragraph(escape(said), SMALL))
        lines += [Paragraph(f"{escape(k.replace('_', ' '))}: {escape(str(v))}", SMALL) for k, v in sorted(e.disclosed.items())]
        lines.append(Paragraph(f"entry {e.place} of the log, leaf {e.hash.hex()}", MONO))
        out += [KeepTogether(lines), Spacer(1, 3 * mm)]
    return out


def _foot() -> list[Any]:
    return [
        HRFlowable(width="100%", color=QUIET, thickness=0.5),
        Paragraph(
            "Times are in UTC. What is not shown here of an entry is committed to by a salted digest in it. This paper proves nothing by itself:"
            " the attached file does, with a key of the log that you got from elsewhere.",
            SMALL,
        ),
    ]


def _basis(text: str) -> str:
    """A legal basis as people write it: Article 6(1)(a) of the GDPR."""
    found = re.fullmatch(r"(eu|uk)-gdpr:A(\d+)-(\d+)-([a-z])", text)
    return f"{'UK ' if found[1] == 'uk' else ''}GDPR, Article {found[2]}({found[3]})({found[4]})" if found else text


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return text


def _numbered(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(QUIET)
    canvas.drawRightString(A4[0] - 22 * mm, 12 * mm, str(document.page))
    canvas.restoreState()


def _attached(pdf: bytes, bundle: bytes) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    writer.add_attachment(ATTACHED, bundle)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()
