"""Versions of documents: lists, one by its number, and where its content is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from domain.documents import MOST_VERSIONS
from domain.kernel import NotFound, Refused
from projections.document_versions import DOCUMENT_VERSIONS
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing.relations import Relation, relation

VERSIONS_SQL = (Path(__file__).parent / "document_versions.sql").read_text()
IN_USE_SQL = (Path(__file__).parent / "document_content_in_use.sql").read_text()

VIEWS = ("documents", "document_versions")

Number = Annotated[int, Field(ge=1, le=MOST_VERSIONS)]

collection(
    Collection(
        name="document_versions",
        view=DOCUMENT_VERSIONS,
        stream=None,
        permission="documents:read",
        title="Versions of documents",
        order="-created_at",
        search=("file_name", "comment", "author"),
    )
)
relation("document_versions", Relation("document", "documents", "document"))


class ContentDiscarded(Refused):
    """The document was discarded; its content can't be read any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionContent:
    """What is needed to hand out a version's bytes."""

    number: int
    sha256: str
    size: int
    media_type: str
    file_name: str | None


class DocumentVersions(Query):
    id: UUID
    after: Annotated[int, Field(ge=0, le=MOST_VERSIONS)] = 0
    page_size: Annotated[int, Field(ge=1, le=200)] = 50


class DocumentVersion(Query):
    id: UUID
    number: Number


@query(
    "documents.versions",
    "GET /documents/{id}/versions",
    permission="documents:read",
    title="The versions of a document",
    views=VIEWS,
)
async def document_versions(q: DocumentVersions, reader: Reader) -> object:
    """From number `after` on, oldest first; `next_after` is there when more follow."""
    rows = await reader.all(VERSIONS_SQL, id=q.id, after=q.after, most=q.page_size + 1)
    if not rows and q.after == 0:
        raise NotFound(kind="document", id=str(q.id))
    page = rows[: q.page_size]
    more = len(rows) > q.page_size
    return {
        "versions": [_shown(row, reader) for row in page],
        **({"next_after": page[-1]["number"]} if more else {}),
    }


@query(
    "documents.version",
    "GET /documents/{id}/versions/{number}",
    permission="documents:read",
    title="One version of a document",
    views=VIEWS,
)
async def document_version(q: DocumentVersion, reader: Reader) -> object:
    return _shown(await _version(q, reader), reader)


async def version_content(q: DocumentVersion, reader: Reader) -> VersionContent:
    """Raises NotFound, and ContentDiscarded when the document is gone for good."""
    row = await _version(q, reader)
    if row["status"] == "discarded":
        raise ContentDiscarded(id=str(q.id))
    return VersionContent(
        number=row["number"],
        sha256=row["sha256"],
        size=row["size"],
        media_type=row["media_type"],
        file_name=row["file_name"],
    )


async def contents_in_use(sha256s: Sequence[str], reader: Reader) -> set[str]:
    """Those of the given contents that a version of a document which is not discarded has."""
    rows = await reader.all(IN_USE_SQL, sha256s=list(sha256s))
    return {row["sha256"] for row in rows}


async def _version(q: DocumentVersion, reader: Reader) -> Mapping[str, Any]:
    rows = await reader.all(VERSIONS_SQL, id=q.id, after=q.number - 1, most=1)
    if not rows or rows[0]["number"] != q.number:
        raise NotFound(kind="document_version", id=str(q.id), number=q.number)
    return rows[0]


def _shown(row: Mapping[str, Any], reader: Reader) -> dict[str, object]:
    masked = set() if "personal:read" in reader.permissions else {"file_name", "author", "comment"}
    return {name: None if name in masked else value for name, value in row.items() if name != "status"}
