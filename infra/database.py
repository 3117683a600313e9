"""The PostgreSQL behind everything: embedded from its wheel or given by URL; roles, migrations, connections.

The login may be a superuser (the embedded one is); no connection works as it. Each says at start which role it works as:
`owner` to migrate, `record` to append and project for all firms, `app` to read for one firm.
"""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infra import embedded
from infra.settings import Settings

log = structlog.get_logger()

Role = Literal["owner", "record", "app"]
MIGRATION_LOCK = 7_020_240_001
MINIMUM = 170_000
RIGHTS = (
    "The login of CHANCERY_DATABASE_URL lacks rights. It needs to own the database and either CREATEROLE or membership in the roles"
    " chancery_owner, chancery_app and chancery_record; docs/postgresql.md shows the statements."
)
PATIENCE = {
    "connect_timeout": "5",
    "tcp_user_timeout": "3000",
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "3",
}
WRITE_SECONDS = 30
"""The longest a transaction may last that others wait for. A writer may be stopped in the middle of what it sends: the server then waits for
the rest as for a busy one, and only this limit makes it let go of its locks."""
BRIEFLY = f"SET LOCAL transaction_timeout = '{WRITE_SECONDS}s'"
"""The same for one transaction of a connection that has long ones too."""


LET_GO = frozenset({"57P01", "57P02", "57P03", "57P05"})  # the server ended the session, or does not begin one yet

_holders: dict[Path, int] = {}  # how often this process has each embedded server open
_guard = threading.Lock()


@contextmanager
def letting_go(c: psycopg.Connection[Any]) -> Iterator[None]:
    """Give back the advisory locks of a session that closes after this: the server would do so some time after it was closed."""
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # a broken connection holds no lock any more
            c.execute("SELECT pg_advisory_unlock_all()")


class DatabaseUnusable(Exception):
    """The database can't be used; the message says why and what to do."""


class NoAnswer(psycopg.OperationalError):
    """PostgreSQL can't be reached, or lets nobody in. The log has said so, once for all who ask it."""


class Presence:
    """Says in the log, in words, that PostgreSQL does not answer, and that it is back: once each, however many ask it meanwhile."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._said: str | None = None
        self._since = 0.0
        self._had = 0.0
        self._guard = threading.Lock()

    def missed(self, e: psycopg.OperationalError, asked: float) -> NoAnswer:
        """No connection could be had by who asked for it then; it counts for nothing when somebody has had one since."""
        refused = refusal(e)
        why = f"lets nobody in: {refused}" if refused is not None else "does not answer"
        said = f"PostgreSQL at {self.place} {why}. It is asked again until it does; what is recorded waits there."
        with self._guard:
            if self._had > asked:
                return NoAnswer(said)
            first, told = self._said is None, self._said == said
            self._said = said
            if first:
                self._since = time.monotonic()
        if not told:
            log.warning("database.away", why=said)
        return NoAnswer(said)

    def had(self) -> None:
        """A connection could be had."""
        self._had = time.monotonic()
        if self._said is None:
            return
        with self._guard:
            away, self._said = self._said is not None, None
        if away:
            seconds = time.monotonic() - self._since
            log.warning("database.back", why=f"PostgreSQL at {self.place} answers again, after {seconds:.1f} seconds.")


def refusal(e: psycopg.OperationalError) -> str | None:
    """What a server says that answers and lets nobody in; psycopg has it in its text alone."""
    found = re.search(r"FATAL: +(.+)", str(e))
    return found[1] if found is not None else None


def interrupted(to: Any, event: str, e: Exception, **about: object) -> None:
    """Log what broke off work that is begun again; that PostgreSQL does not answer was said already."""
    if isinstance(e, NoAnswer):
        return
    lost = isinstance(e, psycopg.OperationalError) and (e.sqlstate is None or e.sqlstate in LET_GO or e.sqlstate.startswith("08"))
    if lost or isinstance(e, psycopg.InterfaceError):
        about = {**about, "why": "The connection to PostgreSQL broke off. It is made anew, and nothing is lost."}
    to.warning(event, error=type(e).__name__, **about)


class Database:
    """Where the database is and how to connect to it as one of its roles. Close it to let go of the embedded server."""

    def __init__(
        self, conninfo: str, *, server: Any = None, folder: Path | None = None, statement_timeout_ms: int = 10_000
    ) -> None:
        self.folder = folder
        try:
            given = conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError:  # its text may show the password
            raise DatabaseUnusable(
                "CHANCERY_DATABASE_URL can't be read. It looks like postgresql://user:password@host:5432/database."
            ) from None
        self._base = {**PATIENCE, **{k: str(v) for k, v in given.items() if v is not None}}
        self._server = server
        self._statement_timeout_ms = statement_timeout_ms
        self._presence = Presence(_place(self._base))

    @classmethod
    def open(cls, settings: Settings) -> "Database":
        """Start or join the embedded server, or use the URL; the schema is not touched."""
        if settings.database_url is not None:
            return cls(settings.database_url.get_secret_value(), statement_timeout_ms=settings.statement_timeout_ms)
        folder = settings.data / "postgres"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            server = embedded.start(folder.resolve())
        except embedded.NotStarting as e:
            raise DatabaseUnusable(str(e)) from e
        with _guard:
            _holders[folder.resolve()] = _holders.get(folder.resolve(), 0) + 1
        return cls(server.get_uri(), server=server, folder=folder.resolve(), statement_timeout_ms=settings.statement_timeout_ms)

    def conninfo(self, role: Role, *, writing: bool = False, **extra: str) -> str:
        """A connection string whose session works as `role` from its first statement, and can't fall back to another. One that is
        `writing` has short transactions alone: the server ends those that last longer than `WRITE_SECONDS`."""
        settings = [f"-c role=chancery_{role}", "-c timezone=UTC", "-c search_path=pg_catalog"]
        if role == "app":
            settings += [f"-c statement_timeout={self._statement_timeout_ms}", "-c default_transaction_read_only=on"]
        if role == "record":
            settings += ["-c idle_in_transaction_session_timeout=10000"]  # a stopped writer must not hold the append lock for long
        if writing:
            settings += [f"-c transaction_timeout={WRITE_SECONDS}s"]
        options = " ".join([self._base.get("options", ""), *settings]).strip()
        return make_conninfo("", **{**self._base, "options": options, "application_name": f"chancery-{role}", **extra})

    def admin_conninfo(self) -> str:
        """A connection string as the login itself: for migrations and for tests that break things on purpose."""
        return make_conninfo("", **self._base)

    def connect(self, role: Role, *, writing: bool = False, **extra: Any) -> psycopg.Connection[Any]:
        """A new session. NoAnswer when there is none to be had."""
        asked = time.monotonic()
        try:
            made = psycopg.connect(self.conninfo(role, writing=writing), autocommit=True, prepare_threshold=1, **extra)
        except psycopg.OperationalError as e:
            raise self._presence.missed(e, asked) from e
        self._presence.had()
        return made

    async def connect_async(self, role: Role, *, writing: bool = False, **extra: Any) -> psycopg.AsyncConnection[Any]:
        """The same under an event loop."""
        asked = time.monotonic()
        try:
            made = await psycopg.AsyncConnection.connect(
                self.conninfo(role, writing=writing), autocommit=True, prepare_threshold=1, **extra
            )
        except psycopg.OperationalError as e:
            raise self._presence.missed(e, asked) from e
        self._presence.had()
        return made

    def check_roles(self) -> None:
        """Refuse to work when a session is not who it must be, or is more than it may be: row-level security would hold nothing back."""
        for role in SESSIONS:
            with self.connect(role) as c:
                row = c.execute(WHO).fetchone()
            _is_only(role, row)

    async def check_session(self, c: psycopg.AsyncConnection[Any]) -> None:
        """The same for a new session of the application, whoever pools connections in between."""
        async with c.cursor() as cursor:
            await cursor.execute(WHO)
            _is_only("app", await cursor.fetchone())

    def close(self) -> None:
        server, self._server = self._server, None
        if server is None or self.folder is None:
            return
        with _guard:
            _holders[self.folder] -= 1
            if not _holders[self.folder]:  # the wheel knows processes: one that has it open twice would stop it under its own feet
                server.cleanup()


def _place(given: dict[str, str]) -> str:
    """Where a connection string leads, without who asks."""
    host = given.get("host") or given.get("hostaddr") or "its usual socket"
    return f"{host}, port {given.get('port', '5432')}, database {given.get('dbname', 'of the same name as its user')}"


SESSIONS: tuple[Role, ...] = ("app", "record")
WHO = (
    "SELECT r.rolname, r.rolsuper, r.rolbypassrls, EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p', 'v') AND n.nspname IN ('record', 'vault', 'views', 'history', 'at', 'before', 'chancery'))"
    " FROM pg_roles r WHERE r.rolname = current_user"
)


def _is_only(role: str, row: Any) -> None:
    """DatabaseUnusable unless the session is `chancery_<role>`, which is no superuser, bypasses nothing and owns nothing."""
    name, superuser, bypasses, owns = row or ("nobody", False, False, False)
    if name != f"chancery_{role}":
        raise DatabaseUnusable(
            f"A session that asked to be chancery_{role} is {name}. Something between Chancery and PostgreSQL drops the connection's options,"
            " as PgBouncer does: connect to PostgreSQL itself (docs/postgresql.md)."
        )
    more = (
        "a superuser"
        if superuser
        else "allowed to bypass row-level security"
        if bypasses
        else "the owner of tables"
        if owns
        else None
    )
    if more is not None:
        raise DatabaseUnusable(
            f"The role {name} is {more}, so it would see other firms' rows. Take that from it"
            f" (ALTER ROLE {name} NOSUPERUSER NOBYPASSRLS; tables belong to chancery_owner) and start again."
        )


def migrations() -> Iterator[tuple[int, str, str]]:
    """(number, name, SQL) of each migration, in order."""
    files = sorted(p.name for p in resources.files("migrations").iterdir() if re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", p.name))
    for name in files:
        yield int(name[:4]), name, resources.files("migrations").joinpath(name).read_text()


@contextmanager
def _admin(database: Database) -> Iterator[psycopg.Connection[Any]]:
    try:
        connection = psycopg.connect(database.admin_conninfo(), autocommit=True)
    except psycopg.OperationalError as e:
        refused = refusal(e)
        if refused is not None:
            raise DatabaseUnusable(f"PostgreSQL answers, but lets nobody in: {refused}. Check CHANCERY_DATABASE_URL.") from e
        raise DatabaseUnusable(
            "PostgreSQL does not answer at CHANCERY_DATABASE_URL. Check that it runs, and the host, port, name and password."
        ) from e
    with connection:
        yield connection


def migrate(database: Database) -> list[str]:
    """Bring the schema to this version; answers the names of the migrations that were applied.

    Each migration is one transaction. A migration that was applied and has since been edited is refused.
    """
    applied: list[str] = []
    with _admin(database) as c:
        if c.info.server_version < MINIMUM:
            raise DatabaseUnusable(
                f"PostgreSQL {c.info.server_version // 10000} is too old. Chancery needs PostgreSQL 17 or later."
            )
        encoding = c.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise DatabaseUnusable(
                f"The database stores text as {encoding}, which cannot hold every name. Make one that stores UTF8:"
                " CREATE DATABASE chancery OWNER chancery ENCODING 'UTF8' TEMPLATE template0."
            )
        c.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        try:
            try:
                c.execute("CREATE SCHEMA IF NOT EXISTS chancery")
            except psycopg.errors.InsufficientPrivilege as e:
                raise DatabaseUnusable(f"{RIGHTS} PostgreSQL says: {e.diag.message_primary}.") from e
            c.execute(
                "CREATE TABLE IF NOT EXISTS chancery.migrations"
                " (number int PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            done = {n: (name, digest) for n, name, digest in c.execute("SELECT number, name, sha256 FROM chancery.migrations")}
            newer = sorted(set(done) - {number for number, _, _ in migrations()})
            if newer:
                raise DatabaseUnusable(
                    f"The database is newer than this version of Chancery: it has migration {done[newer[0]][0]}. Install the newer version."
                )
            for number, name, sql in migrations():
                digest = hashlib.sha256(sql.encode()).hexdigest()
                if number in done:
                    if done[number][1] != digest:
                        raise DatabaseUnusable(f"Migration {name} was changed after it was applied. Restore the file as it was.")
                    continue
                try:
                    with c.transaction():
                        if number > 1:
                            c.execute("SET LOCAL ROLE chancery_owner")
                        c.execute(sql.encode())
                        c.execute("RESET ROLE")
                        c.execute(
                            "INSERT INTO chancery.migrations (number, name, sha256) VALUES (%s, %s, %s)", (number, name, digest)
                        )
                except psycopg.errors.InsufficientPrivilege as e:
                    raise DatabaseUnusable(f"{RIGHTS} PostgreSQL says: {e.diag.message_primary}.") from e
                applied.append(name)
                log.debug("migration.applied", name=name)
        finally:
            c.execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))
    if applied:
        log.info("schema.migrated", applied=len(applied), last=applied[-1])
    return applied
