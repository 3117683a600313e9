"""A system is made of a copy: what was there stands aside until the copy is whole."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psycopg
import structlog

from infra.backup.copies import (
    CONTENTS,
    DUMP,
    LISTED,
    PIECE,
    BackupRefused,
    Copied,
    Progress,
    copy_content,
    digest_of,
    keys_mark,
    read_manifest,
    silent,
)
from infra.backup.tools import SCHEMAS, client_program, environment_of, reason_in, started
from infra.database import MIGRATION_LOCK, Database, migrations
from infra.record.vault import Vault
from infra.settings import Settings

log = structlog.get_logger()

ROLES = ("chancery_owner", "chancery_app", "chancery_record")
ASIDE = "_set_aside"


def restore(settings: Settings, folder: Path, *, force: bool = False, progress: Progress = silent) -> Copied:
    """Put the copy's database and contents where the settings say. The erasures on the list are carried out when the system is opened."""
    manifest = read_manifest(folder)
    _same_version(manifest)
    _keys_fit(settings, manifest)
    names = list(_checked(folder, manifest, progress))
    database = Database.open(settings)
    try:
        with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
            tool = client_program("pg_restore", c.info.server_version)
            with _alone(c):
                held = _held(c)
                if held and not force:
                    raise BackupRefused(
                        f"The database holds {held} events. Restoring puts the backup in their place; with --force it does."
                    )
                _roles(c)
                _replace(c, tool, database, folder / DUMP, progress)
    finally:
        database.close()
    if names and settings.bucket:
        raise BackupRefused(
            "The database is restored. The backup's contents come from a folder, and CHANCERY_BLOBS names a bucket: copy"
            f" {folder / CONTENTS} there yourself."
        )
    for number, (firm, sha256, _) in enumerate(names, 1):
        target = settings.blobs_folder / firm / sha256[:2] / sha256
        if not target.exists():
            copy_content(folder / CONTENTS / firm / sha256[:2] / sha256, target, sha256)
        progress("contents", number, len(names))
    contents = manifest["contents"] or {"total_bytes": 0}
    log.info("backup.restored", position=manifest["position"], contents=len(names))
    return Copied(
        datetime.fromisoformat(manifest["made_at"]),
        manifest["position"],
        manifest["database"]["bytes"],
        len(names),
        contents["total_bytes"],
        manifest["bucket"],
    )


def _same_version(manifest: dict[str, Any]) -> None:
    unknown = sorted(set(manifest["migrations"]) - {name for _, name, _ in migrations()})
    if unknown:
        raise BackupRefused(
            f"The backup is of a newer version of Chancery: it has migration {unknown[0]}. Install the newer version."
        )


def _keys_fit(settings: Settings, manifest: dict[str, Any]) -> None:
    """The keys must be there already: without them a restored database is sealed for ever."""
    keys = settings.keys_folder
    if not (keys / "digest.key").exists():
        raise BackupRefused(
            f"There are no keys at {keys}. A backup holds none: put the keys folder back from where you keep it apart, then restore."
        )
    vault = Vault(keys)
    if keys_mark(vault) != manifest["keys"]:
        raise BackupRefused(
            f"The keys at {keys} are of another installation than the backup. Put its own keys folder back, then restore."
        )
    lost = [e for e in manifest["epochs"] if e not in vault.epochs]
    if lost:
        raise BackupRefused(
            f"The backup is from before the wrapping keys were rotated: its data keys need epoch {lost[0]}, whose file was destroyed so that"
            " nothing in old copies can be opened. Restore a backup that was made after the rotation."
        )


def _checked(folder: Path, manifest: dict[str, Any], progress: Progress) -> Iterator[tuple[str, str, int]]:
    """The contents of the copy, once every byte of it was compared with the manifest."""
    for part in (manifest["database"], manifest["contents"]):
        if part is not None and _found(folder / part["file"]) != (part["sha256"], part["bytes"]):
            raise BackupRefused(
                f"{part['file']} of the backup is not what its manifest says: it is damaged. Restore another backup."
            )
    if manifest["contents"] is None:
        return
    lines = (folder / LISTED).read_text().splitlines()
    for number, line in enumerate(lines, 1):
        firm, sha256, size = line.split(" ")
        if _found(folder / CONTENTS / firm / sha256[:2] / sha256) != (sha256, int(size)):
            raise BackupRefused(f"The content {sha256} of the backup is damaged or not there. Restore another backup.")
        progress("checking", number, len(lines))
        yield firm, sha256, int(size)


def _found(path: Path) -> tuple[str, int] | None:
    try:
        return digest_of(path)
    except FileNotFoundError:
        return None


@contextmanager
def _alone(c: psycopg.Connection[Any]) -> Iterator[None]:
    """Nobody works with the database, and nobody migrates it meanwhile."""
    c.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
    try:
        row = c.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'chancery-%'"
        ).fetchone()
        if row is not None and row[0]:
            raise BackupRefused(f"Chancery is working with this database ({row[0]} connections). Stop it, then restore.")
        yield
    finally:
        c.execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))


def _held(c: psycopg.Connection[Any]) -> int:
    """How many events the database holds."""
    if (c.execute("SELECT to_regclass('record.head')").fetchone() or (None,))[0] is None:
        return 0
    return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])


def _roles(c: psycopg.Connection[Any]) -> None:
    """Roles belong to the server and are in no copy of a database."""
    for role in ROLES:
        if c.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            c.execute(f"CREATE ROLE {role} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS".encode())
        c.execute(f"GRANT {role} TO CURRENT_USER".encode())


def _replace(c: psycopg.Connection[Any], tool: Path, database: Database, dump: Path, progress: Progress) -> None:
    """The copy in place of what is there, which stands aside until the copy is whole and is put back when it does not become so."""
    environment, conninfo = environment_of(database)
    toc = subprocess.run([tool, "--list", dump], check=True, capture_output=True).stdout  # noqa: S603 - PostgreSQL's own
    total = sum(1 for line in toc.splitlines() if line and not line.startswith(b";"))
    _put_back(c)  # from a restore that was broken off
    with c.transaction():
        for name in _there(c):
            c.execute(f"ALTER SCHEMA {name} RENAME TO {name}{ASIDE}".encode())
    words = [tool, "--exit-on-error", "--single-transaction", "--verbose", "--dbname", conninfo, dump]
    with tempfile.TemporaryFile() as said:
        with started([str(w) for w in words], environment, said) as running:
            while running.poll() is None:
                progress("database", min(_lines(said), total), total)
                time.sleep(0.3)
        if running.returncode:
            _put_back(c)
            raise BackupRefused(f"pg_restore gave up, and the database is as it was before. {reason_in(said)}")
    for name in SCHEMAS:
        c.execute(f"DROP SCHEMA IF EXISTS {name}{ASIDE} CASCADE".encode())
    c.execute("ANALYZE")
    progress("database", total, total)


def _there(c: psycopg.Connection[Any], ending: str = "") -> list[str]:
    names = [name + ending for name in SCHEMAS]
    rows = c.execute("SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", (names,)).fetchall()
    return [name.removesuffix(ending) if ending else name for (name,) in rows]


def _put_back(c: psycopg.Connection[Any]) -> None:
    """What was set aside stands in its place again. pg_restore leaves all or nothing: where a copy is whole, the old is dropped instead."""
    aside = _there(c, ASIDE)
    whole = set(_there(c))
    with c.transaction():
        for name in aside:
            if whole:
                c.execute(f"DROP SCHEMA {name}{ASIDE} CASCADE".encode())
            else:
                c.execute(f"ALTER SCHEMA {name}{ASIDE} RENAME TO {name}".encode())


def _lines(said: IO[bytes]) -> int:
    return os.pread(said.fileno(), 16 * PIECE, 0).count(b"\n")
