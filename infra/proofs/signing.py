"""The keys logs are signed with, and what was signed, both kept outside the database.

LG7  Each log has a key of its own, made from the installation's secret and the log's origin: one firm's key says nothing of another's.
LG8  What is signed is written down outside the database before anyone can see it, so that a database that was restored or rewritten
     can't be made to sign another history.
"""

import binascii
import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from infra.proofs.encoding import b64, decimal, unb64_hash
from infra.proofs.errors import Malformed
from infra.proofs.notes import Signer
from infra.record.vault import KeysUnusable

KEYS = "signing.keys"
SIGNED = "signed.log"
ROTATE_BYTES = 1_000_000
HEADER = b"# The secrets that the logs' signing keys are made of, oldest first: 32 bytes each, base64. Never remove a line.\n"


class SigningKeys:
    """The installation's secrets, newest last; `signers` makes a log's keys of them.

    They stand in `signing.keys` of the keys folder, which is made when it is not there, or in the file that is given.
    """

    def __init__(self, folder: Path, given: Path | None = None) -> None:
        self._path = given or folder / KEYS
        self._own = given is None
        if self._own and not self._path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._create()
        self._secrets: list[bytes] = []
        self.reload()

    @property
    def path(self) -> Path:
        return self._path

    @property
    def own(self) -> bool:
        """Whether a new secret may be added here; not where the file is somebody else's to keep."""
        return self._own

    def reload(self) -> None:
        """Read the secrets as they now stand."""
        try:
            lines = self._path.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise KeysUnusable(f"The signing keys can't be read at {self._path}. Restore the file from your backup of keys.") from e
        secrets = []
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                try:
                    secrets.append(unb64_hash(line.strip()))
                except Malformed as e:
                    raise KeysUnusable(f"Line {number} of {self._path.name} is not a signing secret: 32 bytes in base64.") from e
        if not secrets:
            raise KeysUnusable(f"{self._path.name} holds no signing secret: 32 bytes in base64, a line each.")
        self._secrets = secrets

    def signers(self, origin: str) -> list[Signer]:
        """The keys of a log, oldest first."""
        return [_signer(secret, origin) for secret in self._secrets]

    def newest(self, origin: str) -> Signer:
        return _signer(self._secrets[-1], origin)

    def named(self, origin: str, vkey: str) -> Signer | None:
        """The key of a log that has this vkey, if it is among ours."""
        return next((s for s in self.signers(origin) if str(s.verifier) == vkey), None)

    def add(self) -> None:
        """Add a secret of 256 random bits, durably."""
        if not self._own:
            raise KeysUnusable(
                f"The signing keys stand in {self._path}, which is not ours to change. Add a line to it: 32 random bytes in base64."
            )
        with self._path.open("ab") as f:
            f.write(_fresh())
            f.flush()
            os.fsync(f.fileno())
        self.reload()

    def _create(self) -> None:
        fresh = self._path.with_name(f".{KEYS}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as f:
            f.write(HEADER + _fresh())
            f.flush()
            os.fsync(f.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its keys count
            os.link(fresh, self._path)
        fresh.unlink()
        _sync_folder(self._path.parent)


def _fresh() -> bytes:
    return b64(os.urandom(32)).encode() + b"\n"


def _signer(secret: bytes, origin: str) -> Signer:
    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"chancery log key\x00" + origin.encode()).derive(secret)
    return Signer(origin, seed)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Signed:
    """The last size and root that was signed under each origin, in a file beside the keys.

    Lines are appended and forced to disk before a checkpoint is published, so a line may be ahead of the database by what a crash
    took, and never behind what anybody has seen.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / SIGNED
        self._most = ROTATE_BYTES

    def last(self, origin: str) -> tuple[int, bytes] | None:
        return self.all().get(origin)

    def all(self) -> dict[str, tuple[int, bytes]]:
        """By origin: the size and root that were signed last."""
        found: dict[str, tuple[int, bytes]] = {}
        for origin, size, root in self._lines():
            found[origin] = (size, root)
        return found

    def _lines(self) -> Iterator[tuple[str, int, bytes]]:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return
        for line in raw.split(b"\n")[:-1]:  # what a crash cut short was not published
            try:
                origin, size, root, check = line.decode().split(" ")
                if check == _check(f"{origin} {size} {root}"):
                    yield origin, decimal(size), unb64_hash(root)
            except (ValueError, Malformed):
                continue

    def remember(self, signed: Iterable[tuple[str, int, bytes]]) -> None:
        """Write down what is about to be published. Callers hold a lock of the database, so that one does it at a time."""
        lines = [f"{origin} {size} {b64(root)}" for origin, size, root in signed]
        if self._path.exists() and self._path.stat().st_size > self._most:
            self._compact()
        with self._path.open("ab") as f:
            if f.tell() and not self._ends_well():
                f.write(b"\n")
            f.write("".join(f"{line} {_check(line)}\n" for line in lines).encode())
            f.flush()
            os.fsync(f.fileno())

    def _ends_well(self) -> bool:
        with self._path.open("rb") as f:
            f.seek(-1, os.SEEK_END)
            return f.read(1) == b"\n"

    def _compact(self) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as f:
            for origin, (size, root) in self.all().items():
                line = f"{origin} {size} {b64(root)}"
                f.write(f"{line} {_check(line)}\n".encode())
            f.flush()
            os.fsync(f.fileno())
        fresh.replace(self._path)
        _sync_folder(self._path.parent)
        self._most = max(ROTATE_BYTES, 2 * self._path.stat().st_size)


def _check(line: str) -> str:
    return f"{binascii.crc32(line.encode()):08x}"
