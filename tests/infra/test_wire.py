"""Rows put on the socket beside libpq arrive as they would through it, and what goes wrong on the way is psycopg's error."""

from itertools import count, pairwise

import psycopg
import pytest

from infra.database import Database
from infra.record import wire
from infra.record.encoding import framed, rows_of, unframed

_TABLES = count()


def a_row(number: int, size: int = 20) -> bytes:
    """A bigint and a text, as COPY takes them."""
    return b"\x00\x02\x00\x00\x00\x08" + wire.int8(number) + size.to_bytes(4, "big") + b"x" * size


def table(c: psycopg.Connection[tuple[object, ...]]) -> bytes:
    name = f"copied_{next(_TABLES)}"
    c.execute(f"CREATE TEMPORARY TABLE {name} (number bigint, said text)".encode())
    return name.encode()


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("size", [20, 3_000_000])
def test_rows_in_parts_arrive_whole_and_in_order_however_large(database: Database, local: bool, size: int) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        name = table(c)
        pipe = wire.pipe(c)
        assert pipe._local  # the embedded server is behind a socket of this machine
        pipe._local = local
        rows = [a_row(n, size if n % 1_000 == 0 else 30) for n in range(3_000)]
        pipe.copy(b"COPY " + name + b" FROM STDIN (FORMAT binary)", [memoryview(r) for r in rows])
        found = c.execute(b"SELECT count(*), min(number), max(number), sum(length(said)) FROM " + name).fetchone()
        assert found == (3_000, 0, 2_999, 3 * size + 2_997 * 30)
        assert c.execute(b"SELECT number FROM " + name + b" ORDER BY ctid LIMIT 5").fetchall() == [(n,) for n in range(5)]


@pytest.mark.parametrize("local", [True, False])
def test_a_copy_that_the_server_refuses_is_an_error_and_the_connection_goes_on(database: Database, local: bool) -> None:
    rows = [memoryview(a_row(n, 100_000)) for n in range(30)]
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        name = table(c)
        pipe = wire.pipe(c)
        pipe._local = local
        with pytest.raises(psycopg.errors.UndefinedTable):
            pipe.copy(b"COPY nowhere FROM STDIN (FORMAT binary)", rows)
        assert c.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.BadCopyFileFormat):
            pipe.copy(b"COPY " + name + b" (number) FROM STDIN (FORMAT binary)", rows)
        assert c.execute(b"SELECT count(*) FROM " + name).fetchone() == (0,)
        pipe.copy(b"COPY " + name + b" FROM STDIN (FORMAT binary)", rows)
        assert c.execute(b"SELECT count(*) FROM " + name).fetchone() == (30,)


@pytest.mark.parametrize("local", [True, False])
def test_a_copy_to_a_server_that_ended_the_session_is_a_lost_connection(database: Database, local: bool) -> None:
    rows = [memoryview(a_row(n, 100_000)) for n in range(30)]
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c, psycopg.connect(database.admin_conninfo()) as other:
        name = table(c)
        pipe = wire.pipe(c)
        pipe._local = local
        assert other.execute("SELECT pg_terminate_backend(%s, 60000)", (c.info.backend_pid,)).fetchone() == (True,)
        with pytest.raises(psycopg.OperationalError):
            pipe.copy(b"COPY " + name + b" FROM STDIN (FORMAT binary)", rows)


def test_rows_get_their_places_where_they_stand() -> None:
    firm = b"f" * 16
    rests = [b"one", b"", b"three"]
    rows = rows_of(wire.event_place(0, firm, 0) + rest for rest in rests)
    wire.put_places(rows.packed, rows.starts[:-1], 41, firm, 7)
    found = [bytes(rows.packed[a:b]) for a, b in pairwise(rows.starts)]
    assert found == [wire.event_place(41 + n, firm, 7 + n) + rest for n, rest in enumerate(rests)]


def test_rows_that_travelled_are_each_commands_own() -> None:
    commands: list[list[bytes] | None] = [[b"a", b"bb"], None, [], [b"ccc"], [b""]]
    rows, firsts = unframed(framed(commands))
    assert firsts == [0, None, 2, 2, 3]
    assert [bytes(rows.packed[a:b]) for a, b in pairwise(rows.starts)] == [b"a", b"bb", b"ccc", b""]
    assert unframed(framed([])).firsts == []
