"""What the running system needs of a store of contents, beyond what commands need of it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from commands.documents import Blobs
from domain.kernel import FirmId

PIECE = 1 << 20  # bytes per piece that is handed on: few hops, little memory

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_sha256(name: str) -> bool:
    return _SHA256.fullmatch(name) is not None


class ContentDamagedError(OSError):
    """Stored bytes are no longer those that their name promises: restore them from a backup."""


class StoreAway(OSError):
    """The store of contents does not answer, or refuses us. Nothing was kept; try again."""


class BlobStore(Blobs, Protocol):
    """A folder or a bucket, with what keeps it tidy."""

    max_bytes: int

    async def sweep(self) -> int:
        """Remove what crashes left aside, put back what was about to be deleted; how many contents that was. To be called at start:
        raises StoreAway when the store can't be used."""
        ...

    def stale(self, firm: FirmId, *, older_than: float) -> AsyncIterator[list[str]]:
        """What nobody has sent, found or added for `older_than` seconds, some at a time."""
        ...

    async def delete_if_stale(self, firm: FirmId, sha256: str, *, older_than: float) -> bool:
        """As `delete`, unless somebody found or sent it meanwhile: then it stays."""
        ...

    def local(self, firm: FirmId, sha256: str, *, most: int) -> AbstractContextManager[Path | None]:
        """The content, or at least its first `most` bytes, as a file of this machine while the context lasts; None when it is not
        there. Blocks: not for an event loop."""
        ...


async def collect(
    blobs: BlobStore, firm: FirmId, in_use: Callable[[list[str]], Awaitable[set[str]]], *, older_than: float = 7 * 86_400
) -> int:
    """Delete what was sent and never used, or used only by discarded documents; how many contents that was.

    `in_use` gives those of the named contents that documents have, from views that have caught up with the record: with views
    that are being rebuilt this must not be called.
    """
    deleted = 0
    async for names in blobs.stale(firm, older_than=older_than):
        used = await in_use(names) if names else set()
        for sha256 in names:
            if sha256 not in used:
                deleted += await blobs.delete_if_stale(firm, sha256, older_than=older_than)
    return deleted
