"""The text of a document's content: read once by a process of its own, and kept by the content's digest."""

from typing import Any

import psycopg
import structlog

from domain.kernel import FirmId
from infra import extract
from infra.blobs import BlobStore as Blobs

__all__ = ["Blobs", "Contents"]

log = structlog.get_logger()


class Contents:
    """Answers texts of contents; `limits` bound what reading one may cost."""

    def __init__(self, blobs: Blobs, limits: extract.Limits | None = None) -> None:
        self._blobs = blobs
        self._limits = limits or extract.Limits()

    def text(
        self, c: psycopg.Connection[Any], firm: FirmId, sha256: str, media_type: str, file_name: str | None
    ) -> extract.Extracted:
        """The text of a content, or why there is none. A content that is not there is looked for again next time."""
        found = c.execute(
            "SELECT text, unread FROM chancery.search_contents WHERE firm_id = %s AND sha256 = %s AND reader = %s",
            (firm, sha256, extract.VERSION),
        ).fetchone()
        if found is not None:
            return extract.Extracted(*found)
        if extract.form(media_type, file_name) is None:
            return extract.Extracted("", "no text is read from this kind of file")
        with self._blobs.local(firm, sha256, most=self._limits.file + 1) as path:
            if path is None:
                return extract.Extracted("", "the content is not here")
            read = extract.extract(path, media_type, file_name, self._limits)
        if read.unread:
            log.info("search.content_unread", sha256=sha256, media_type=media_type, why=read.unread)
        c.execute(
            "INSERT INTO chancery.search_contents (firm_id, sha256, reader, text, unread) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (firm_id, sha256) DO UPDATE SET reader = excluded.reader, text = excluded.text, unread = excluded.unread",
            (firm, sha256, extract.VERSION, read.text, read.unread),
        )
        return read
