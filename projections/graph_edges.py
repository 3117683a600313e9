"""The edges of the activity graph: who stands in which relation to whom, what belongs to what, and who did what to which, how often.

G1  An edge that has ended stays, with the time of its end; one that was recorded by mistake is gone.
G2  An edge of which there can be one at a time (an owner, an assignee, a parent) turns to the new one; as of a time before, it shows the old.
G3  An act is counted once on the edge between the member (or key) who did it and the thing it was done to.
G4  An event that comes late changes what an edge counts, not what it says of its last event.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, NamedTuple
from uuid import UUID

from domain.consent.events import (
    AboutPurposes,
    ConsentConfirmed,
    ConsentDeferred,
    ConsentGiven,
    ConsentRequested,
)
from domain.contacts import ContactCreated, ContactMergedInto, ContactOwnerAssigned, ContactUnmerged
from domain.deals import DealAssigned, DealOpened, OfferSelected, Party, PartyAdded, PartyRemoved
from domain.documents import DocumentLinked, DocumentUnlinked, VersionAdded
from domain.kernel import Personal
from domain.keys import KeyIssued
from domain.notes import NoteEdited, NoteWritten
from domain.organisations import (
    OrganisationCreated,
    OrganisationMergedInto,
    OrganisationOwnerAssigned,
    OrganisationPlaced,
    OrganisationUnmerged,
)
from domain.people import overlay
from domain.projects.events import (
    DependenciesAdded,
    DependenciesRemoved,
    ProjectCreated,
    ProjectLinked,
    ProjectMemberAdded,
    ProjectMemberRemoved,
    ProjectMemberRoleChanged,
    ProjectUnlinked,
)
from domain.relations import Particulars, RelationAmended, RelationEnded, RelationRecorded, RelationRemoved
from domain.tasks.events import (
    TaskAssigned,
    TaskCreated,
    TaskLinked,
    TaskPlaced,
    TaskTakenOut,
    TaskUnassigned,
    TaskUnlinked,
)
from projections.graph_nodes import purpose_id
from projections.kernel import Recorded, View, view
from projections.rows import derived, remembered, replace

ACTED_ON = frozenset({"contact", "organisation", "deal", "document", "task", "project", "member"})
ACTS = ("acted_on", "authored", "noted")
SEALED_KIND = "related_to"  # what a relation is where its kind is not said, or not to be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphEdgeRow:
    """`source kind target`, from `since` until `until`; no end means that it stands, no beginning that nobody said.

    Of an act, `since` and `last_at` are the first and the last time, `count` how often. `sealed` marks the relations between people
    and organisations, whose particulars are personal.
    """

    source_kind: str
    source: UUID
    target_kind: str
    target: UUID
    kind: Annotated[str | None, Personal(subject="person")] = None
    role: Annotated[str | None, Personal(subject="person")] = None
    person: UUID | None = None
    sealed: bool = False
    since: datetime | None = None
    until: datetime | None = None
    count: int = 1
    last_at: datetime
    last_event: str
    last_event_id: UUID


class Touch(NamedTuple):
    """What an event says of one edge: that it begins or stands (`ends` False), or that it ends. Who ends it need not know the far end."""

    key: UUID
    kind: str
    source: tuple[str, UUID] | None = None
    target: tuple[str, UUID] | None = None
    role: str | None = None
    ends: bool = False
    at: datetime | None = None
    until: datetime | None = None


def keys(r: Recorded) -> Iterable[UUID]:
    if r.stream_type == "relation":
        return (r.stream_id, *(t.key for t in _acts(r)))
    return tuple(dict.fromkeys(t.key for t in touches(r)))


def fold(row: GraphEdgeRow | None, key: UUID, r: Recorded) -> GraphEdgeRow | None:
    if r.stream_type == "relation" and key == r.stream_id:
        return _relation(row, r)
    for t in touches(r):
        if t.key.int == key.int:
            row = _act(row, t, r) if t.kind in ACTS else _touched(row, t, r)
    return row


@remembered
def touches(r: Recorded) -> tuple[Touch, ...]:
    """Every edge an event says something of, but a relation's own."""
    return (*_links(r), *_acts(r))


def _said(row: GraphEdgeRow, r: Recorded) -> GraphEdgeRow:
    """With this event as its last, unless a later one is known."""
    if r.occurred_at < row.last_at:
        return row
    return replace(row, last_at=r.occurred_at, last_event=r.name, last_event_id=r.event_id)


def _touched(row: GraphEdgeRow | None, t: Touch, r: Recorded) -> GraphEdgeRow | None:
    at = t.at or r.occurred_at
    if t.ends:
        return row if row is None or (row.until is not None and row.until <= at) else _said(replace(row, until=at), r)
    if t.source is None or t.target is None:
        return row if row is None else _said(replace(row, role=t.role), r)
    if row is None:
        return GraphEdgeRow(
            source_kind=t.source[0],
            source=t.source[1],
            target_kind=t.target[0],
            target=t.target[1],
            kind=t.kind,
            role=t.role,
            since=at,
            until=t.until,
            last_at=r.occurred_at,
            last_event=r.name,
            last_event_id=r.event_id,
        )
    same = row.target == t.target[1] and (row.until is None or row.until > at)
    return _said(
        replace(
            row,
            target_kind=t.target[0],
            target=t.target[1],
            role=t.role,
            since=row.since if same else at,
            until=t.until,
            count=row.count + 1,
        ),
        r,
    )


def _act(row: GraphEdgeRow | None, t: Touch, r: Recorded) -> GraphEdgeRow | None:
    if row is None:
        return _touched(None, t, r)
    at = r.occurred_at
    first = at if row.since is None or at < row.since else row.since
    if at < row.last_at:
        return replace(row, since=first, count=row.count + 1)
    return replace(row, since=first, count=row.count + 1, last_at=at, last_event=r.name, last_event_id=r.event_id)


# --- relations between people and organisations


def _midnight(day: date | None, *, after: bool = False) -> datetime | None:
    """The beginning of a day (UTC), or of the one after it; a day beyond the calendar is no end."""
    if day is None or (after and day == date.max):
        return None
    return datetime.combine(day + timedelta(days=1) if after else day, time(), UTC)


def _particulars(row: GraphEdgeRow) -> Particulars:
    last = None if row.until is None else row.until.date() - timedelta(days=1)
    return Particulars(kind=row.kind, label=row.role, valid_from=row.since and row.since.date(), valid_to=last)


def _with(row: GraphEdgeRow, p: Particulars) -> GraphEdgeRow:
    return replace(
        row,
        kind=p.kind or SEALED_KIND,
        role=p.label,
        since=_midnight(p.valid_from),
        until=_midnight(p.valid_to, after=True),
    )


def _relation(row: GraphEdgeRow | None, r: Recorded) -> GraphEdgeRow | None:
    match r.event:
        case RelationRecorded() as e:
            new = GraphEdgeRow(
                source_kind=e.source_type,
                source=e.source,
                target_kind=e.target_type,
                target=e.target,
                person=e.person,
                sealed=True,
                last_at=r.occurred_at,
                last_event=r.name,
                last_event_id=r.event_id,
            )
            return _with(new, e.particulars or Particulars())
        case RelationAmended() as e if row is not None:
            return _said(_with(row, overlay(_particulars(row), e.particulars, e.cleared)), r)
        case RelationEnded() as e if row is not None:
            return _said(replace(row, until=_midnight(e.on, after=True)), r)
        case RelationRemoved():
            return None
        case _:
            return row


# --- what belongs to what


def _one(kind: str, source: tuple[str, UUID], target_kind: str, target: UUID | None) -> Touch:
    """An edge of which there is one at a time; without a target it ends."""
    key = derived(source[1], kind)
    if target is None:
        return Touch(key=key, kind=kind, ends=True)
    return Touch(key=key, kind=kind, source=source, target=(target_kind, target))


def _many(
    kind: str, source: tuple[str, UUID], target: tuple[str, UUID], *, ends: bool = False, role: str | None = None, by: str = ""
) -> Touch:
    """An edge of which there are as many as there are far ends; `by` tells two between the same ends apart."""
    key = derived(source[1], f"{kind}/{target[1]}/{by}")
    return Touch(key, kind, source, target, role, ends)


def _party(p: Party, deal: UUID, *, ends: bool = False) -> Touch:
    return _many("party_to", (p.kind, p.id), ("deal", deal), ends=ends, role=p.role, by=p.role)


def _links(r: Recorded) -> Iterator[Touch]:
    id = r.stream_id
    match r.event:
        case ContactCreated() as e if e.owner is not None:
            yield _one("owned_by", ("contact", id), "member", e.owner)
        case ContactOwnerAssigned() as e:
            yield _one("owned_by", ("contact", id), "member", e.owner)
        case OrganisationCreated() as e if e.owner is not None:
            yield _one("owned_by", ("organisation", id), "member", e.owner)
        case OrganisationOwnerAssigned() as e:
            yield _one("owned_by", ("organisation", id), "member", e.owner)
        case OrganisationPlaced() as e:
            yield _one("part_of", ("organisation", id), "organisation", e.parent)
        case ContactMergedInto() as e:
            yield _one("merged_into", ("contact", id), "contact", e.survivor)
        case OrganisationMergedInto() as e:
            yield _one("merged_into", ("organisation", id), "organisation", e.survivor)
        case ContactUnmerged():
            yield _one("merged_into", ("contact", id), "contact", None)
        case OrganisationUnmerged():
            yield _one("merged_into", ("organisation", id), "organisation", None)
        case DealOpened() as e:
            if e.owner is not None:
                yield _one("owned_by", ("deal", id), "member", e.owner)
            for p in e.parties:
                yield _party(p, id)
        case DealAssigned() as e:
            yield _one("owned_by", ("deal", id), "member", e.owner)
        case PartyAdded() as e:
            yield _party(e.party, id)
        case PartyRemoved() as e:
            yield _party(e.party, id, ends=True)
        case OfferSelected() as e:
            yield _many("offers", ("deal", id), ("offer", e.offer))
            if e.contact is not None:
                yield _many("offered_to", ("offer", e.offer), ("contact", e.contact))
        case DocumentLinked() as e:
            yield _many("about", ("document", id), (e.kind, e.target))
        case DocumentUnlinked() as e:
            yield _many("about", ("document", id), (e.kind, e.target), ends=True)
        case TaskCreated() as e:
            yield from _task(e, id)
        case TaskLinked() as e:
            yield _many("about", ("task", id), (e.what, e.target))
        case TaskUnlinked() as e:
            yield _many("about", ("task", id), (e.what, e.target), ends=True)
        case TaskAssigned() as e:
            yield _one("assigned_to", ("task", id), "member", e.assignee)
        case TaskUnassigned():
            yield _one("assigned_to", ("task", id), "member", None)
        case TaskPlaced() as e:
            yield _one("part_of", ("task", id), "project", e.project)
        case TaskTakenOut():
            yield _one("part_of", ("task", id), "project", None)
        case ProjectCreated() as e:
            for what, target in (("contact", e.contact), ("organisation", e.organisation), ("deal", e.deal)):
                if target is not None:
                    yield _about_one(id, what, target)
        case ProjectLinked() as e:
            yield _about_one(id, e.what, e.target)
        case ProjectUnlinked() as e:
            yield _about_one(id, e.what, None)
        case ProjectMemberAdded() | ProjectMemberRoleChanged() as e:
            yield _many("works_on", ("member", e.member), ("project", id), role=e.role)
        case ProjectMemberRemoved() as e:
            yield _many("works_on", ("member", e.member), ("project", id), ends=True)
        case DependenciesAdded() as e:
            for d in e.dependencies:
                yield Touch(key=d.id, kind="precedes", source=("task", d.predecessor), target=("task", d.successor), role=d.type)
        case DependenciesRemoved() as e:
            for dependency in e.dependencies:
                yield Touch(key=dependency, kind="precedes", ends=True)
        case KeyIssued() as e if e.member is not None:
            yield _many("holds", ("member", e.member), ("key", id))
        case ConsentRequested() | ConsentDeferred():
            pass
        case AboutPurposes() as e:
            yield from _consents(e, r)
        case _:
            pass


def _task(e: TaskCreated, id: UUID) -> Iterator[Touch]:
    for kind, target in (("contact", e.contact), ("organisation", e.organisation), ("deal", e.deal)):
        if target is not None:
            yield _many("about", ("task", id), (kind, target))
    for document in e.documents:
        yield _many("about", ("task", id), ("document", document))
    if e.project is not None:
        yield _one("part_of", ("task", id), "project", e.project)
    if e.assignee is not None:
        yield _one("assigned_to", ("task", id), "member", e.assignee)


def _about_one(project: UUID, what: str, target: UUID | None) -> Touch:
    key = derived(project, f"about/{what}")
    if target is None:
        return Touch(key=key, kind="about", ends=True)
    return Touch(key=key, kind="about", source=("project", project), target=(what, target))


def _consents(e: AboutPurposes, r: Recorded) -> Iterator[Touch]:
    for p in e.purposes:
        purpose = ("purpose", purpose_id(r.firm, p.key))
        touch = _many("consented_to", ("contact", r.stream_id), purpose, role=str(e.channel), by=str(e.channel))
        if isinstance(e, ConsentGiven | ConsentConfirmed):
            yield touch._replace(at=e.effective_from, until=e.expires_at)
        else:
            yield touch._replace(ends=True, at=e.effective_from)


# --- who did what to which


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _actor(r: Recorded) -> tuple[str, UUID] | None:
    """The member who did it, or the key where it belongs to nobody."""
    performer = getattr(r.event, "performer", None)
    if performer is not None:
        return "member", performer
    return _named(r.actor)


@lru_cache(maxsize=10_000)
def _named(actor: str) -> tuple[str, UUID] | None:
    kind, _, text = actor.partition("/")
    id = _uuid(text) if kind in {"member", "key"} else None
    return None if id is None else (kind, id)


def _acts(r: Recorded) -> Iterator[Touch]:
    actor = _actor(r)
    if actor is None:
        return
    match r.event:
        case NoteWritten() as e:
            yield _many("noted", actor, (e.about_type, e.about))
        case NoteEdited():
            pass  # it says whom the note is about and not of which kind that is
        case VersionAdded():
            yield _many("authored", actor, ("document", r.stream_id))
        case RelationRecorded() as e:
            for end in ((e.source_type, e.source), (e.target_type, e.target)):
                yield _many("acted_on", actor, end)
        case _:
            kind = "contact" if r.stream_type == "consent" else r.stream_type
            if kind in ACTED_ON and r.stream_id != actor[1]:
                yield _many("acted_on", actor, (kind, r.stream_id))


GRAPH_EDGES = view(View(name="graph_edges", version=1, table="views.graph_edges", row=GraphEdgeRow, keys=keys, fold=fold))
