"""A session that is more than it may be is refused before anybody is served."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from infra.database import Database, DatabaseUnusable


def test_the_sessions_of_a_sound_installation_are_who_they_ask_to_be(database: Database) -> None:
    database.check_roles()


class Dropping(Database):
    """What reaches PostgreSQL when a pooler drops the options of a connection."""

    def conninfo(self, role: str, **_extra: str) -> str:  # type: ignore[override]  # noqa: ARG002
        return self.admin_conninfo()


async def test_a_session_whose_role_was_dropped_on_the_way_is_refused(database: Database) -> None:
    dropping = Dropping(database.admin_conninfo())
    with pytest.raises(DatabaseUnusable, match=r"asked to be chancery_app is .+PgBouncer"):
        dropping.check_roles()
    async with await dropping.connect_async("app") as c:
        with pytest.raises(DatabaseUnusable, match="drops the connection's options"):
            await dropping.check_session(c)


@pytest.fixture
def a_role(database: Database) -> Iterator[str]:
    """A role of this test's own: chancery_app belongs to the whole server, which other tests use."""
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("CREATE ROLE chancery_too_much LOGIN")
        yield "too_much"
        c.execute("DROP OWNED BY chancery_too_much")
        c.execute("DROP ROLE chancery_too_much")


@pytest.mark.parametrize("attribute", ["SUPERUSER", "BYPASSRLS"])
async def test_a_role_that_row_level_security_does_not_hold_is_refused(
    database: Database, a_role: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute(sql.SQL("ALTER ROLE chancery_too_much {}").format(sql.SQL(attribute)))
    monkeypatch.setattr("infra.database.SESSIONS", (a_role,))
    with pytest.raises(DatabaseUnusable, match=r"chancery_too_much is .+ other firms' rows"):
        database.check_roles()


async def test_a_role_that_owns_tables_is_refused(database: Database, a_role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("CREATE TABLE views.of_another ()")
        c.execute("ALTER TABLE views.of_another OWNER TO chancery_too_much")
    monkeypatch.setattr("infra.database.SESSIONS", (a_role,))
    with pytest.raises(DatabaseUnusable, match="the owner of tables"):
        database.check_roles()
