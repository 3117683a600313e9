"""Commands on documents. Bytes are sent first (`POST /v1/uploads`); a command then names them by their SHA-256."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from commands.folders import Reason, path_up
from commands.kernel import Answer, Command, Work, command
from domain import documents as document
from domain.contacts import CONTACT
from domain.deals import DEAL
from domain.documents import DOCUMENT, Content, HoldId, LinkKind, Place, VersionId
from domain.kernel import FirmId, Invalid, NotFound, Refused, Stream
from domain.organisations import ORGANISATION
from domain.projects import PROJECT
from domain.tasks import TASK

WRITE = "documents:write"
HOLDS = "holds:write"  # whoever may decide that something must, or need no longer, be kept

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=10_000, pattern=r"^[^\x00]*$")]
Remark = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00]+$")]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Language = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Tags = Annotated[list[Tag], Field(max_length=50)]

LINKED: Mapping[LinkKind, Stream[Any, Any]] = {
    "contact": CONTACT,
    "organisation": ORGANISATION,
    "deal": DEAL,
    "task": TASK,
    "project": PROJECT,
}

# --- the port


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes that a firm holds. `media_type` is what they look like, whatever anybody said."""

    sha256: str
    size: int
    media_type: str


class ContentMissing(NotFound):
    """This firm holds no content with that SHA-256. Upload it first."""


class ContentTooLarge(Invalid):
    """The content is larger than this installation takes."""


class ContentDiffers(Invalid):
    """What arrived is not what its SHA-256 promises. Nothing was kept; send the content again."""


class StoreFull(Refused):
    """There is no room left to keep the content. Nothing was kept; make room and send it again."""


class BlobWriter(Protocol):
    """Bytes on their way in. Nothing is visible before `commit`; leaving without it leaves nothing behind."""

    async def write(self, chunk: bytes) -> None:
        """Raises ContentTooLarge or StoreFull."""

    async def commit(self, *, file_name: str | None = None, sha256: str | None = None) -> Blob:
        """Make it durable; the same bytes again are the same blob. Raises ContentDiffers when its SHA-256 is not the one given."""
        ...


class Blobs(Protocol):
    """Content by its SHA-256, each firm's apart. A folder or an object store can be behind it."""

    def writing(self, firm: FirmId) -> AbstractAsyncContextManager[BlobWriter]: ...

    async def find(self, firm: FirmId, sha256: str, *, file_name: str | None = None) -> Blob | None:
        """What is known of it, and keeps it fresh. The file name refines the media type within what the bytes allow."""
        ...

    def read(self, firm: FirmId, sha256: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start`. Raises ContentMissing."""
        ...

    async def delete(self, firm: FirmId, sha256: str) -> bool:
        """Whether there was something to delete."""
        ...


class HasBlobs(Protocol):
    """What else this context needs of `Work.outside`."""

    blobs: Blobs


def _blobs(w: Work) -> Blobs:
    return cast(HasBlobs, w.outside).blobs


# --- shared pieces


class NotYet(Invalid):
    """The time given lies more than a day in the future. Give the time at which it happened."""


def _when(given: datetime | None, w: Work) -> datetime | None:
    if given is not None and given > w.now + timedelta(days=1):
        raise NotYet(occurred_at=given.isoformat())
    return given


class NewVersion(Command):
    """Content that was uploaded before, and what is said of it. `author` is who wrote it, if not whoever sends it."""

    sha256: Sha256
    file_name: FileName
    author: Line | None = None
    comment: Remark | None = None
    source_time: AwareDatetime | None = None


class LinkTarget(Command):
    kind: LinkKind
    target: UUID


async def _content(c: NewVersion, w: Work) -> Content:
    blob = await _blobs(w).find(w.firm, c.sha256, file_name=c.file_name)
    if blob is None:
        raise ContentMissing(sha256=c.sha256)
    return Content(
        sha256=blob.sha256,
        size=blob.size,
        media_type=blob.media_type,
        file_name=c.file_name,
        author=c.author,
        comment=c.comment,
        source_time=c.source_time,
    )


async def _place(id: UUID | None, w: Work) -> Place:
    path = await path_up(w, id)
    return Place(id=id, archived=any(step.archived for step in path))


def _version_answer(state: document.Document) -> Answer:
    latest = state.versions[-1]
    return {"number": latest.number, "sha256": latest.sha256, "media_type": latest.media_type}


# --- commands


class AddDocument(Command):
    version: NewVersion
    title: Line | None = None
    folder: UUID | None = None
    description: Text | None = None
    tags: Tags = Field(default_factory=list)
    language: Language | None = None
    links: Annotated[list[LinkTarget], Field(max_length=document.MOST_LINKS)] = Field(default_factory=list)
    retain_until: date | None = None
    occurred_at: AwareDatetime | None = None


@command("documents.add", "POST /documents", permission=WRITE, title="Add a document", target=DOCUMENT, creates=True)
async def add_document(c: AddDocument, w: Work) -> Answer:
    """A document begins with its first version, whose content was uploaded before. Without a title it is called as its file is."""
    at = _when(c.occurred_at, w)
    place = await _place(c.folder, w)
    content = await _content(c.version, w)
    for to in c.links:
        await w.load(LINKED[to.kind], to.target)
    entity = w.create(DOCUMENT, w.new_id())
    version = VersionId(w.new_id())
    w.record(entity, document.add(entity.state, content=content, version=version, title=c.title, place=place), occurred_at=at)
    described = document.describe(entity.state, description=c.description, tags=c.tags, language=c.language)
    w.record(entity, described, occurred_at=at)
    for to in c.links:
        w.record(entity, document.link(entity.state, kind=to.kind, target=to.target), occurred_at=at)
    if c.retain_until is not None:
        w.record(entity, document.retain(entity.state, until=c.retain_until, reason=None), occurred_at=at)
    return {"id": str(entity.id), **(_version_answer(entity.state) or {})}


class AddVersion(Command):
    id: UUID
    version: NewVersion
    occurred_at: AwareDatetime | None = None


@command("documents.add_version", "POST /documents/{id}:add-version", permission=WRITE, title="Add a version", target=DOCUMENT)
async def add_version(c: AddVersion, w: Work) -> Answer:
    """Content that an earlier version had already is noticed (`same_content_as`) and kept once."""
    at = _when(c.occurred_at, w)
    entity = await w.load(DOCUMENT, c.id)
    content = await _content(c.version, w)
    w.record(entity, document.add_version(entity.state, content=content, version=VersionId(w.new_id())), occurred_at=at)
    return _version_answer(entity.state)


class RestoreVersion(Command):
    id: UUID
    number: Annotated[int, Field(ge=1, le=document.MOST_VERSIONS)]
    comment: Remark | None = None


@command(
    "documents.restore_version",
    "POST /documents/{id}:restore-version",
    permission=WRITE,
    title="Restore an old version",
    target=DOCUMENT,
)
async def restore_version(c: RestoreVersion, w: Work) -> Answer:
    """The old version's content becomes a new version; nothing in between is lost."""
    entity = await w.load(DOCUMENT, c.id)
    version = VersionId(w.new_id())
    w.record(entity, document.restore_version(entity.state, number=c.number, version=version, comment=c.comment))
    return _version_answer(entity.state)


class RenameDocument(Command):
    id: UUID
    title: Line


@command("documents.rename", "POST /documents/{id}:rename", permission=WRITE, title="Rename a document", target=DOCUMENT)
async def rename_document(c: RenameDocument, w: Work) -> Answer:
    entity = await w.load(DOCUMENT, c.id)
    w.record(entity, document.rename(entity.state, title=c.title))
    return None


class MoveDocument(Command):
    id: UUID
    folder: UUID | None


@command("documents.move", "POST /documents/{id}:move", permission=WRITE, title="Move a document", target=DOCUMENT)
async def move_document(c: MoveDocument, w: Work) -> Answer:
    """Into another folder, or to the top when none is named."""
    entity = await w.load(DOCUMENT, c.id)
    place = await _place(c.folder, w)
    w.record(entity, document.move(entity.state, place=place))
    return None


class DescribeDocument(Command):
    id: UUID
    description: Text | None = None
    tags: Tags | None = None
    language: Language | None = None


@command(
    "documents.describe",
    "POST /documents/{id}:describe",
    permission=WRITE,
    title="Describe a document",
    target=DOCUMENT,
)
async def describe_document(c: DescribeDocument, w: Work) -> Answer:
    """What is not sent stays as it is; `null` takes it away."""
    entity = await w.load(DOCUMENT, c.id)
    known, sent = entity.state, c.model_fields_set
    described = document.describe(
        known,
        description=c.description if "description" in sent else known.description,
        tags=(c.tags or []) if "tags" in sent else known.tags,
        language=c.language if "language" in sent else known.language,
    )
    w.record(entity, described)
    return None


class LinkDocument(LinkTarget):
    id: UUID


@command("documents.link", "POST /documents/{id}:link", permission=WRITE, title="Link a document", target=DOCUMENT)
async def link_document(c: LinkDocument, w: Work) -> Answer:
    """To a contact, an organisation, a deal, a task or a project of the firm."""
    entity = await w.load(DOCUMENT, c.id)
    await w.load(LINKED[c.kind], c.target)
    w.record(entity, document.link(entity.state, kind=c.kind, target=c.target))
    return None


class UnlinkDocument(LinkTarget):
    id: UUID


@command("documents.unlink", "POST /documents/{id}:unlink", permission=WRITE, title="Unlink a document", target=DOCUMENT)
async def unlink_document(c: UnlinkDocument, w: Work) -> Answer:
    entity = await w.load(DOCUMENT, c.id)
    w.record(entity, document.unlink(entity.state, kind=c.kind, target=c.target))
    return None


class PlaceHold(Command):
    id: UUID
    name: Line
    reason: Reason


@command(
    "documents.place_hold",
    "POST /documents/{id}:place-hold",
    permission=HOLDS,
    title="Place a legal hold",
    target=DOCUMENT,
)
async def place_hold(c: PlaceHold, w: Work) -> Answer:
    """Several holds may stand at once, each under its own name. The answer holds the id under which this one is lifted."""
    entity = await w.load(DOCUMENT, c.id)
    hold = HoldId(w.new_id())
    w.record(entity, document.place_hold(entity.state, hold=hold, name=c.name, reason=c.reason))
    return {"hold": str(hold)}


class LiftHold(Command):
    id: UUID
    hold: UUID
    reason: Reason


@command(
    "documents.lift_hold",
    "POST /documents/{id}:lift-hold",
    permission=HOLDS,
    title="Lift a legal hold",
    target=DOCUMENT,
)
async def lift_hold(c: LiftHold, w: Work) -> Answer:
    entity = await w.load(DOCUMENT, c.id)
    w.record(entity, document.lift_hold(entity.state, hold=HoldId(c.hold), reason=c.reason))
    return None


class RetainDocument(Command):
    id: UUID
    until: date
    reason: Reason | None = None


@command(
    "documents.retain",
    "POST /documents/{id}:retain",
    permission=WRITE,
    title="Set or extend retention",
    target=DOCUMENT,
)
async def retain_document(c: RetainDocument, w: Work) -> Answer:
    """The document is kept through the whole of that day (UTC). A date that is set can only be moved later in this way."""
    entity = await w.load(DOCUMENT, c.id)
    w.record(entity, document.retain(entity.state, until=c.until, reason=c.reason))
    return None


class ShortenRetention(Command):
    id: UUID
    until: date | None
    reason: Reason


@command(
    "documents.shorten_retention",
    "POST /documents/{id}:shorten-retention",
    permission=HOLDS,
    title="Shorten or give up retention",
    target=DOCUMENT,
)
async def shorten_retention(c: ShortenRetention, w: Work) -> Answer:
    """An earlier date, or none; refused while a legal hold stands."""
    entity = await w.load(DOCUMENT, c.id)
    w.record(entity, document.shorten_retention(entity.state, until=c.until, reason=c.reason))
    return None


class ArchiveDocument(Command):
    id: UUID
    reason: Reason | None = None


@command("documents.archive", "POST /documents/{id}:archive", permission=WRITE, title="Archive a document", target=DOCUMENT)
async def archive_document(c: ArchiveDocument, w: Work) -> Answer:
    """Out of the way, not gone: it is not changed until it is restored."""
    entity = await w.load(DOCUMENT, c.id)
    w.record(entity, document.archive(entity.state, reason=c.reason))
    return None


class RestoreDocument(Command):
    id: UUID


@command("documents.restore", "POST /documents/{id}:restore", permission=WRITE, title="Restore a document", target=DOCUMENT)
async def restore_document(c: RestoreDocument, w: Work) -> Answer:
    entity = await w.load(DOCUMENT, c.id)
    w.record(entity, document.restore(entity.state))
    return None


class DiscardDocument(Command):
    id: UUID
    reason: Reason


@command(
    "documents.discard",
    "POST /documents/{id}:discard",
    permission=WRITE,
    title="Discard a document",
    target=DOCUMENT,
    undoable=False,
)
async def discard_document(c: DiscardDocument, w: Work) -> Answer:
    """Final. Refused while a legal hold stands or the retention date has not passed; its content can't be read any more."""
    entity = await w.load(DOCUMENT, c.id)
    w.record(entity, document.discard(entity.state, reason=c.reason, now=w.now))
    return None
