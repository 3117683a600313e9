"""What is found of each thing a firm has: its words with their weight, its facts to filter by, and the event that made each of them so.

S1  What is found is a function of the events of one stream alone, so that an index rebuilt equals the one that was kept.
S2  A value is personal here exactly where the view's row marks it so.
S3  What was merged into another, removed or discarded is not found; what is archived is, and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.deals import DealNoted, NoteTakenBack
from domain.kernel import FirmId
from domain.tasks.events import TaskCommentAmended, TaskCommented, TaskCommentRemoved
from projections.kernel import Recorded
from projections.search.kinds import Kind, Weight, personal_fields
from projections.search.values import Fact, fact, words

VERSION = 1  # to be raised when what is found of a thing changes: the index is then rebuilt
MAX_TEXT = 20_000  # characters of one field
MAX_REMARKS = 500
TITLE = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The event that made something so."""

    position: int
    event_id: UUID
    type: str
    occurred_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    name: str
    text: str
    weight: Weight
    personal: bool
    made: Made


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The file behind a document."""

    sha256: str
    media_type: str
    size: int
    made: Made


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is found of one thing. `facts` are as JSON has them (numbers and times as text); `open_facts` those that are not personal."""

    firm: FirmId
    kind: str
    id: UUID
    version: int
    title: str
    title_personal: bool
    texts: tuple[Text, ...]
    numbers: tuple[str, ...]
    numbers_personal: bool
    facts: Mapping[str, Fact]
    open_facts: Mapping[str, Fact]
    archived: bool
    made: Made
    content: Content | None = None
    body: str = ""
    unread: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one stream has come to: its row, what was said about it, and since which event each field has its value."""

    row: Any = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    since: Mapping[str, Made] = field(default_factory=dict)
    created_at: datetime | None = None
    version: int = 0
    last: Made | None = None


def _remarked(remarks: Mapping[str, str], r: Recorded) -> Mapping[str, str]:
    match r.event:
        case DealNoted(note=str() as text):
            return {**dict(list(remarks.items())[-MAX_REMARKS:]), str(r.event_id): text}
        case NoteTakenBack() as e:
            return {k: v for k, v in remarks.items() if k != str(e.note)}
        case TaskCommented() as e:
            return {**dict(list(remarks.items())[-MAX_REMARKS:]), str(e.comment): e.text}
        case TaskCommentAmended() as e if str(e.comment) in remarks:
            return {**remarks, str(e.comment): e.text}
        case TaskCommentRemoved() as e:
            return {k: v for k, v in remarks.items() if k != str(e.comment)}
        case _:
            return remarks


def step(kind: Kind, before: Standing, r: Recorded) -> Standing:
    """What the stream has come to after one more event."""
    row = kind.view.fold(before.row, r.stream_id, r)
    made = Made(position=r.position, event_id=r.event_id, type=r.name, occurred_at=r.occurred_at, recorded_at=r.recorded_at)
    remarks = _remarked(before.remarks, r)
    values: dict[str, Any] = {}
    if row is not None:
        for name in {kind.title, *kind.texts, *kind.facts.values(), "phones", "sha256"}:
            values[name] = getattr(row, name, None)
    values["remarks"] = remarks
    changed = {name: made for name, value in values.items() if before.last is None or before.values.get(name) != value}
    return Standing(
        row=row,
        remarks=remarks,
        values=values,
        since={**before.since, **changed},
        created_at=before.created_at or r.occurred_at,
        version=r.version,
        last=made,
    )


def entry(kind: Kind, firm: FirmId, id: UUID, now: Standing) -> Entry | None:
    """What is found of it; None when nothing is."""
    row = now.row
    if row is None or now.last is None or kind.gone(row):
        return None
    hidden = personal_fields(kind.name)
    since = now.since
    texts = [
        Text(name=name, text=text[:MAX_TEXT], weight=weight, personal=name in hidden, made=since[name])
        for name, weight in kind.texts.items()
        if (text := " · ".join(w for w in words(getattr(row, name)) if w))
    ]
    if now.remarks:
        said = "\n".join(list(now.remarks.values())[::-1])[:MAX_TEXT]
        texts.append(
            Text(name="remarks", text=said, weight="D", personal=not kind.remarks or kind.remarks in hidden, made=since["remarks"])
        )
    title = " ".join((getattr(row, kind.title) or "").split())
    phones = tuple(
        number + (p.extension or "") if p.number and p.extension else number
        for p in getattr(row, "phones", ())
        if (number := p.number or p.raw)
    )
    if phones:
        said = "; ".join(phones)[:MAX_TEXT]
        texts.append(Text(name="phones", text=said, weight="B", personal="phones" in hidden, made=since["phones"]))
    archived = kind.archived(row)
    facts: dict[str, Fact] = {name: found for name, attribute in kind.facts.items() if (found := fact(getattr(row, attribute)))}
    standing: dict[str, Fact] = {
        "archived": (archived,),
        "created_at": fact(now.created_at),
        "updated_at": fact(now.last.occurred_at),
    }
    if kind.name == "note":
        standing[row.about_type] = (str(row.about),)
    open_facts = {name: found for name, found in facts.items() if kind.facts[name] not in hidden} | standing
    sha256 = getattr(row, "sha256", None)
    content = None
    if sha256 is not None:
        content = Content(sha256=sha256, media_type=row.media_type or "", size=row.size or 0, made=since["sha256"])
    return Entry(
        firm=firm,
        kind=kind.name,
        id=id,
        version=now.version,
        title=title if len(title) <= TITLE else title[: TITLE - 1] + "…",
        title_personal=kind.title in hidden,
        texts=(
            Text(
                name="title",
                text=title[:MAX_TEXT],
                weight="A" if kind.name != "note" else "B",
                personal=kind.title in hidden,
                made=since[kind.title],
            ),
            *texts,
        ),
        numbers=phones,
        numbers_personal="phones" in hidden,
        facts={**facts, **standing},
        open_facts=open_facts,
        archived=archived,
        made=now.last,
        content=content,
    )
