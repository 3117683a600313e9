"""Row-level security on the record: a session of one firm sees, counts and names nothing of another's."""

from uuid import uuid4

import psycopg
import pytest

from infra.database import Database
from infra.record.appender import Appender
from infra.record.vault import NewKey
from tests.infra.writing import FIRM, OTHER, an_append, together

TABLES = ("record.events", "record.commands", "record.streams", "record.firm_heads", "vault.data_keys")
SHARED = uuid4()


@pytest.fixture
def two_firms(fresh: Database, appender: Appender) -> Database:
    """Both firms have a stream of one and the same id, and a command of one and the same id."""
    batch = [
        an_append(2, firm=FIRM, stream=SHARED, command_id=SHARED, sealed=b"f1"),
        an_append(3, firm=OTHER, stream=SHARED, command_id=SHARED, sealed=b"f2"),
    ]
    for append in batch:
        append.keys = (NewKey(append.firm, uuid4(), SHARED, "relationship", 1, b"wrapped"),)
    together(appender, batch)
    return fresh


@pytest.mark.invariant("I9")
@pytest.mark.parametrize("table", TABLES)
def test_a_session_of_one_firm_sees_nothing_of_another(two_firms: Database, table: str) -> None:
    with two_firms.connect("app") as c:
        for firm in (FIRM, OTHER):
            c.execute("BEGIN")
            c.execute("SELECT set_config('chancery.firm', %s, true)", (str(firm),))
            assert c.execute(f"SELECT DISTINCT firm_id FROM {table}".encode()).fetchall() == [(firm,)]
            other = OTHER if firm == FIRM else FIRM
            assert c.execute(f"SELECT count(*) FROM {table} WHERE firm_id = %s".encode(), (other,)).fetchone() == (0,)
            assert c.execute(f"SELECT count(*) FROM {table} WHERE firm_id <> chancery.firm()".encode()).fetchone() == (0,)
            c.execute("COMMIT")
        for nobody in ("never set", "set before", "emptied"):  # after a transaction the setting reads ''
            if nobody == "emptied":
                c.execute("SELECT set_config('chancery.firm', '', false)")
            assert c.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,), nobody
    with two_firms.connect("app") as untouched:
        assert untouched.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,)


@pytest.mark.invariant("I9")
@pytest.mark.parametrize("table", TABLES)
def test_a_session_of_a_firm_writes_nothing_into_the_record(two_firms: Database, table: str) -> None:
    for change in (f"DELETE FROM {table}", f"UPDATE {table} SET firm_id = firm_id", f"INSERT INTO {table} SELECT * FROM {table}"):
        with two_firms.connect("app") as c:
            c.execute("SET default_transaction_read_only = off")
            c.execute("SELECT set_config('chancery.firm', %s, false)", (str(FIRM),))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                c.execute(change.encode())


@pytest.mark.invariant("I9")
def test_partitions_and_the_makers_of_partitions_are_closed_to_a_session_of_a_firm(two_firms: Database) -> None:
    with two_firms.connect("app") as c:
        c.execute("SELECT set_config('chancery.firm', %s, false)", (str(FIRM),))
        for statement in (b"SELECT * FROM record.events_000000", b"SELECT record.extend(9000000)", b"TABLE pg_catalog.pg_authid"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                c.execute(statement)


@pytest.mark.invariant("I9")
def test_the_same_command_id_in_two_firms_is_two_commands(two_firms: Database) -> None:
    with two_firms.connect("record") as c:
        found = c.execute("SELECT firm_id, count(*) FROM record.events WHERE stream_id = %s GROUP BY 1 ORDER BY 1", (SHARED,))
        assert found.fetchall() == [(FIRM, 2), (OTHER, 3)]
