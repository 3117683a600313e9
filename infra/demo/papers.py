"""Folders, and documents with their versions: real bytes of text, Markdown, HTML, CSV and PDF, put into the content store."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from commands.documents import (
    AddDocument,
    AddVersion,
    ArchiveDocument,
    DescribeDocument,
    DiscardDocument,
    LiftHold,
    LinkDocument,
    MoveDocument,
    NewVersion,
    PlaceHold,
    RenameDocument,
    RestoreDocument,
    RestoreVersion,
    RetainDocument,
    ShortenRetention,
    UnlinkDocument,
)
from commands.folders import ArchiveFolder, CreateFolder, MoveFolder, RenameFolder, RestoreFolder
from infra.demo.deals import DEALS, opened
from infra.demo.names import person
from infra.demo.stage import Stage, Story

POLICIES = ("Lending policy", "Complaints", "Money laundering", "Data protection", "Vulnerable clients", "Business continuity")
MINUTES = 6
LETTERS = 10
REPORTS = 6
TABLES = 4


async def folders(stage: Stage) -> Story:
    yield (at := stage.ago(376))
    for name, parent in (
        ("Clients", None),
        ("Offers", "Clients"),
        ("Valuations", "Clients"),
        ("House rules", None),
        ("Board", None),
        ("Minutes", "Board"),
        ("Figures", None),
        ("Old templates", None),
    ):
        inside = None if parent is None else stage.id("folder", parent)
        await stage.make("folder", name, CreateFolder(name=name, parent=inside), at)
    yield (at := stage.ago(300))
    await stage.do(RenameFolder(id=stage.id("folder", "House rules"), name="Policies"), at, "fitz")
    await stage.do(MoveFolder(id=stage.id("folder", "Figures"), parent=stage.id("folder", "Board")), at)
    await stage.do(ArchiveFolder(id=stage.id("folder", "Minutes"), reason="By mistake."), at)
    await stage.do(RestoreFolder(id=stage.id("folder", "Minutes")), at + timedelta(minutes=3))
    yield (at := stage.ago(200))
    await stage.do(ArchiveFolder(id=stage.id("folder", "Old templates"), reason="Replaced by the new letterhead."), at)


def stories(stage: Stage) -> list[Story]:
    return [
        *(policy(stage, i) for i in range(len(POLICIES))),
        *(minutes(stage, i) for i in range(MINUTES)),
        *(letter(stage, i) for i in range(LETTERS)),
        *(report(stage, i) for i in range(REPORTS)),
        *(table(stage, i) for i in range(TABLES)),
    ]


async def _new(stage: Stage, content: str | bytes, file_name: str, **more: Any) -> NewVersion:
    bytes_ = content.encode() if isinstance(content, str) else content
    return NewVersion(sha256=await stage.keep(bytes_), file_name=file_name, **more)


async def policy(stage: Stage, i: int) -> Story:
    """Markdown that is revised over the year; the first goes back to an earlier version."""
    title = POLICIES[i]
    file = title.lower().replace(" ", "-") + ".md"

    def text(n: int) -> str:
        rules = "\n".join(f"{k}. {('Ask', 'Write down', 'Check', 'Sign', 'Keep')[k % 5]} it, edition {n}." for k in range(1, 4 + n))
        return f"# {title}\n\nEdition {n} of Quill & Harrow Lending.\n\n{rules}\n"

    yield (at := stage.ago(366 - i, 15))
    add = AddDocument(
        version=await _new(stage, text(1), file, author="Fitzgerald Plumley"),
        title=title,
        folder=stage.id("folder", "House rules"),
        tags=["policy"],
        language="en",
    )
    id = await stage.make("document", ("policy", i), add, at, "fitz")
    for n in range(2, 3 + i % 4):
        yield (at := at + timedelta(days=60 + i * 3))
        newer = await _new(stage, text(n), file, author="Fitzgerald Plumley", comment=f"Edition {n}, after the yearly review.")
        await stage.do(AddVersion(id=id, version=newer), at, "fitz")
    if i == 0:
        yield (at := at + timedelta(days=9))
        await stage.do(RestoreVersion(id=id, number=1, comment="The second edition was published too early."), at, "fitz")
    if i == 1:
        yield (at := at + timedelta(days=5))
        await stage.do(RenameDocument(id=id, title="Complaints and redress"), at, "fitz")
        await stage.do(
            DescribeDocument(id=id, description="How we answer when somebody is unhappy.", tags=["policy", "public"]), at, "fitz"
        )


async def minutes(stage: Stage, i: int) -> Story:
    yield (at := stage.ago(340 - i * 55, 17))
    day = at.date().isoformat()
    text = f"Minutes of the board, {day}\n\nPresent: A. Quillfeather, C. Harrow-Finch.\n\n1. The figures were read.\n2. Tea was taken.\n"
    add = AddDocument(
        version=await _new(stage, text, f"minutes-{day}.txt", author="Ada Quillfeather"),
        title=f"Minutes of {day}",
        folder=stage.id("folder", "Minutes") if i else None,
        retain_until=stage.on(3650 - i * 55),
    )
    id = await stage.make("document", ("minutes", i), add, at)
    yield (at := at + timedelta(days=2))
    if i == 0:
        await stage.do(MoveDocument(id=id, folder=stage.id("folder", "Minutes")), at)
        until = stage.on(1800)
        await stage.do(ShortenRetention(id=id, until=until, reason="Five years are enough by our rules."), at, "fitz")
    if i == 1:
        hold = await stage.do(PlaceHold(id=id, name="Inquiry 12", reason="The ombudsman may ask for it."), at, "fitz")
        yield (at := at + timedelta(days=90))
        await stage.do(LiftHold(id=id, hold=UUID(hold.body["hold"]), reason="The ombudsman closed the inquiry."), at, "fitz")


async def letter(stage: Stage, i: int) -> Story:
    """An offer letter in HTML, then as a PDF, filed with the deal and the client."""
    yield (at := stage.ago(345 - i * 33, 12))
    given, family = person(i)
    lines = [f"Dear {given} {family},", "", "we are glad to offer you a loan on the terms enclosed.", "", "Quill & Harrow Lending"]
    html = "<!doctype html>\n<html lang=en><title>Offer</title><body>" + "".join(f"<p>{x}</p>" for x in lines) + "</body></html>\n"
    number = max(n for n in range(DEALS) if opened(n) > 345 - i * 33 + 14 or n == 0)
    add = AddDocument.model_validate(
        {
            "version": await _new(stage, html, f"offer-{i + 1}.html"),
            "title": f"Offer letter {i + 1}",
            "folder": stage.id("folder", "Offers"),
            "tags": ["offer"],
            "links": [{"kind": "contact", "target": stage.id("contact", i)}, {"kind": "deal", "target": stage.id("deal", number)}],
            "retain_until": stage.on(2190 - i * 30),
        }
    )
    id = await stage.make("document", ("letter", i), add, at, "clementine")
    yield (at := at + timedelta(days=1))
    signed = await _new(stage, pdf(lines), f"offer-{i + 1}.pdf", comment="As it was signed.", source_time=at)
    await stage.do(AddVersion(id=id, version=signed), at, "clementine")
    if i == 2:
        await stage.do(PlaceHold(id=id, name="Dispute over the boundary", reason="Letter before action received."), at, "fitz")
    if i == 4:
        await stage.do(LinkDocument(id=id, kind="organisation", target=stage.id("organisation", 1)), at, "clementine")
        gone = UnlinkDocument(id=id, kind="organisation", target=stage.id("organisation", 1))
        await stage.do(gone, at + timedelta(minutes=4), "clementine")
    if i == 6:
        await stage.do(RetainDocument(id=id, until=stage.on(4000), reason="The term is longer than usual."), at, "fitz")


async def report(stage: Stage, i: int) -> Story:
    yield (at := stage.ago(330 - i * 50, 14))
    lines = [
        f"Valuation {4000 + i}",
        "",
        "A workshop with yard, in fair order.",
        f"Value: GBP {180 + i * 45},000",
        "",
        "Silverlock Surveyors",
    ]
    add = AddDocument.model_validate(
        {
            "version": await _new(stage, pdf(lines), f"valuation-{4000 + i}.pdf", author="Silverlock Surveyors"),
            "folder": stage.id("folder", "Valuations"),
            "tags": ["valuation"],
            "links": [{"kind": "deal", "target": stage.id("deal", i * 9)}],
        }
    )
    id = await stage.make("document", ("report", i), add, at, "clementine")
    yield (at := at + timedelta(days=20))
    if i == 0:
        await stage.do(ArchiveDocument(id=id, reason="Superseded by a newer valuation."), at, "clementine")
    if i == 1:
        await stage.do(ArchiveDocument(id=id), at, "clementine")
        await stage.do(RestoreDocument(id=id), at + timedelta(days=1), "clementine")


async def table(stage: Stage, i: int) -> Story:
    """Figures of a quarter; those of the first were a draft and have been discarded."""
    yield (at := stage.ago(320 - i * 80, 16))
    rows = "\n".join(f"{name},{(i + 3) * (k + 2) * 1000}" for k, name in enumerate(("lent", "repaid", "overdue", "written off")))
    add = AddDocument(
        version=await _new(stage, f"figure,GBP\n{rows}\n", f"quarter-{i + 1}.csv"),
        title=f"Figures of quarter {i + 1}",
        folder=stage.id("folder", "Figures"),
        language="en",
    )
    id = await stage.make("document", ("table", i), add, at, "hyacinth")
    if i == 0:
        yield (at := at + timedelta(days=7))
        await stage.do(DiscardDocument(id=id, reason="A draft with made-up numbers."), at, "ada")


def pdf(lines: list[str]) -> bytes:
    """One A4 page of text as PDF 1.4 (ISO 32000): five objects, a cross-reference table, no compression."""
    shown = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in lines]
    text = "BT /F1 12 Tf 72 770 Td 18 TL\n" + "".join(f"({line}) Tj T*\n" for line in shown) + "ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = "%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
    return (out + end + f"startxref\n{len(out)}\n%%EOF\n").encode("ascii")
