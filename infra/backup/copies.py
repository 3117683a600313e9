"""What a copy is made of: its files, its manifest, and how bytes are kept."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from infra.record.vault import Vault

FORMAT = "chancery-backup/v1"
MANIFEST = "manifest.json"
DUMP = "database.dump"
CONTENTS = "contents"
LISTED = "contents.txt"
PIECE = 1 << 20
Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


class BackupRefused(Exception):
    """The copy can't be made or restored; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds."""

    made_at: datetime
    position: int
    database_bytes: int
    contents: int
    contents_bytes: int
    bucket: str | None

    def shown(self) -> dict[str, Any]:
        return {
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "position": self.position,
            "database_bytes": self.database_bytes,
            "contents": self.contents,
            "contents_bytes": self.contents_bytes,
            "bucket": self.bucket,
        }


def silent(_what: str, _done: int, _of: int) -> None:
    """Nobody is told."""


def keys_mark(vault: Vault) -> str:
    """What tells one installation's keys from another's, and nothing of them."""
    return hashlib.sha256(vault.installation_key("backup")).hexdigest()[:32]


def copy_content(source: Path, target: Path, sha256: str) -> int | None:
    """Copy a file whose digest is known, durably; answers its size, None when it is not there any more."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, size = hashlib.sha256(), 0
    aside = target.with_name(f".{target.name}.{uuid4()}")
    try:
        with source.open("rb") as given, aside.open("xb") as taken:
            os.fchmod(taken.fileno(), 0o440)
            while piece := given.read(PIECE):
                digest.update(piece)
                taken.write(piece)
                size += len(piece)
            taken.flush()
            os.fsync(taken.fileno())
        if digest.hexdigest() != sha256:
            raise BackupRefused(
                f"{source} is damaged: its bytes are not those its name promises. Put it back from an earlier backup."
            )
        aside.replace(target)
    except FileNotFoundError:
        return None
    finally:
        aside.unlink(missing_ok=True)
    return size


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a whole copy."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BackupRefused(f"{folder} holds no {MANIFEST}: it is no backup, or one that was broken off.") from None
    except (OSError, orjson.JSONDecodeError) as e:
        raise BackupRefused(f"The {MANIFEST} in {folder} can't be read: {e}.") from e
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BackupRefused(f"The {MANIFEST} in {folder} is of a form that this version does not know. It reads {FORMAT}.")
    return manifest


def digest_of(path: Path) -> tuple[str, int]:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest(), path.stat().st_size


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
