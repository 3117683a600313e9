"""Commands of notices: publish a version, add a translation, retire."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from commands.kernel import Answer, Command, Entity, Work, command
from commands.purposes import Key, Name
from domain import notices, purposes
from domain.consent.words import moment
from domain.documents import DOCUMENT
from domain.notices import NOTICE
from domain.purposes import PURPOSES

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$", max_length=12)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MediaType = Literal["text/plain", "text/html", "text/markdown", "application/pdf"]
NoticeText = Annotated[str, StringConstraints(min_length=1, max_length=40_000, pattern=r"^[^\x00]+$")]


class Written(Command):
    """A text, or a document of this firm together with the SHA-256 of its bytes."""

    language: Language
    media_type: MediaType = "text/plain"
    text: NoticeText | None = None
    document: UUID | None = None
    sha256: Sha256 | None = None


class Publication(Written):
    title: Name
    material: bool = True
    purposes: Annotated[tuple[Key, ...], Field(min_length=1, max_length=100)]
    new_purposes: Annotated[tuple[Key, ...], Field(max_length=100)] = ()
    occurred_at: AwareDatetime | None = Field(default=None, description="When it was published, if not now: before it came here.")


async def _held(c: Written, w: Work) -> frozenset[str]:
    if c.document is None:
        return frozenset()
    return frozenset(v.sha256 for v in (await w.load(DOCUMENT, c.document)).state.versions)


async def _publish(c: Publication, w: Work, notice: Entity[notices.Notice, notices.Event]) -> None:
    at = moment(w.now, c.occurred_at)
    purposes.pick((await w.find(PURPOSES, w.firm)).state, c.purposes)
    published = notices.publish(
        notice.state,
        title=c.title,
        language=c.language,
        media_type=c.media_type,
        text=c.text,
        document=c.document,
        sha256=c.sha256,
        held=await _held(c, w),
        material=c.material,
        purposes=c.purposes,
        new_purposes=c.new_purposes,
        now=at,
    )
    w.record(notice, published, occurred_at=at)


class CreateNotice(Publication):
    pass


@command(
    "notices.create",
    "POST /notices",
    permission="consent:write",
    title="Publish a notice",
    target=NOTICE,
    creates=True,
    undoable=False,
)
async def create(c: CreateNotice, w: Work) -> Answer:
    """Publish the first version of a notice: the text people see when they are asked for consent, and the purposes it names."""
    notice = w.create(NOTICE, w.new_id())
    await _publish(c, w, notice)
    return {"id": str(notice.id)}


class PublishNotice(Publication):
    id: UUID


@command(
    "notices.publish",
    "POST /notices/{id}:publish",
    permission="consent:write",
    title="Publish a new version of a notice",
    target=NOTICE,
    undoable=False,
)
async def publish(c: PublishNotice, w: Work) -> Answer:
    """Publish the next version. A material one names in `new_purposes` the purposes to which it gives a new meaning: what was given for
    them on earlier versions no longer counts and has to be asked for again."""
    notice = await w.load(NOTICE, c.id)
    await _publish(c, w, notice)
    return {"notice_version": len(notice.state.versions)}


class TranslateNotice(Written):
    id: UUID
    notice_version: Annotated[int, Field(ge=1, le=notices.VERSIONS)]


@command(
    "notices.translate",
    "POST /notices/{id}:translate",
    permission="consent:write",
    title="Add a translation of a notice",
    target=NOTICE,
    undoable=False,
)
async def translate(c: TranslateNotice, w: Work) -> Answer:
    """Add the text of a published version in another language."""
    notice = await w.load(NOTICE, c.id)
    w.record(
        notice,
        notices.translate(
            notice.state,
            version=c.notice_version,
            language=c.language,
            media_type=c.media_type,
            text=c.text,
            document=c.document,
            sha256=c.sha256,
            held=await _held(c, w),
        ),
    )
    return None


class RetireNotice(Command):
    id: UUID


@command(
    "notices.retire",
    "POST /notices/{id}:retire",
    permission="consent:write",
    title="Retire a notice",
    target=NOTICE,
    undoable=False,
)
async def retire(c: RetireNotice, w: Work) -> Answer:
    """Show the notice to nobody any more. Consents given on it stay as they are."""
    notice = await w.load(NOTICE, c.id)
    w.record(notice, notices.retire(notice.state, now=w.now))
    return None
