"""The nodes of the activity graph: people, organisations, deals and their offers, documents, tasks, projects, members, keys, purposes.

A node keeps what an analyst reads off it without asking another view: what to call it, how it stands, and what it is worth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated
from uuid import UUID, uuid5

from domain import contacts, organisations
from domain.consent.events import AboutPurposes
from domain.contacts import Contact, ContactCreated, Profile
from domain.deals import (
    DealAmended,
    DealArchived,
    DealLost,
    DealOpened,
    DealReopened,
    DealRestored,
    DealWon,
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferDeclined,
    OfferExpired,
    OfferReturned,
    OfferSelected,
    OfferSent,
    OfferSetBack,
)
from domain.deals.state import offer_status
from domain.documents import DocumentAdded, DocumentArchived, DocumentDiscarded, DocumentRenamed, DocumentRestored
from domain.kernel import Personal
from domain.keys import KeyIssued, KeyRenamed, KeyRevoked
from domain.members import MemberAdded, MemberDeactivated, MemberReactivated, MemberRenamed
from domain.organisations import Organisation, OrganisationCreated
from domain.projects.events import (
    ProjectArchived,
    ProjectCancelled,
    ProjectCompleted,
    ProjectCreated,
    ProjectRenamed,
    ProjectReopened,
    ProjectRestored,
)
from domain.purposes import PurposeDefined
from domain.tasks.events import (
    TaskArchived,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskReopened,
    TaskRestored,
    TaskRetitled,
)
from projections.kernel import Recorded, View, view
from projections.rows import replace

STREAMS = frozenset({"contact", "organisation", "deal", "document", "task", "project", "member", "key"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNodeRow:
    """`subject` is the person whose key seals the label; `names` is what a contact's label is made of."""

    kind: str
    label: Annotated[str | None, Personal(subject="subject")] = None
    subject: UUID | None = None
    names: Annotated[Profile | None, Personal(subject="subject")] = None
    status: str = "active"
    archived: bool = False
    amount: Decimal | None = None
    currency: str | None = None
    closed_on: date | None = None


def purpose_id(firm: UUID, key: str) -> UUID:
    """Consents name a purpose by its key, which never changes: the node of a purpose is known by it."""
    return uuid5(firm, f"purpose/{key}")


def keys(r: Recorded) -> Iterable[UUID]:
    match r.event:
        case PurposeDefined() as e:
            return (purpose_id(r.firm, e.key),)
        case AboutPurposes() as e:
            return tuple(purpose_id(r.firm, p.key) for p in e.purposes)
        case (
            OfferSelected()
            | OfferCreated()
            | OfferSent()
            | OfferReturned()
            | OfferAccepted()
            | OfferDeclined()
            | OfferCancelled()
            | OfferExpired()
            | OfferSetBack()
        ) as e:
            return (e.offer,)
        case _:
            return (r.stream_id,) if r.stream_type in STREAMS else ()


def fold(row: GraphNodeRow | None, key: UUID, r: Recorded) -> GraphNodeRow | None:
    made = _made(key, r)
    if made is not None:
        return made if row is None or row.kind != "purpose" else row
    return None if row is None else _changed(row, r)


def _made(key: UUID, r: Recorded) -> GraphNodeRow | None:
    """The node that begins with this event."""
    match r.event:
        case ContactCreated():
            return _person(GraphNodeRow(kind="contact", subject=key), Contact(), r)
        case OrganisationCreated() as e:
            return GraphNodeRow(kind="organisation", label=e.profile.name)
        case DealOpened() as e:
            return GraphNodeRow(kind="deal", label=e.title, subject=e.contact, status="open", amount=e.amount, currency=e.currency)
        case OfferSelected() as e:
            return GraphNodeRow(kind="offer", subject=e.contact, status="selected", amount=e.amount, currency=e.currency)
        case DocumentAdded() as e:
            return GraphNodeRow(kind="document", label=e.title, subject=key)
        case TaskCreated() as e:
            return GraphNodeRow(kind="task", label=e.title, subject=e.contact, status="open")
        case ProjectCreated() as e:
            return GraphNodeRow(kind="project", label=e.name, subject=e.contact)
        case MemberAdded() as e:
            return GraphNodeRow(kind="member", label=e.name, subject=key)
        case KeyIssued() as e:
            return GraphNodeRow(kind="key", label=e.name)
        case PurposeDefined() as e:
            return GraphNodeRow(kind="purpose", label=e.key)
        case AboutPurposes() as e:
            label = next((p.key for p in e.purposes if purpose_id(r.firm, p.key) == key), None)
            return None if label is None else GraphNodeRow(kind="purpose", label=label)
        case _:
            return None


def _changed(row: GraphNodeRow, r: Recorded) -> GraphNodeRow:
    if row.kind == "contact":
        return _person(row, Contact(profile=row.names or Profile(), archived=row.archived, merged_into=_merged(row)), r)
    if row.kind == "organisation":
        return _organisation(row, r)
    match r.event:
        case DealAmended() as e:
            cleared = "amount" in e.cleared
            return replace(
                row,
                label=e.title or row.label,
                subject=e.contact or row.subject,
                amount=None if cleared else row.amount if e.amount is None else e.amount,
                currency=None if cleared else e.currency or row.currency,
            )
        case DealWon() as e:
            amount = row.amount if e.amount is None else e.amount
            return replace(row, status="won", amount=amount, currency=e.currency or row.currency, closed_on=e.closed_on)
        case DealLost() as e:
            return replace(row, status="lost", closed_on=e.closed_on)
        case DealReopened():
            return replace(row, status="open", closed_on=None)
        case (
            OfferCreated() | OfferSent() | OfferReturned() | OfferAccepted() | OfferDeclined() | OfferCancelled() | OfferExpired()
        ) as e:
            return replace(row, status=offer_status(e))
        case OfferSetBack() as e:
            return replace(row, status=e.status)
        case DocumentRenamed() as e:
            return replace(row, label=e.title)
        case DocumentDiscarded():
            return replace(row, label=None, status="discarded")
        case TaskRetitled() as e:
            return replace(row, label=e.title, subject=e.contact or row.subject)
        case TaskCompleted() | ProjectCompleted():
            return replace(row, status="completed")
        case TaskCancelled() | ProjectCancelled():
            return replace(row, status="cancelled")
        case TaskReopened():
            return replace(row, status="open")
        case ProjectReopened():
            return replace(row, status="active")
        case ProjectRenamed() as e:
            return replace(row, label=e.name, subject=e.contact or row.subject)
        case MemberRenamed() as e:
            return replace(row, label=e.name)
        case MemberDeactivated():
            return replace(row, status="inactive")
        case MemberReactivated():
            return replace(row, status="active")
        case KeyRenamed() as e:
            return replace(row, label=e.name)
        case KeyRevoked():
            return replace(row, status="revoked")
        case DealArchived() | DocumentArchived() | TaskArchived() | ProjectArchived():
            return replace(row, archived=True)
        case DealRestored() | DocumentRestored() | TaskRestored() | ProjectRestored():
            return replace(row, archived=False)
        case _:
            return row


def _merged(row: GraphNodeRow) -> UUID | None:
    return UUID(int=0) if row.status == "merged" else None  # whom it was merged into is an edge


def _status(*, archived: bool, merged_into: UUID | None) -> str:
    return "merged" if merged_into else "archived" if archived else "active"


def _person(row: GraphNodeRow, before: Contact, r: Recorded) -> GraphNodeRow:
    c = contacts.evolve(before, r.event)
    p = c.profile
    names = Profile(
        display_name=p.display_name,
        given=p.given,
        middle=p.middle,
        family=p.family,
        prefix=p.prefix,
        suffix=p.suffix,
        nickname=p.nickname,
        organisation_name=p.organisation_name,
        emails=p.emails and p.emails[:1],
        phones=p.phones and p.phones[:1],
    )
    status = _status(archived=c.archived, merged_into=c.merged_into)
    return replace(row, label=contacts.called(p), names=names, status=status, archived=c.archived)


def _organisation(row: GraphNodeRow, r: Recorded) -> GraphNodeRow:
    before = Organisation(profile=organisations.Profile(name=row.label), archived=row.archived, merged_into=_merged(row))
    o = organisations.evolve(before, r.event)
    return replace(row, label=o.profile.name, status=_status(archived=o.archived, merged_into=o.merged_into), archived=o.archived)


GRAPH_NODES = view(View(name="graph_nodes", version=1, table="views.graph_nodes", row=GraphNodeRow, keys=keys, fold=fold))
