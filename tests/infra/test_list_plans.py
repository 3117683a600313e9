"""Every long list begins at an index on a million rows' statistics: nothing is read from end to end or sorted, at any moment."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra import registry
from infra.database import Database
from infra.ids import uuid7
from infra.reading import Moment
from queries.kernel import COLLECTIONS
from queries.listing import compile_list

registry.load()
FIRM = FirmId(uuid7())
ROWS, FIRMS, FILLED = 1_000_000, 20, 2_000
NOW = datetime.now(UTC)
# A firm has few of these, and puts them in order at once.
SHORT = {
    "contact_holds", "document_holds", "fields", "firms", "folders", "imports", "keys", "members", "notice_texts", "notices",
    "pipelines", "privacy_requests", "purposes", "saved_views", "stages",
}  # fmt: skip
LONG = sorted(COLLECTIONS.keys() - SHORT)
VALUES = {
    "uuid": "md5(n::text)::uuid",
    "timestamptz": "now() - n * interval '1 minute'",
    "date": "current_date - mod(n, 700)::int",
    "int8": "n",
    "int4": "n",
    "numeric": "n",
    "bool": "mod(n, 2) = 0",
    "jsonb": "'{}'",
    "text": "'w' || n",
}


def value(name: str, type: str) -> str:
    if name == "firm_id":
        return f"CASE WHEN mod(n, {FIRMS}) = 0 THEN %(firm)s::uuid ELSE md5('f' || mod(n, {FIRMS}))::uuid END"
    return "'{}'" if type.startswith("_") else VALUES[type]


@pytest.fixture(scope="module")
def large(database: Database) -> Database:
    """Two thousand rows in each table, current and superseded, and what PostgreSQL would know of a million like them."""
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        for name in LONG:
            current = COLLECTIONS[name].view.table
            for table in (current, current.replace("views.", "history.")):
                columns = c.execute(
                    "SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
                    " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped",
                    (table,),
                ).fetchall()
                names, values = ", ".join(f'"{n}"' for n, _ in columns), ", ".join(value(n, t) for n, t in columns)
                fill = f"INSERT INTO {table} ({names}) SELECT {values} FROM generate_series(1, {FILLED}) n"
                c.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())  # it would count the rows
                c.execute(fill.encode(), {"firm": FIRM})
                c.execute(f"ANALYZE {table}".encode())
                c.execute("UPDATE pg_class SET reltuples = %s WHERE oid = %s::regclass", (ROWS, table))
    return database


def plan(database: Database, sql: str, params: Any, moment: Moment) -> str:
    with database.connect("app") as c, c.transaction():
        settings = {"firm": str(FIRM), "as_of": moment.as_of.isoformat() if moment.as_of else ""}
        for name, text in settings.items():
            c.execute("SELECT set_config('chancery.' || %s, %s, true)", (name, text))
        return "\n".join(line for (line,) in c.execute(f"EXPLAIN {sql}".encode(), {**params, "firm": FIRM}).fetchall())


@pytest.mark.parametrize("moment", [Moment(), Moment(as_of=NOW - timedelta(days=1))], ids=["now", "then"])
@pytest.mark.parametrize("name", LONG)
def test_a_list_in_its_own_order_is_read_from_an_index(large: Database, name: str, moment: Moment) -> None:
    asked: Any = {"firm": FIRM, "permissions": ALL_PERMISSIONS, "now": NOW, "key": b"0" * 32, "moment": moment or None}
    listing = compile_list(COLLECTIONS[name], **asked)
    how = plan(large, listing.sql, listing.params, moment)
    assert not re.search(r"Seq Scan|Sort(?! Key)", how), how
    assert "Index" in how
