"""Content in a bucket of an S3 server, by its SHA-256: `<prefix>/<firm>/<first two digits>/<sha256>`.

What a folder promises (BLOB1 to BLOB5 in `infra.blobs.folder`) holds here by other means:

- Content larger than one part is sent, as it arrives, to `<prefix>/tmp/<id>` in several parts, and copied by the server to its name when
  its SHA-256 is known and right; smaller content is put there at once. A put, a completed upload and a copy are each whole or not there.
- An upload that fails is given up in order, so the server drops its parts. Parts that a crash left are invisible; a lifecycle rule of
  the bucket (AbortIncompleteMultipartUpload) drops them. Completed ones under `tmp/` are swept when a day old.
- S3 can't renew an object's time, so whoever finds or sends content that may be old leaves `<name>.seen` first. Whoever deletes content
  that is old sets it aside, deletes it, and then looks for a fresh `.seen`: either it sees it and puts the content back, or the other
  comes later and finds that there is none.

Everything streams: an upload holds a few parts, a reader two pieces.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store

from commands.documents import Blob, ContentDiffers, ContentMissing, ContentTooLarge
from domain.kernel import FirmId
from infra.blobs.port import PIECE, ContentDamagedError, StoreAway, is_sha256
from infra.media import HEAD, media_type

log = structlog.get_logger()

PART: Final = 5 << 20  # the least S3 takes
PARTS: Final = 9_000  # S3 takes 10,000
SENDING: Final = 2  # parts on their way at once
READ: Final = 4 << 20  # bytes asked for at once
COPIED: Final = 5 << 30  # the most that S3 copies by itself
SEEN: Final = ".seen"
ABANDONED: Final = timedelta(days=1)


class S3Blobs:
    """Satisfies `BlobStore`. Region and credentials come from the AWS_ variables, or from the machine or container it runs on.

    `fresh_for` is how long, in seconds, content counts as just sent: it is not marked as seen again, and never stale.
    """

    def __init__(
        self, bucket: str, prefix: str = "", *, endpoint: str | None = None, max_bytes: int = 5 << 30, fresh_for: float = 3_600
    ) -> None:
        self.max_bytes = max_bytes
        self.fresh_for = fresh_for
        self.part = max(PART, -(-max_bytes // PARTS))
        self.place = f"s3://{bucket}/{prefix}"
        self.store = S3Store(
            bucket,
            prefix=prefix or None,
            config={"endpoint": endpoint} if endpoint else None,
            disable_bulk_delete=True,  # not every server has it, and we delete one by one
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http://"),
                "connect_timeout": "5s",
                "timeout": "300s",
            },
            retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=20)},
        )

    @asynccontextmanager
    async def writing(self, firm: FirmId) -> AsyncIterator["S3Writer"]:
        writer = S3Writer(self, firm)
        try:
            yield writer
        finally:
            await asyncio.shield(writer.close())

    async def find(self, firm: FirmId, sha256: str, *, file_name: str | None = None) -> Blob | None:
        key = self.key(firm, sha256)
        with self._answering():
            try:
                meta = await obstore.head_async(self.store, key)
                if self._age(meta["last_modified"]) >= self.fresh_for:
                    await self._see(key)
                    meta = await obstore.head_async(self.store, key)  # it may have been deleted before that
                size = meta["size"]
                head = bytes(await obstore.get_range_async(self.store, key, start=0, end=min(HEAD, size))) if size else b""
            except FileNotFoundError:
                return None
        return Blob(sha256=sha256, size=size, media_type=media_type(head, file_name))

    async def read(self, firm: FirmId, sha256: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        key = self.key(firm, sha256)
        with self._answering():
            try:
                size = (await obstore.head_async(self.store, key))["size"]
            except FileNotFoundError:
                raise ContentMissing(sha256=sha256) from None
        end = size if length is None else min(start + length, size)
        digest = hashlib.sha256() if (start, end) == (0, size) else None
        at = start
        async for span in self._spans(key, start, end):
            for n in range(0, len(span), PIECE):
                piece = span[n : n + PIECE]
                at += len(piece)
                if digest is not None:
                    digest.update(piece)
                    if at == size and digest.hexdigest() != sha256:
                        raise ContentDamagedError(5, ContentDamagedError.__doc__, sha256)
                yield piece
        if at < end or (size == 0 and digest is not None and digest.hexdigest() != sha256):
            raise ContentDamagedError(5, ContentDamagedError.__doc__, sha256)

    async def _spans(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes between, a span at a time; the next is fetched while this one is used."""

        async def span(at: int) -> bytes:
            with self._answering():
                return bytes(await obstore.get_range_async(self.store, key, start=at, end=min(at + READ, end)))

        coming = asyncio.ensure_future(span(start)) if start < end else None
        try:
            for at in range(start, end, READ):
                if coming is None:
                    return
                here = await coming
                coming = asyncio.ensure_future(span(at + READ)) if at + READ < end else None
                yield here
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait([coming])

    async def delete(self, firm: FirmId, sha256: str) -> bool:
        key = self.key(firm, sha256)
        with self._answering():
            try:
                await obstore.head_async(self.store, key)
            except FileNotFoundError:
                return False
            await self._delete(key)
            await self._delete(key + SEEN)
        return True

    async def stale(self, firm: FirmId, *, older_than: float) -> AsyncIterator[list[str]]:
        self._not_too_soon(older_than)
        for shard in range(256):
            times: dict[str, datetime] = {}
            with self._answering():
                async for some in obstore.list(self.store, f"{firm}/{shard:02x}"):
                    for meta in some:
                        times[meta["path"].rpartition("/")[2]] = meta["last_modified"]
            yield sorted(
                name
                for name, time in times.items()
                if is_sha256(name) and self._age(max(time, times.get(name + SEEN, time))) > older_than
            )

    async def delete_if_stale(self, firm: FirmId, sha256: str, *, older_than: float) -> bool:
        self._not_too_soon(older_than)
        key, doomed = self.key(firm, sha256), f"doomed/{firm}.{sha256}"
        with self._answering():
            try:
                meta = await obstore.head_async(self.store, key)
            except FileNotFoundError:
                return False
            if self._age(meta["last_modified"]) <= older_than or await self._seen(key, older_than):
                return False
            await self._copy(key, doomed, meta["size"])
            await self._delete(key)
            if await self._seen(key, older_than):
                await self._copy(doomed, key, meta["size"])
                await self._delete(doomed)
                return False
            await self._delete(doomed)
            await self._delete(key + SEEN)
        return True

    async def sweep(self) -> int:
        swept = 0
        with self._answering(starting=True):
            async for some in obstore.list(self.store, "tmp"):
                for meta in some:
                    if self._age(meta["last_modified"]) > ABANDONED.total_seconds():
                        await self._delete(meta["path"])
                        swept += 1
            async for some in obstore.list(self.store, "doomed"):
                for meta in some:
                    firm, _, sha256 = meta["path"].rpartition("/")[2].partition(".")
                    await self._copy(meta["path"], self.key(FirmId(UUID(firm)), sha256), meta["size"])
                    await self._delete(meta["path"])
                    swept += 1
        return swept

    @contextmanager
    def local(self, firm: FirmId, sha256: str, *, most: int) -> Iterator[Path | None]:
        with tempfile.NamedTemporaryFile(prefix="chancery-content-") as file:
            try:
                with self._answering():
                    got = obstore.get(self.store, self.key(firm, sha256), options={"range": (0, most)})
                    for piece in got.stream(min_chunk_size=PIECE):
                        file.write(piece)
            except FileNotFoundError:
                found = None
            else:
                file.flush()
                found = Path(file.name)
            yield found

    def key(self, firm: FirmId, sha256: str) -> str:
        if not is_sha256(sha256):
            raise ValueError("not a SHA-256 in hexadecimal")
        return f"{firm}/{sha256[:2]}/{sha256}"

    async def keep(self, key: str, content: bytes) -> None:
        """Content of one part, under its name."""
        with self._answering(), self._there():
            await self._see(key)
            await obstore.put_async(self.store, key, content, use_multipart=False)

    async def take(self, aside: str, key: str, size: int) -> None:
        """Content that was sent aside, under its name."""
        with self._answering(), self._there():
            await self._see(key)
            await self._copy(aside, key, size)

    async def send(self, aside: str, pieces: AsyncIterator[bytes]) -> None:
        with self._answering(), self._there():
            await obstore.put_async(self.store, aside, pieces, chunk_size=self.part, max_concurrency=SENDING, use_multipart=True)

    async def drop(self, aside: str) -> None:
        with self._answering():
            await self._delete(aside)

    async def _copy(self, source: str, target: str, size: int) -> None:
        if size <= COPIED:
            await obstore.copy_async(self.store, source, target)
        else:  # by way of us
            await self.send(target, self._spans(source, 0, size))
        if (await obstore.head_async(self.store, target))["size"] != size:
            raise StoreAway(5, f"{self.place} did not keep what it was sent")

    async def _see(self, key: str) -> None:
        await obstore.put_async(self.store, key + SEEN, b"", use_multipart=False)

    async def _seen(self, key: str, older_than: float) -> bool:
        try:
            return self._age((await obstore.head_async(self.store, key + SEEN))["last_modified"]) <= older_than
        except FileNotFoundError:
            return False

    async def _delete(self, key: str) -> None:
        with suppress(FileNotFoundError):
            await obstore.delete_async(self.store, key)

    @staticmethod
    def _age(time: datetime) -> float:
        return (datetime.now(UTC) - time).total_seconds()

    def _not_too_soon(self, older_than: float) -> None:
        if older_than < self.fresh_for:
            raise ValueError(
                f"content counts as just sent for {self.fresh_for:.0f} seconds: it can't be stale after {older_than:.0f}"
            )

    @contextmanager
    def _answering(self, *, starting: bool = False) -> Iterator[None]:
        """Turns what the client says of a server that can't be used into StoreAway, and logs it."""
        try:
            yield
        except (BaseError, PermissionError, FileNotFoundError) as e:
            if isinstance(e, FileNotFoundError) and not starting:
                raise
            said = str(e).partition("\n")[0][:300]
            log.error("blobs.away", place=self.place, error=said)
            raise StoreAway(5, f"The store of contents, {self.place}, can't be used. It said: {said}") from e

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Where we write, nothing can be missing but the bucket."""
        try:
            yield
        except FileNotFoundError as e:
            raise StoreAway(5, f"There is no bucket for {self.place}") from e


class _Stopped(Exception):
    """Ends an upload that is given up."""


class S3Writer:
    """One content on its way in. Used by one task."""

    def __init__(self, blobs: S3Blobs, firm: FirmId) -> None:
        self._blobs = blobs
        self._firm = firm
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._pending = bytearray()
        self._size = 0
        self._aside = f"tmp/{uuid4()}"
        self._parts: asyncio.Queue[bytes | _Stopped | None] = asyncio.Queue(maxsize=1)
        self._sending: asyncio.Task[None] | None = None

    async def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._blobs.max_bytes:
            raise ContentTooLarge(max_bytes=self._blobs.max_bytes)
        for start in range(0, len(chunk), PIECE):
            piece = chunk[start : start + PIECE]
            self._pending += piece
            if len(self._head) < HEAD:
                self._head += piece[: HEAD - len(self._head)]
            await asyncio.to_thread(self._digest.update, piece) if len(piece) == PIECE else self._digest.update(piece)
            if len(self._pending) >= self._blobs.part:
                part, self._pending = bytes(self._pending), bytearray()
                await self._put(part)

    async def commit(self, *, file_name: str | None = None, sha256: str | None = None) -> Blob:
        found = self._digest.hexdigest()
        if sha256 not in (None, found):
            raise ContentDiffers(sha256=found)
        key = self._blobs.key(self._firm, found)
        if self._sending is None:
            await self._blobs.keep(key, bytes(self._pending))
        else:
            if self._pending:
                await self._put(bytes(self._pending))
            await self._put(None)
            await self._sending
            await self._blobs.take(self._aside, key, self._size)
        self._pending = bytearray()
        return Blob(sha256=found, size=self._size, media_type=media_type(bytes(self._head), file_name))

    async def _put(self, part: bytes | None) -> None:
        """Hand a part on, or the end; whatever stopped the sending is raised here."""
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._blobs.send(self._aside, self._coming()))
        handing = asyncio.ensure_future(self._parts.put(part))
        try:
            await asyncio.wait([handing, self._sending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()
        if self._sending.done() and (failed := self._sending.exception()) is not None:
            raise failed

    async def _coming(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            if isinstance(part, _Stopped):
                raise part
            yield part

    async def close(self) -> None:
        """Nothing stays behind unless it was committed."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        if not sending.done():
            with suppress(asyncio.QueueEmpty):
                self._parts.get_nowait()
            self._parts.put_nowait(_Stopped())
            await asyncio.wait([sending])
        if not sending.cancelled() and sending.exception() is None:
            with suppress(StoreAway):  # swept later
                await self._blobs.drop(self._aside)
