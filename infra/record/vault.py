"""Data keys and sealing: one key per subject and class of purpose, wrapped by a key that stands outside the database.

The wrapping key of an epoch is a file in the keys folder, readable by its owner alone; wrapped data keys are rows. Losing the
folder loses every personal value; destroying a data key's row and rotating the epoch makes its values unreadable in every copy.
An unwrapped key stays in memory for at most 60 seconds, used or not, and is asked for anew after that. When the list of what was
destroyed grows, in the same folder, every process forgets all keys it has in memory within half a second: whose they are is told anew.
An epoch may end while others serve: a process that meets a new one reads its file, and makes new data keys under the newest there is.
"""

import contextlib
import functools
import hashlib
import hmac
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import ConfigDict, TypeAdapter

from infra.ids import random_bytes
from infra.record.codec import Disclosure, b64url, unb64url

KEY_SECONDS = 60.0
WATCH_SECONDS = 0.25  # between looks at the list of what was destroyed, while there are keys in memory
SWEEP_SECONDS = 5.0
DESTROYED = "erased.jsonl"
KEYS_IN_MEMORY = 20_000
MAC_KEYS = 10_000
_INNER = bytes(n ^ 0x36 for n in range(256))
_OUTER = bytes(n ^ 0x5C for n in range(256))


_key_id = functools.lru_cache(maxsize=KEYS_IN_MEMORY)(UUID)  # ids of data keys as they stand in sealed parts; they tell nothing


class KeysUnusable(Exception):
    """The wrapping keys can't be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A data key that is appended with the first event it seals."""

    firm: UUID
    key_id: UUID
    subject: UUID
    purpose: str
    epoch: int
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class DataKey:
    key_id: UUID
    cipher: AESGCM
    raw: bytes = field(default=b"", repr=False)  # for a process that seals on this one's behalf
    name: bytes = field(init=False)  # as it stands in sealed parts

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.key_id.hex.encode())


class Vault:
    """Wraps, unwraps, seals and opens. Holds no connection: callers fetch wrapped keys and hand them in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._wrapping: dict[int, AESGCM] = {}
        self.epoch = 0
        self._folder_stands = 0
        self.reload()
        if not self._wrapping:
            self.begin_epoch(1)
        digest = folder / "digest.key"
        self._digest = digest.read_bytes() if digest.exists() else self._create(digest.name)
        if len(self._digest) != 32:
            raise KeysUnusable("digest.key in the keys folder is not a key (32 bytes). Restore it from your backup of keys.")
        # By the numbers of firm, subject and key: C hashes them, UUIDs hash themselves.
        self._by_subject: OrderedDict[tuple[int, int, str], tuple[float, DataKey]] = OrderedDict()
        self._by_id: OrderedDict[tuple[int, int], tuple[float, AESGCM]] = OrderedDict()
        self._macs: dict[tuple[UUID, str], tuple[hashlib._Hash, hashlib._Hash]] = {}
        self._guard = threading.RLock()
        self._watcher: threading.Thread | None = None
        self._swept = 0.0
        self._destroyed_stands = self._destroyed()
        self._forgetting: list[Callable[[], None]] = []

    # --- wrapping keys

    @property
    def epochs(self) -> tuple[int, ...]:
        """Those whose key is in the folder, oldest first."""
        return tuple(sorted(self._wrapping))

    def reload(self) -> None:
        """Read the wrapping keys as they now stand in the folder; those that were destroyed are forgotten."""
        self._folder_stands = self._folder.stat().st_mtime_ns  # looked at before reading: what comes meanwhile is read again
        found: dict[int, AESGCM] = {}
        for path in sorted(self._folder.glob("wrapping-*.key")):
            try:
                raw = path.read_bytes()
            except FileNotFoundError:  # destroyed at this moment
                continue
            if len(raw) != 32:
                raise KeysUnusable(
                    f"{path.name} in the keys folder is not a wrapping key (32 bytes). Restore it from your backup of keys."
                )
            found[int(path.stem.removeprefix("wrapping-"))] = AESGCM(raw)
        self._wrapping = found
        self.epoch = max(found, default=0)

    def begin_epoch(self, epoch: int) -> None:
        """Make this epoch's key, unless there is one; new data keys are wrapped under the newest."""
        self._create(epoch_file(epoch))
        self.reload()

    def end_epochs(self, before: int) -> tuple[int, ...]:
        """Destroy the keys of all epochs before this one: what was wrapped under them is unreadable for ever."""
        ended = tuple(e for e in self.epochs if e < before)
        for epoch in ended:
            path = self._folder / epoch_file(epoch)
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_WRONLY)
                try:
                    os.write(descriptor, os.urandom(32))  # where the file stood, as far as the file system lets it be
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                path.unlink()
        self._sync()
        self.reload()
        return ended

    def rewrap(self, firm: UUID, key_id: UUID, subject: UUID, purpose: str, epoch: int, wrapped: bytes) -> bytes:
        """The same data key under the newest wrapping key; it does not stay in memory."""
        bound = self._bind(firm, key_id, subject, purpose)
        nonce = os.urandom(12)
        return nonce + self._wrapping[self.epoch].encrypt(nonce, self._unwrapped(bound, epoch, wrapped), bound)

    def _unwrapped(self, bound: bytes, epoch: int, wrapped: bytes) -> bytes:
        key = self._wrapping.get(epoch)
        if key is None:
            self.reload()
            key = self._wrapping.get(epoch)
        if key is None:
            raise KeysUnusable(
                f"The wrapping key of epoch {epoch} is missing from the keys folder. Restore it from your backup of keys."
            )
        try:
            return key.decrypt(wrapped[:12], wrapped[12:], bound)
        except InvalidTag as e:
            raise KeysUnusable(
                "A data key can't be unwrapped: the keys folder belongs to another database, or the row was altered. Run `chancery doctor`."
            ) from e

    def _sync(self) -> None:
        directory = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _create(self, name: str) -> bytes:
        """A fresh 256-bit key in a file; when another process was first, its key."""
        path = self._folder / name
        fresh = self._folder / f".{name}.{os.getpid()}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, AESGCM.generate_key(256))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
        self._sync()
        return path.read_bytes()

    # --- keyed digests

    def installation_key(self, purpose: str) -> bytes:
        """A 256-bit key of this installation for one purpose that belongs to no firm."""
        return hmac.digest(self._digest, b"installation\x00" + purpose.encode(), "sha256")

    def mac(self, firm: UUID, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA-256 under a key of this firm and purpose; the same in every epoch."""
        started = self._macs.get((firm, purpose))
        if started is None:
            if len(self._macs) >= MAC_KEYS:
                self._macs.clear()
            key = hmac.digest(self._digest, b"mac\x00" + firm.bytes + purpose.encode(), "sha256").ljust(64, b"\x00")
            # RFC 2104: the hashes of the padded key are begun once and copied, a third of what `hmac.digest` takes.
            started = hashlib.sha256(key.translate(_INNER)), hashlib.sha256(key.translate(_OUTER))
            self._macs[(firm, purpose)] = started
        inner, outer = started[0].copy(), started[1].copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def derive_id(self, firm: UUID, *parts: str) -> UUID:
        """A UUIDv8 (RFC 9562) that is a keyed function of the parts and tells nothing of them."""
        raw = bytearray(self.mac(firm, "id", orjson.dumps(parts))[:16])
        raw[6] = raw[6] & 0x0F | 0x80
        raw[8] = raw[8] & 0x3F | 0x80
        return UUID(bytes=bytes(raw))

    @property
    def folder(self) -> Path:
        """Where the wrapping keys stand."""
        return self._folder

    # --- data keys

    def _bind(self, firm: UUID, key_id: UUID, subject: UUID, purpose: str) -> bytes:
        return b"data-key\x00" + firm.bytes + key_id.bytes + subject.bytes + purpose.encode()

    def known(self, firm: UUID, subject: UUID, purpose: str) -> DataKey | None:
        found = self._by_subject.get((firm.int, subject.int, purpose))
        if found is None or found[0] < time.monotonic():
            return None
        return found[1]

    def create(self, firm: UUID, subject: UUID, purpose: str) -> tuple[DataKey, NewKey]:
        raw = AESGCM.generate_key(256)
        key_id = uuid4()
        if self._folder.stat().st_mtime_ns != self._folder_stands:  # another process may have begun an epoch
            self.reload()
        nonce = os.urandom(12)
        wrapped = nonce + self._wrapping[self.epoch].encrypt(nonce, raw, self._bind(firm, key_id, subject, purpose))
        key = DataKey(key_id, AESGCM(raw), raw)
        return key, NewKey(firm, key_id, subject, purpose, self.epoch, wrapped)

    def remember(self, firm: UUID, subject: UUID, purpose: str, key: DataKey) -> None:
        until = time.monotonic() + KEY_SECONDS
        about, itself = (firm.int, subject.int, purpose), (firm.int, key.key_id.int)
        with self._guard:
            self._by_subject.pop(about, None)  # so that the oldest stay in front
            self._by_subject[about] = (until, key)
            self._by_id.pop(itself, None)
            self._by_id[itself] = (until, key.cipher)
            while len(self._by_subject) > KEYS_IN_MEMORY:
                self._by_subject.popitem(last=False)
            while len(self._by_id) > KEYS_IN_MEMORY:
                self._by_id.popitem(last=False)
            self._watched()

    def _watched(self) -> None:
        with self._guard:
            if self._watcher is None:
                self._watcher = threading.Thread(target=_watch, args=(weakref.ref(self),), name="keys", daemon=True)
                self._watcher.start()

    def look(self) -> bool:
        """Drop what is older than 60 seconds, and everything when something was destroyed; False when there is nothing to look after."""
        stands = self._destroyed()
        if stands != self._destroyed_stands:
            self._destroyed_stands = stands
            self.forget_all()
        now = time.monotonic()
        with self._guard:
            if now - self._swept >= min(SWEEP_SECONDS, KEY_SECONDS):
                self._swept = now
                self._sweep(now)
            if self._by_id or self._by_subject or self._forgetting:
                return True
            self._watcher = None
            return False

    def _sweep(self, now: float) -> None:
        for subject in [s for s, (until, _) in self._by_subject.items() if until <= now]:
            del self._by_subject[subject]
        for key_id in [k for k, (until, _) in self._by_id.items() if until <= now]:
            del self._by_id[key_id]

    def _destroyed(self) -> tuple[int, int]:
        """Where the list of what was destroyed stands."""
        try:
            found = (self._folder / DESTROYED).stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    def when_forgetting(self, call: Callable[[], None]) -> None:
        """Have this called, by a thread of its own, when something was destroyed: what was opened before is to be forgotten too."""
        self._forgetting.append(call)
        self._watched()

    def forget_all(self) -> None:
        """Drop every key from memory, and have those who hold what they opened drop that."""
        with self._guard:
            self._by_subject.clear()
            self._by_id.clear()
        for call in self._forgetting:
            call()

    def unwrap(self, firm: UUID, key_id: UUID, subject: UUID, purpose: str, epoch: int, wrapped: bytes) -> DataKey:
        raw = self._unwrapped(self._bind(firm, key_id, subject, purpose), epoch, wrapped)
        key = DataKey(key_id, AESGCM(raw), raw)
        self.remember(firm, subject, purpose, key)
        return key

    def forget(self, firm: UUID, subject: UUID) -> None:
        """Drop a subject's keys from memory at once."""
        with self._guard:
            for known in [k for k in self._by_subject if k[:2] == (firm.int, subject.int)]:
                _, key = self._by_subject.pop(known)
                self._by_id.pop((firm.int, key.key_id.int), None)

    # --- sealing

    def seal(self, stream_id: UUID, event_id: UUID, firm: UUID, items: Sequence[tuple[DataKey, Disclosure]]) -> bytes:
        """The sealed part of an event."""
        return seal(firm.bytes + stream_id.bytes + event_id.bytes, items)

    def cipher(self, firm: UUID, key_id: UUID, seconds: float = 0.0) -> AESGCM | None:
        """The key in memory if it stays there for so long; None when it must be fetched."""
        found = self._by_id.get((firm.int, key_id.int))
        return None if found is None or found[0] < time.monotonic() + seconds else found[1]

    def key_ids(self, sealed: bytes) -> list[UUID]:
        return [_key_id(k) for k, _ in orjson.loads(sealed)]

    def held(self, sealed: Iterable[tuple[UUID, bytes | None]]) -> tuple[dict[UUID, AESGCM], set[tuple[UUID, UUID]]]:
        """The keys in memory that open these (firm, sealed part), and (firm, key id) of those that must be fetched.

        The caller holds on to the keys until it has opened everything, so that none expires in between.
        """
        now = time.monotonic()
        keys: dict[UUID, AESGCM] = {}
        wanted: set[tuple[UUID, UUID]] = set()
        for firm, s in sealed:
            if s is not None:
                for key_id in self.key_ids(s):
                    if key_id not in keys:
                        found = self._by_id.get((firm.int, key_id.int))
                        if found is None or found[0] < now:
                            wanted.add((firm, key_id))
                        else:
                            keys[key_id] = found[1]
        return keys, wanted

    def open(self, firm: UUID, stream_id: UUID, event_id: UUID, sealed: bytes, keys: Mapping[UUID, AESGCM]) -> list[str]:
        """The disclosures whose key is among `keys`, in their places' order; a destroyed key's are absent."""
        bound = firm.bytes + stream_id.bytes + event_id.bytes
        out = []
        for place, (key_hex, text) in enumerate(orjson.loads(sealed)):
            cipher = keys.get(_key_id(key_hex))
            if cipher is not None:
                raw = unb64url(text)
                out.append(cipher.decrypt(raw[:12], raw[12:], bound + place.to_bytes(2, "big")).decode())
        return out


def _watch(vault: "weakref.ref[Vault]") -> None:
    """Look after a vault for as long as there is something to look after."""
    while True:
        time.sleep(WATCH_SECONDS)
        alive = vault()
        if alive is None or not alive.look():
            return
        del alive


def epoch_file(epoch: int) -> str:
    """The name of the file of a wrapping key."""
    return f"wrapping-{epoch:06d}.key"


def seal(bound: bytes, items: Sequence[tuple[DataKey, Disclosure]]) -> bytes:
    """The sealed part: `[[key id, base64url(nonce + ciphertext)], …]`, each value bound to firm, stream and event (`bound`) and place."""
    out = []
    for place, (key, disclosure) in enumerate(items):
        nonce = random_bytes(12)
        ciphertext = key.cipher.encrypt(nonce, disclosure.text.encode(), bound + place.to_bytes(2, "big"))
        out.append(b'["%b","%b"]' % (key.name, b64url(nonce + ciphertext).encode()))
    return b"[%b]" % b",".join(out)


# JSON and base64 in one step, a third of the time of one after the other
_BASE64 = ConfigDict(val_json_bytes="base64")
_unquoted: Callable[[bytes], bytes] = TypeAdapter(bytes, config=_BASE64).validator.validate_json
sealed_items: Callable[[bytes], list[tuple[str, bytes]]] = TypeAdapter(
    list[tuple[str, bytes]], config=_BASE64
).validator.validate_json
"""A sealed part taken apart: for each value its key's id in hex, nonce and ciphertext."""


def open_all(items: Sequence[tuple[str, bytes]], bound: bytes, ciphers: Sequence[AESGCM | None]) -> dict[str, Any]:
    """The names and values in a sealed part; `bound` is firm, stream and event, None a destroyed key."""
    out = {}
    for place, cipher in enumerate(ciphers):
        if cipher is not None:
            raw = items[place][1]
            plain = cipher.decrypt(raw[:12], raw[12:], bound + place.to_bytes(2, "big"))
            _, name, value = orjson.loads(_unquoted(b'"%b"' % plain))
            out[name] = value
    return out


SELECT_KEYS = (
    "SELECT k.firm_id, k.key_id, k.subject_id, k.purpose, k.epoch, k.wrapped FROM unnest(%s::uuid[], %s::uuid[]) u(f, k)"
    " JOIN vault.data_keys k ON k.firm_id = u.f AND k.key_id = u.k"
)
SELECT_SUBJECTS = (
    "SELECT DISTINCT ON (subject_id, purpose) firm_id, key_id, subject_id, purpose, epoch, wrapped"
    " FROM vault.data_keys WHERE firm_id = %s AND subject_id = ANY(%s) ORDER BY subject_id, purpose, key_id"
)


def body_mac(vault: Vault, firm: UUID, body: bytes) -> bytes:
    """A keyed digest of a command's body: tells the same body from another without keeping either."""
    return vault.mac(firm, "command-body", hashlib.sha256(body).digest())


Row = tuple[Any, ...]
