from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from infra.database import Database, DatabaseUnusable, migrate, migrations
from projections.kernel import VIEWS


def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert migrate(database) == []


def test_an_applied_migration_that_was_edited_is_refused(database: Database) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        digest = c.execute("SELECT sha256 FROM chancery.migrations WHERE number = 1").fetchone()
        assert digest is not None
        c.execute("UPDATE chancery.migrations SET sha256 = 'other' WHERE number = 1")
        with pytest.raises(DatabaseUnusable, match=r"0001_roles\.sql was changed"):
            migrate(database)
        c.execute("UPDATE chancery.migrations SET sha256 = %s WHERE number = 1", digest)


def test_a_database_that_is_newer_than_the_program_is_refused(database: Database) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("INSERT INTO chancery.migrations (number, name, sha256) VALUES (9999, '9999_later.sql', '')")
        with pytest.raises(DatabaseUnusable, match=r"newer than this version.*9999_later\.sql"):
            migrate(database)
        c.execute("DELETE FROM chancery.migrations WHERE number = 9999")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_does_not_store_utf_8_is_refused_before_anything_is_made(database: Database, encoding: str) -> None:
    name = f"no_utf_8_{encoding.lower()}"
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        try:
            other = make_conninfo(database.admin_conninfo(), dbname=name)
            with pytest.raises(DatabaseUnusable, match=f"stores text as {encoding}.+ENCODING 'UTF8'"):
                migrate(Database(other))
            with psycopg.connect(other) as there:
                assert there.execute("SELECT to_regnamespace('chancery')").fetchone() == (None,)
        finally:
            c.execute(f"DROP DATABASE {name}")


@pytest.mark.invariant("I10")
@pytest.mark.parametrize("role", ["app", "record"])
def test_the_running_role_owns_no_table_and_cannot_bypass_row_level_security(database: Database, role: Any) -> None:
    with database.connect(role) as c:
        user, bypasses, superuser = c.execute(
            "SELECT current_user, rolbypassrls, rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone() or (None, None, None)
        assert (user, bypasses, superuser) == (f"chancery_{role}", False, False)
        assert c.execute("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole").fetchone() == (0,)
        c.execute("RESET ROLE")
        assert c.execute("SELECT current_user").fetchone() == (f"chancery_{role}",)


@pytest.mark.invariant("I10")
def test_every_table_of_a_firm_is_fenced(database: Database) -> None:
    with psycopg.connect(database.admin_conninfo()) as c:
        open_tables = c.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'firm_id'"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text IN ('record', 'vault', 'views', 'chancery')"
            " AND NOT c.relispartition AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
        ).fetchall()
        assert open_tables == []
        readable_partitions = c.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relispartition AND c.relnamespace::regnamespace::text = 'record'"
            " AND c.relkind = 'r'"
            " AND (has_table_privilege('chancery_app', c.oid, 'SELECT') OR has_table_privilege('chancery_record', c.oid, 'SELECT'))"
        ).fetchall()
        assert readable_partitions == []


@pytest.mark.invariant("I9")
def test_every_key_of_a_firms_table_leads_with_the_firm(database: Database) -> None:
    with psycopg.connect(database.admin_conninfo()) as c:
        indexes = c.execute(
            "SELECT i.indexrelid::regclass::text, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]"
            " WHERE i.indisunique AND c.relnamespace::regnamespace::text IN ('record', 'vault', 'views')"
            " AND EXISTS (SELECT FROM pg_attribute f WHERE f.attrelid = c.oid AND f.attname = 'firm_id')"
        ).fetchall()
        assert {name for name, first in indexes if first != "firm_id"} <= {
            "record.events_pkey",
            "record.events_000000_pkey",
            "record.events_000001_pkey",
        }


def test_every_view_has_its_table_with_the_columns_of_its_row(database: Database) -> None:
    from infra.projector.tables import STANDING, Table

    with psycopg.connect(database.admin_conninfo()) as c:
        for view in VIEWS.values():
            there: dict[str, str] = dict(
                c.execute(
                    "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
                    " AND NOT attisdropped",
                    (view.table,),
                ).fetchall()
            )
            wanted = {"firm_id": "uuid", "id": "uuid"}
            wanted |= {col.name: col.type for col in (*STANDING, *Table(view).columns)}
            wanted = {k: v.replace("timestamptz", "timestamp with time zone") for k, v in wanted.items()}
            assert there == wanted, view.table


def test_migrations_are_numbered_once() -> None:
    numbers = [n for n, _, _ in migrations()]
    assert len(numbers) == len(set(numbers))
