"""What is found of each thing a firm has: its words with their weight, its facts to filter by, and the event that made each of them so.

S1  What is found is a function of the events of one stream alone, so that an index rebuilt equals the one that was kept.
S2  A value is personal here exactly where the view's row marks it so.
S3  What was merged into another, removed or discarded is not found; what is archived is, and says so.
"""

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import UUID

from domain.deals import DealNoted, NoteTakenBack
from domain.kernel import FirmId, Personal
from domain.people import Address, Email, FieldValue, Issue, Link, Phone
from domain.tasks.events import TaskCommentAmended, TaskCommented, TaskCommentRemoved
from projections.contacts import CONTACTS
from projections.deals import DEALS
from projections.documents import DOCUMENTS
from projections.kernel import Recorded, View
from projections.notes import NOTES
from projections.organisations import ORGANISATIONS
from projections.projects import PROJECTS
from projections.tasks import TASKS

VERSION = 1  # to be raised when what is found of a thing changes: the index is then rebuilt

Weight = Literal["A", "B", "C", "D"]
"""A the name, B what else a thing is known by, C what describes it, D long text."""

FactType = Literal["text", "id", "number", "flag", "time", "day"]

FACTS: Mapping[str, FactType] = {
    "amount": "number",
    "archived": "flag",
    "assignee": "id",
    "blocked": "flag",
    "city": "text",
    "closed_at": "time",
    "contact": "id",
    "country": "text",
    "created_at": "time",
    "currency": "text",
    "deal": "id",
    "due_at": "time",
    "email": "text",
    "expected_close": "day",
    "file_name": "text",
    "flagged": "flag",
    "folder": "id",
    "id": "id",
    "industry": "text",
    "kind": "text",
    "language": "text",
    "media_type": "text",
    "organisation": "id",
    "owner": "id",
    "postal_code": "text",
    "priority": "text",
    "product": "text",
    "project": "id",
    "size": "number",
    "source": "text",
    "stage": "text",
    "status": "text",
    "tag": "text",
    "task": "id",
    "title": "text",
    "type": "text",
    "updated_at": "time",
}
"""What a search can be filtered by; each kind has some of them, in lists of any length."""

MAX_TEXT = 20_000  # characters of one field
MAX_REMARKS = 500


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


Fact = tuple[str | bool, ...]


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
class Kind:
    """One kind of thing that is found. `texts` and `facts` name fields of the view's row."""

    name: str
    stream: str
    view: View[Any]
    title: str
    texts: Mapping[str, Weight]
    facts: Mapping[str, str]
    gone: Callable[[Any], bool] = lambda _row: False
    archived: Callable[[Any], bool] = lambda row: bool(row.archived)
    remarks: str = ""


_PARTY_FACTS = {
    "email": "emails",
    "city": "city",
    "country": "country",
    "postal_code": "postal_code",
    "tag": "tags",
    "owner": "owner",
    "status": "status",
    "source": "source",
    "flagged": "flagged",
}
_LINKS = {"contact": "contact", "organisation": "organisation", "deal": "deal"}

KINDS: Mapping[str, Kind] = {
    k.name: k
    for k in (
        Kind(
            name="contact",
            stream="contact",
            view=CONTACTS,
            title="name",
            texts={
                "display_name": "A",
                "given": "A",
                "middle": "A",
                "family": "A",
                "nickname": "A",
                "emails": "B",
                "organisation_name": "B",
                "tags": "B",
                "job_title": "C",
                "role": "C",
                "department": "C",
                "addresses": "C",
                "websites": "C",
                "custom": "C",
                "issues": "D",
                "about": "D",
            },
            facts=_PARTY_FACTS,
            gone=lambda row: row.status == "merged",
        ),
        Kind(
            name="organisation",
            stream="organisation",
            view=ORGANISATIONS,
            title="name",
            texts={
                "legal_name": "A",
                "domains": "B",
                "emails": "B",
                "registrations": "B",
                "tags": "B",
                "kind": "C",
                "industry": "C",
                "addresses": "C",
                "websites": "C",
                "custom": "C",
                "issues": "D",
                "about": "D",
            },
            facts={**_PARTY_FACTS, "industry": "industry", "type": "kind", "organisation": "parent"},
            gone=lambda row: row.status == "merged",
        ),
        Kind(
            name="deal",
            stream="deal",
            view=DEALS,
            title="title",
            texts={
                "products": "B",
                "stage_name": "C",
                "attributes": "C",
                "source": "C",
                "lost_code": "C",
                "reason": "D",
                "last_activity_details": "D",
            },
            facts={
                "stage": "stage_name",
                "status": "status",
                "amount": "amount",
                "currency": "currency",
                "owner": "owner_id",
                "contact": "contact_ids",
                "organisation": "organisation_ids",
                "product": "products",
                "source": "source",
                "expected_close": "expected_close",
                "closed_at": "closed_at",
            },
            remarks="last_note",
        ),
        Kind(
            name="document",
            stream="document",
            view=DOCUMENTS,
            title="title",
            texts={"file_name": "B", "tags": "B", "description": "C", "author": "C", "hold_name": "C", "comment": "D"},
            facts={
                "file_name": "file_name",
                "media_type": "media_type",
                "size": "size",
                "language": "language",
                "tag": "tags",
                "status": "status",
                "folder": "folder",
                "contact": "contacts",
                "organisation": "organisations",
                "deal": "deals",
                "task": "tasks",
                "project": "projects",
            },
            gone=lambda row: row.status == "discarded",
            archived=lambda row: row.status == "archived",
        ),
        Kind(
            name="task",
            stream="task",
            view=TASKS,
            title="title",
            texts={
                "source_id": "B",
                "labels": "B",
                "kind": "C",
                "activity": "C",
                "resource": "C",
                "description": "C",
                "block_reason": "D",
                "cancel_reason": "D",
            },
            facts={
                **_LINKS,
                "type": "kind",
                "priority": "priority",
                "status": "status",
                "blocked": "blocked",
                "project": "project",
                "assignee": "assignee",
                "due_at": "due_at",
                "closed_at": "completed_at",
                "tag": "labels",
                "source": "source",
            },
            remarks="description",
        ),
        Kind(
            name="project",
            stream="project",
            view=PROJECTS,
            title="name",
            texts={"source_id": "B", "description": "C", "cancel_reason": "D"},
            facts={**_LINKS, "status": "status", "source": "source", "closed_at": "completed_at"},
        ),
        Kind(
            name="note",
            stream="note",
            view=NOTES,
            title="text",
            texts={"text": "C", "kind": "C"},
            facts={"type": "kind"},
            archived=lambda _row: False,
        ),
    )
}
STREAMS: Mapping[str, Kind] = {k.stream: k for k in KINDS.values()}
TITLE = 120


def _marked(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return any(isinstance(m, Personal) for m in hint.__metadata__) or _marked(get_args(hint)[0])
    return any(_marked(a) for a in get_args(hint) if a is not type(None))


@cache
def personal(kind: str) -> frozenset[str]:
    """The fields of a kind's row that are personal."""
    return frozenset(
        name for name, hint in typing.get_type_hints(KINDS[kind].view.row, include_extras=True).items() if _marked(hint)
    )


# --- values to words and facts


def words(value: Any) -> Iterable[str]:
    """The words in a value of a row, telephone numbers left out."""
    match value:
        case None | bool() | Phone():
            return
        case str():
            yield value
        case Email():
            yield value.address
        case Link():
            yield value.url
        case Address():
            yield ", ".join(
                p for p in (*value.street, value.postal_code, value.city, value.state, value.country_name, value.country) if p
            )
        case Issue():
            yield value.value
        case FieldValue():
            for inner in (value.text, value.number, value.day, value.choices):
                yield from words(inner)
        case datetime() | UUID():
            return
        case date():
            yield value.isoformat()
        case Decimal() | int():
            yield format(value, "f") if isinstance(value, Decimal) else str(value)
        case Mapping():
            for inner in value.values():
                yield from words(inner)
        case tuple() | list():
            for inner in value:
                yield from words(inner)
        case _:
            named = getattr(value, "__dataclass_fields__", ())
            for name in named:
                yield from words(getattr(value, name))


def _fact(value: Any) -> Fact:
    match value:
        case None:
            return ()
        case StrEnum():
            return (str(value),)
        case str() | bool():
            return (value,) if value != "" else ()
        case Email():
            return (value.address,)
        case datetime():
            return (value.astimezone(UTC).isoformat(),)
        case date() | UUID() | int():
            return (str(value),)
        case Decimal():
            return (format(value, "f"),)
        case tuple() | list():
            return tuple(f for inner in value for f in _fact(inner))
        case _:
            return ()


# --- the fold


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
    hidden = personal(kind.name)
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
    facts: dict[str, Fact] = {name: found for name, attribute in kind.facts.items() if (found := _fact(getattr(row, attribute)))}
    standing: dict[str, Fact] = {
        "archived": (archived,),
        "created_at": _fact(now.created_at),
        "updated_at": _fact(now.last.occurred_at),
    }
    if kind.name == "note":
        standing[row.about_type] = (str(row.about),)
    open_facts = {name: found for name, found in facts.items() if kind.facts[name] not in hidden} | standing
    sha256 = getattr(row, "sha256", None)
    content = None
    if sha256 is not None:
        content = Content(sha256=sha256, media_type=row.media_type or "", size=row.size or 0, made=since["sha256"])
    made = replace(now.last)
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
        made=made,
        content=content,
    )
