"""The kinds of things that are found: which fields of their rows are words, with what weight, and which are facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_type_hints

from domain.hints import personal_mark
from projections.contacts import CONTACTS
from projections.deals import DEALS
from projections.documents import DOCUMENTS
from projections.kernel import View
from projections.notes import NOTES
from projections.organisations import ORGANISATIONS
from projections.projects import PROJECTS
from projections.tasks import TASKS

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


@cache
def personal_fields(kind: str) -> frozenset[str]:
    """The fields of a kind's row that are personal."""
    hints = get_type_hints(KINDS[kind].view.row, include_extras=True)
    return frozenset(name for name, hint in hints.items() if personal_mark(hint) is not None)
