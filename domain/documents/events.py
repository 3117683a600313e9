"""What can happen to a document, as it is stored.

Titles, file names, comments and reasons often name people, and seldom only those a document is linked to. They are therefore sealed
under the document's own key (the subject is the stream itself): erasing a document takes them away with one key, and
links made or undone later change nothing about who can be shredded. The contents of a discarded document go within days; its
names stay on the record until the person it is about is erased. What justifies a hold, a retention date or a discarding is
sealed apart (`statutory`), so that the reason outlives the names.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal, NewType
from uuid import UUID

from domain.kernel import Personal, event

DocumentId = NewType("DocumentId", UUID)
VersionId = NewType("VersionId", UUID)
HoldId = NewType("HoldId", UUID)
LinkKind = Literal["contact", "organisation", "deal", "task", "project"]


@event("documents.Added.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentAdded:
    title: Annotated[str | None, Personal()] = None
    folder: UUID | None = None


@event("documents.VersionAdded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class VersionAdded:
    """`size` is in bytes; `source_time` is when the content was made where it comes from."""

    version: VersionId
    number: int
    sha256: str
    size: int
    media_type: str
    file_name: Annotated[str | None, Personal()] = None
    author: Annotated[str | None, Personal()] = None
    comment: Annotated[str | None, Personal()] = None
    source_time: datetime | None = None
    same_content_as: int | None = None
    restored_from: int | None = None


@event("documents.Renamed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRenamed:
    title: Annotated[str | None, Personal()] = None


@event("documents.Moved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentMoved:
    """No folder is the top."""

    folder: UUID | None = None


@event("documents.Described.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDescribed:
    """The whole description as it is from now on. `language` is a BCP 47 tag."""

    description: Annotated[str | None, Personal()] = None
    tags: tuple[str, ...] = ()
    language: str | None = None


@event("documents.Linked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLinked:
    kind: LinkKind
    target: UUID


@event("documents.Unlinked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentUnlinked:
    kind: LinkKind
    target: UUID


@event("documents.HoldPlaced.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlaced:
    hold: HoldId
    name: Annotated[str | None, Personal(purpose="statutory")] = None
    reason: Annotated[str | None, Personal(purpose="statutory")] = None


@event("documents.HoldLifted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLifted:
    hold: HoldId
    reason: Annotated[str | None, Personal(purpose="statutory")] = None


@event("documents.RetentionSet.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSet:
    """The document is kept through the whole of this day (UTC)."""

    until: date
    reason: Annotated[str | None, Personal(purpose="statutory")] = None


@event("documents.RetentionShortened.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionShortened:
    """No date: the document need not be kept any longer."""

    previous: date
    until: date | None = None
    reason: Annotated[str | None, Personal(purpose="statutory")] = None


@event("documents.Archived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentArchived:
    reason: Annotated[str | None, Personal()] = None


@event("documents.Restored.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRestored:
    pass


@event("documents.Discarded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDiscarded:
    reason: Annotated[str | None, Personal(purpose="statutory")] = None


Event = (
    DocumentAdded
    | VersionAdded
    | DocumentRenamed
    | DocumentMoved
    | DocumentDescribed
    | DocumentLinked
    | DocumentUnlinked
    | HoldPlaced
    | HoldLifted
    | RetentionSet
    | RetentionShortened
    | DocumentArchived
    | DocumentRestored
    | DocumentDiscarded
)
