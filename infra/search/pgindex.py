"""The index in PostgreSQL."""

from collections.abc import Callable
from typing import Any

import psycopg

from infra.search.digest import in_postgres
from infra.search.pgstore import NAME, PgStore
from infra.search.port import Remade


class _PgBuild(PgStore):
    """A build in PostgreSQL: applied is found."""

    def settle(self) -> None:
        """There is nothing to wait for."""


class PgIndex:
    """The builds in PostgreSQL."""

    name = NAME
    engine = "postgres"
    lost: tuple[type[Exception], ...] = ()
    refuses: tuple[type[Exception], ...] = (psycopg.Error,)

    def open(self, c: psycopg.Connection[Any]) -> None:
        """The tables are there from the migrations."""

    def current(self, c: psycopg.Connection[Any], version: int) -> bool:
        row = c.execute("SELECT version FROM chancery.projections WHERE name = %s", (NAME,)).fetchone()
        return row is None or row[0] == version

    def renewed(self, c: psycopg.Connection[Any], version: int) -> None:
        c.execute("UPDATE chancery.projections SET version = %s WHERE name = %s", (version, NAME))

    def live(self, c: psycopg.Connection[Any], _stopping: Callable[[], bool]) -> "_PgBuild":
        return _PgBuild(c, PgStore.live(c).build)

    def fill(self, c: psycopg.Connection[Any], _version: int, _stopping: Callable[[], bool]) -> "_PgBuild":
        return _PgBuild(c, PgStore.fill(c).build, filling=True)

    def again(self, c: psycopg.Connection[Any], fold: Callable[[int | None], Remade]) -> None:
        with c.transaction():
            c.execute("SELECT FROM chancery.projections WHERE name = %s FOR UPDATE", (NAME,))
            found = c.execute("SELECT live, filling FROM chancery.search_builds FOR UPDATE").fetchone()
            live, filling = found or (1, None)
            store = PgStore(c, live)
            changes = {key: entry for key, (_, entry) in fold(store.position() or 0).items()}
            store.write(changes)
            if filling is not None:
                PgStore(c, filling, filling=True).write(changes)

    def purge(self, c: psycopg.Connection[Any]) -> None:
        for table in ("entries", "heads", "words"):
            c.execute(f"VACUUM chancery.search_{table}".encode())

    def away(self, c: psycopg.Connection[Any], e: Exception) -> None:
        """It is where the record is."""

    def digest(self, c: psycopg.Connection[Any]) -> str:
        return in_postgres(c)
