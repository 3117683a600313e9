"""A copy is made: the database first, then the contents that it names, then the manifest."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
import structlog

from infra.backup.copies import (
    CONTENTS,
    DUMP,
    FORMAT,
    LISTED,
    MANIFEST,
    BackupRefused,
    Copied,
    Progress,
    copy_content,
    digest_of,
    keys_mark,
    silent,
    sync,
)
from infra.backup.tools import SCHEMAS, client_program, environment_of, reason_in, started
from infra.blobs.port import is_sha256
from infra.database import Database
from infra.record.vault import Vault
from infra.settings import Settings

log = structlog.get_logger()


def backup(settings: Settings, database: Database, vault: Vault, folder: Path, *, progress: Progress = silent) -> Copied:
    """Copy the database and the contents into a folder that is empty or not there."""
    _must_be_empty(folder)
    keys = settings.keys_folder.resolve()
    if keys.is_relative_to(folder.resolve()):
        raise BackupRefused(
            f"{folder} holds the keys folder. A backup with its keys beside it protects nobody: choose another folder."
        )
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return _made(settings, database, vault, folder, progress)
    except BaseException:
        _take_away(folder, new=new)  # half a copy is none, and would stand in the way of the next
        raise


def _take_away(folder: Path, *, new: bool) -> None:
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        if new:
            folder.rmdir()


def _made(settings: Settings, database: Database, vault: Vault, folder: Path, progress: Progress) -> Copied:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        _may_read_all(c)
        dump = client_program("pg_dump", c.info.server_version)
        with c.transaction():
            c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            moment = _moment(c)
            made_at = datetime.now(UTC)
            _dump(dump, database, moment["snapshot"], folder / DUMP, moment["bytes"], progress)
        names = _contents_named(c)
    sha256, size = digest_of(folder / DUMP)
    found, total = (0, 0) if settings.bucket else _copy_contents(settings.blobs_folder, folder, names, progress)
    listed = digest_of(folder / LISTED) if (folder / LISTED).exists() else None
    manifest = {
        "format": FORMAT,
        "chancery": version("chancery"),
        "made_at": made_at.isoformat(timespec="seconds"),
        "postgresql": moment["postgresql"],
        "position": moment["position"],
        "events": moment["events"],
        "firms": moment["firms"],
        "migrations": moment["migrations"],
        "epochs": moment["epochs"],
        "keys": keys_mark(vault),
        "database": {"file": DUMP, "sha256": sha256, "bytes": size},
        "contents": None
        if listed is None
        else {"file": LISTED, "sha256": listed[0], "bytes": listed[1], "files": found, "total_bytes": total},
        "bucket": settings.blobs if settings.bucket else None,
    }
    _write(folder / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    log.info("backup.made", position=moment["position"], contents=found, bytes=size + total)
    return Copied(made_at, moment["position"], size, found, total, manifest["bucket"])


def _must_be_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupRefused(
            f"{folder} is not an empty folder. Each backup has a folder of its own: name one that is not there yet."
        )


def _may_read_all(c: psycopg.Connection[Any]) -> None:
    row = c.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user").fetchone()
    if row is None or not row[0]:
        raise BackupRefused(
            "The login of CHANCERY_DATABASE_URL may not read the rows of all firms, so a copy of them would not be whole. Run this with a"
            " login that has BYPASSRLS (ALTER ROLE … BYPASSRLS), kept for backups alone, or use your database's own backups."
        )


def _moment(c: psycopg.Connection[Any]) -> dict[str, Any]:
    """What the manifest says of the snapshot that this transaction is."""
    row = (
        c.execute(
            "SELECT pg_export_snapshot(), (SELECT position FROM record.head), (SELECT count(*) FROM record.firm_heads),"
            " (SELECT count(*) FROM record.events), pg_database_size(current_database()),"
            " (SELECT array_agg(DISTINCT epoch ORDER BY epoch) FROM vault.data_keys),"
            " (SELECT array_agg(name ORDER BY number) FROM chancery.migrations), current_setting('server_version')"
        ).fetchone()
        or (None,) * 8
    )
    names = ("snapshot", "position", "firms", "events", "bytes", "epochs", "migrations", "postgresql")
    found = dict(zip(names, row, strict=True))
    return {**found, "epochs": found["epochs"] or []}


def _dump(tool: Path, database: Database, snapshot: str, target: Path, size: int, progress: Progress) -> None:
    environment, conninfo = environment_of(database)
    schemas = [word for name in SCHEMAS for word in ("--schema", name)]
    words = [tool, "--format=custom", "--compress=1", "--snapshot", snapshot, "--file", target, *schemas, "--dbname", conninfo]
    _run([str(w) for w in words], environment, lambda: progress("database", min(_size(target), size), size))
    target.chmod(0o600)
    sync(target)
    progress("database", size, size)


def _run(words: list[str], environment: dict[str, str], while_running: Callable[[], None]) -> None:
    """Run a tool to its end; what it says when it fails is told, without the values of rows."""
    with (
        tempfile.TemporaryFile() as said,
        started(words, environment, said) as tool,
    ):
        try:
            while tool.poll() is None:
                while_running()
                time.sleep(0.2)
        except BaseException:
            tool.terminate()
            raise
        if tool.returncode:
            raise BackupRefused(f"{Path(words[0]).name} gave up. {reason_in(said)}")


def _contents_named(c: psycopg.Connection[Any]) -> set[tuple[str, str]] | None:
    """What documents name, to tell what is missing; None where there are no views to ask."""
    with suppress(psycopg.errors.UndefinedTable):
        return {(str(f), s) for f, s in c.execute("SELECT DISTINCT firm_id, sha256 FROM views.document_versions").fetchall()}
    return None


def _stored(root: Path) -> Iterator[tuple[str, str, Path]]:
    """(firm, sha256, file) of everything in a folder of contents."""
    if not root.is_dir():
        return
    for firm in sorted(root.iterdir()):
        with suppress(ValueError):
            UUID(firm.name)
            for shard in sorted(firm.iterdir()):
                for file in sorted(shard.iterdir()):
                    if is_sha256(file.name):
                        yield firm.name, file.name, file


def _copy_contents(root: Path, folder: Path, named: set[tuple[str, str]] | None, progress: Progress) -> tuple[int, int]:
    """Copy every content, each compared with its name; answers how many, and their bytes. What is erased meanwhile is not missed."""
    stored = list(_stored(root))
    done = total = 0
    with (folder / LISTED).open("wb") as listed:
        os.fchmod(listed.fileno(), 0o600)
        for firm, sha256, file in stored:
            target = folder / CONTENTS / firm / sha256[:2] / sha256
            size = copy_content(file, target, sha256)
            if size is not None:
                listed.write(f"{firm} {sha256} {size}\n".encode())
                done, total = done + 1, total + size
            progress("contents", done, len(stored))
        listed.flush()
        os.fsync(listed.fileno())
    missing = len((named or set()) - {(f, s) for f, s, _ in stored})
    if missing:
        log.warning("backup.contents_missing", missing=missing)
    return done, total


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    aside.replace(path)
    sync(path.parent)
