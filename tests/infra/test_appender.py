"""The one writer: order, wholeness, repetition, limits. What a crash does to it stands in test_crashes."""

import dataclasses
import json
import re
import threading
from uuid import uuid4

import psycopg
import pytest

from infra.database import Database, migrations
from infra.record import wire
from infra.record.appender import (
    CHANNEL,
    Append,
    Appended,
    Appender,
    Busy,
    CommandIdReused,
    Conflict,
    OutcomeUnknown,
    Unavailable,
    flush,
)
from infra.record.appender.statements import PARTITION_AHEAD, PARTITION_SIZE
from infra.record.reader import EventRow, read_after
from infra.record.vault import NewKey
from tests.infra.writing import FIRM, OTHER, Writer, an_append, no_one_appends, scalar, together, until_they_wait


def positions(results: list[Appended | BaseException]) -> list[int | str]:
    return [r.position if isinstance(r, Appended) else type(r).__name__ for r in results]


def all_rows(database: Database) -> list[EventRow]:
    with database.connect("record") as c:
        return read_after(c, 0, 1_000_000)


# --- order


@pytest.mark.invariant("I3")
@pytest.mark.invariant("I12")
def test_a_reader_beside_eight_mixed_writers_in_three_processes_misses_nothing_and_sees_nothing_twice(fresh: Database) -> None:
    with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as c:
        c.execute(
            "CREATE FUNCTION public.linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$"
        )
        c.execute(
            "CREATE TRIGGER linger BEFORE INSERT ON record.events FOR EACH ROW WHEN (NEW.position % 97 = 0)"
            " EXECUTE FUNCTION public.linger()"
        )
    jobs = ((1, 150, 60, 30, 1, 150), (60, 30, 1, 150, 60, 30), (60, 30, 1, 150))
    total = 4 * 150 + 4 * 30 * 60
    writers = [Writer(fresh, "many", *job) for job in jobs]
    seen: list[EventRow] = []
    with fresh.connect("record") as c:
        while len(seen) < total:
            rows = read_after(c, len(seen), 50)
            if not rows and all(w.process.poll() is not None for w in writers):
                rows = read_after(c, len(seen), 50)
                assert rows, "the writers are done and the reader has not seen everything"
            for row in rows:
                assert row.position == len(seen) + 1
                seen.append(row)
    for w in writers:
        assert all(not a["replayed"] for a in w.finish())
    assert scalar(fresh, "SELECT position FROM record.head") == total
    for firm in (FIRM, OTHER):
        leaves = [row.firm_position for row in seen if row.firm_id == firm]
        assert leaves == list(range(len(leaves)))
    assert len({row.event_id for row in seen}) == total


@pytest.mark.invariant("I12")
def test_leaf_indexes_of_a_firm_go_on_where_they_stopped_in_one_batch_and_in_the_next(fresh: Database, appender: Appender) -> None:
    for _ in range(3):
        with no_one_appends(fresh):
            results = [an_append(2, firm=firm) for firm in (FIRM, OTHER, FIRM)]
            for a in results:
                appender.submit(a)
        together(appender, [an_append(firm=OTHER)])
    rows = all_rows(fresh)
    for firm in (FIRM, OTHER):
        leaves = [r.firm_position for r in rows if r.firm_id == firm]
        assert leaves == list(range(len(leaves)))


def test_who_listens_is_told_once_of_a_batch_and_not_of_each_event(fresh: Database) -> None:
    with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as listener, fresh.connect("record") as c:
        listener.execute(f"LISTEN {CHANNEL}")
        wire.register(c)
        for batch, last in (
            ([an_append(2) for _ in range(10)], "20"),
            ([an_append(300), an_append()], "321"),
            ([an_append()], "322"),
        ):
            flush(c, batch)
            c.execute("SELECT pg_notify(%s, 'nothing more')", (CHANNEL,))  # notices come in the order of their commits
            heard = []
            for notice in listener.notifies(timeout=60):
                if notice.payload == "nothing more":
                    break
                heard.append(notice.payload)
            assert heard == [last]


# --- wholeness


@pytest.mark.invariant("I2")
def test_a_conflict_fails_its_own_command_and_no_other_of_the_batch(fresh: Database, appender: Appender) -> None:
    stream = uuid4()
    assert positions(together(appender, [an_append(2, stream=stream)])) == [2]
    batch = [
        an_append(),
        an_append(3, stream=stream, at=1),  # has not seen the second event
        an_append(2),
        an_append(stream=stream, at=2),
        an_append(stream=stream, at=2),  # beaten by the one before, in the same batch
        an_append(),
    ]
    with fresh.connect("record") as c:
        wire.register(c)
        results = flush(c, batch)
    assert positions(results) == [3, "Conflict", 5, 6, "Conflict", 7]
    beaten = results[1]
    assert isinstance(beaten, Conflict)
    assert (beaten.stream_type, beaten.stream_id) == ("test", stream)
    assert [r.position for r in all_rows(fresh)] == list(range(1, 8))


@pytest.mark.invariant("I2")
@pytest.mark.parametrize("bulk", [False, True], ids=["insert", "copy"])
def test_a_command_the_database_refuses_fails_alone_and_leaves_nothing(fresh: Database, appender: Appender, bulk: bool) -> None:
    with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as c:
        c.execute("CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$")
        c.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON record.events FOR EACH ROW WHEN (NEW.type = 'tests.Bad.v1')"
            " EXECUTE FUNCTION public.refuse()"
        )
    bad = an_append(3, type="tests.Bad.v1")
    batch = [an_append(250 if bulk else 2), bad, an_append(2)]
    with no_one_appends(fresh):
        landed: list[tuple[int, Appended | BaseException]] = []
        for n, a in enumerate(batch):
            a.done = lambda result, n=n: landed.append((n, result))
            appender.submit(a)
    together(appender, [an_append()])
    results = dict(landed)
    assert isinstance(results[0], Appended)
    assert isinstance(results[1], psycopg.errors.RaiseException)
    assert isinstance(results[2], Appended)
    rows = all_rows(fresh)
    assert [r.position for r in rows] == list(range(1, len(rows) + 1))
    assert {r.type for r in rows} == {"tests.Written.v1"}
    assert scalar(fresh, "SELECT count(*) FROM record.commands WHERE command_id = %s", bad.command_id) == 0


@pytest.mark.invariant("I2")
def test_a_commands_data_keys_are_stored_with_it_or_not_at_all(fresh: Database, appender: Appender) -> None:
    def with_key(append: Append) -> Append:
        append.keys = (NewKey(FIRM, uuid4(), uuid4(), "relationship", 1, b"wrapped"),)
        return append

    stream = uuid4()
    together(appender, [with_key(an_append(stream=stream)), with_key(an_append(stream=stream))])
    assert scalar(fresh, "SELECT count(*) FROM vault.data_keys") == 1


def test_events_that_do_not_count_on_from_what_was_read_are_a_bug_found_before_writing() -> None:
    good = an_append(2, at=2)
    dataclasses.replace(good)
    with pytest.raises(ValueError, match="stands at 3"):
        dataclasses.replace(good, expected=dict.fromkeys(good.expected, 3))
    with pytest.raises(ValueError, match="stands at 4"):
        dataclasses.replace(good, events=[*good.events, good.events[0]], sealed=[None] * 3)
    with pytest.raises(KeyError):
        dataclasses.replace(good, expected={})


# --- one command alone


def test_a_command_alone_is_written_as_it_would_be_among_others(fresh: Database) -> None:
    stream, id = uuid4(), uuid4()
    told = [an_append(stream=stream, command_id=id, sealed=b"x"), an_append(stream=stream, at=1), an_append(firm=OTHER)]
    with fresh.connect("record") as c:
        wire.register(c)
        alone = [result for a in told for result in flush(c, [a])]
        assert positions(alone) == [1, 2, 3]
        assert positions(flush(c, [an_append(stream=stream, at=1)])) == ["Conflict"]
        assert positions(flush(c, [an_append(stream=uuid4(), at=7)])) == ["Conflict"]  # nothing stands where it was read
        assert flush(c, [an_append(command_id=id)]) == [Appended(1, told[0].answer, True)]
        assert positions(flush(c, [an_append(command_id=id, mac=b"other")])) == ["CommandIdReused"]
        others = flush(c, [an_append(stream=stream, at=2), an_append(firm=OTHER)])
    assert positions(others) == [4, 5]
    rows = all_rows(fresh)
    assert [(r.firm_id, r.firm_position, r.stream_version) for r in rows] == [
        (FIRM, 0, 1),
        (FIRM, 1, 2),
        (OTHER, 0, 1),
        (FIRM, 2, 3),
        (OTHER, 1, 1),
    ]
    first = rows[0]
    assert (first.event_id, first.stream_id, first.sealed) == (told[0].events[0].event_id, stream, b"x")
    assert (first.recorded_at, first.occurred_at) == (told[0].recorded_at, told[0].events[0].occurred_at)
    assert scalar(fresh, "SELECT position FROM record.head") == 5


@pytest.mark.invariant("I3")
def test_a_command_alone_sees_what_was_committed_while_it_waited_however_the_server_isolates(fresh: Database) -> None:
    stream = uuid4()
    for level in ("read committed", "repeatable read", "serializable"):
        with fresh.connect("record") as c:
            c.execute(f"SET default_transaction_isolation = '{level}'".encode())
            at = scalar(fresh, "SELECT coalesce(max(version), 0) FROM record.streams WHERE stream_id = %s", stream)
            landed: list[Appended | BaseException] = []
            with no_one_appends(fresh) as holder:
                late = threading.Thread(target=lambda: landed.extend(flush(c, [an_append(stream=stream, at=at)])))  # noqa: B023
                late.start()
                until_they_wait(holder)
                flush(holder, [an_append(), an_append()])  # who holds the lock may
            late.join()
            assert [type(r) for r in landed] == [Appended]
    rows = all_rows(fresh)
    assert [r.position for r in rows] == list(range(1, 10))
    assert [r.firm_position for r in rows] == list(range(9))


# --- repetition


@pytest.mark.invariant("I4")
def test_the_same_command_id_gives_its_first_answer_and_another_body_under_it_is_refused(
    fresh: Database, appender: Appender
) -> None:
    id = uuid4()
    first = an_append(3, command_id=id)
    (one,) = together(appender, [first])
    again, other, elsewhere, unrelated = together(
        appender,
        [an_append(command_id=id), an_append(command_id=id, mac=b"other"), an_append(command_id=id, firm=OTHER), an_append()],
    )
    assert one == Appended(3, first.answer, False)
    assert again == Appended(3, first.answer, True)
    assert isinstance(other, CommandIdReused)
    assert (isinstance(elsewhere, Appended), isinstance(unrelated, Appended)) == (True, True)
    assert len(all_rows(fresh)) == 5


@pytest.mark.invariant("I4")
def test_the_same_command_id_twice_in_one_batch_has_one_effect(fresh: Database) -> None:
    id = uuid4()
    batch = [an_append(2, command_id=id), an_append(2, command_id=id), an_append(command_id=id, mac=b"other")]
    with fresh.connect("record") as c:
        wire.register(c)
        one, two, three = flush(c, batch)
    assert one == Appended(2, batch[0].answer, False)
    assert two == Appended(2, batch[0].answer, True)
    assert isinstance(three, CommandIdReused)
    assert len(all_rows(fresh)) == 2


def test_a_command_that_changes_nothing_is_remembered_and_moves_nothing(fresh: Database, appender: Appender) -> None:
    id = uuid4()
    together(appender, [an_append(4)])
    (first,) = together(appender, [an_append(0, command_id=id)])
    (again,) = together(appender, [an_append(1, command_id=id)])
    assert (first, again) == (Appended(4, b"[]", False), Appended(4, b"[]", True))
    assert scalar(fresh, "SELECT position FROM record.head") == 4


@pytest.mark.invariant("I4")
def test_the_same_command_id_from_three_processes_at_once_has_one_effect_and_one_answer(fresh: Database) -> None:
    id = uuid4()
    with no_one_appends(fresh) as c:
        rivals = [Writer(fresh, "one", id, mac) for mac in ("aa", "aa", "aa")]
        until_they_wait(c, 3)
    said = [r.finish()[0] for r in rivals]
    assert sorted(s["replayed"] for s in said) == [False, True, True]
    assert len({s["answer"] for s in said}) == 1
    assert [str(r.event_id) for r in all_rows(fresh)] == json.loads(said[0]["answer"])
    other = Writer(fresh, "one", id, "bb").finish()[0]
    assert other["error"] == "CommandIdReused"


# --- limits


@pytest.mark.invariant("I19")
def test_more_commands_than_may_wait_are_refused_at_once_and_those_that_wait_are_written(fresh: Database) -> None:
    small = Appender(fresh, max_waiting=5)
    landed: list[Appended | BaseException] = []

    def one_more() -> None:
        append = an_append()
        append.done = landed.append
        small.submit(append)

    with no_one_appends(fresh) as c:
        one_more()
        until_they_wait(c)  # the first is with the writer, and waits no more
        for _ in range(5):
            one_more()
        with pytest.raises(Busy):
            one_more()
    small.close()
    assert len(landed) == 6
    assert all(isinstance(r, Appended) for r in landed)
    with pytest.raises(Unavailable):
        small.submit(an_append())


@pytest.mark.invariant("I19")
def test_more_bytes_than_may_wait_are_refused_at_once(fresh: Database) -> None:
    small = Appender(fresh, max_bytes=100_000)
    with no_one_appends(fresh) as c:
        small.submit(an_append(sealed=b"x" * 30_000))
        until_they_wait(c)  # the first is with the writer, and waits no more
        for _ in range(3):
            small.submit(an_append(sealed=b"x" * 30_000))
        with pytest.raises(Busy):
            small.submit(an_append(sealed=b"x" * 30_000))
    small.close()
    assert len(all_rows(fresh)) == 4


def test_a_submitter_whose_callback_fails_does_not_stop_the_writer(fresh: Database, appender: Appender) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("not today")

    append = an_append()
    append.done = fails
    appender.submit(append)
    assert positions(together(appender, [an_append()])) == [2]


def test_a_database_that_does_not_answer_is_told_from_an_unknown_outcome(fresh: Database) -> None:
    away = Appender(Database("host=/nowhere dbname=none"), patience=0.1)
    (result,) = together(away, [an_append()])
    assert isinstance(result, Unavailable)
    away.close()


@pytest.mark.invariant("I5")
def test_waiting_longer_than_one_wants_to_is_an_unknown_outcome(fresh: Database, appender: Appender) -> None:
    append = an_append()
    with no_one_appends(fresh), pytest.raises(OutcomeUnknown):
        appender.append_now(append, timeout=0.01)
    (again,) = together(appender, [an_append(command_id=append.command_id)])
    assert again == Appended(1, append.answer, True)


# --- partitions


def test_partitions_are_of_the_size_the_writer_copies_into() -> None:
    (sql,) = [sql for number, _, sql in migrations() if number == 2]
    (size,) = re.findall(r"size\s+constant bigint := (\d+)", sql)
    assert int(size) == PARTITION_SIZE
    assert PARTITION_SIZE % PARTITION_AHEAD == 0


@pytest.mark.invariant("I3")
@pytest.mark.parametrize("events", [7, 250], ids=["insert", "copy"])
def test_a_batch_across_partitions_is_contiguous_and_the_next_partition_is_there_in_time(
    fresh: Database, appender: Appender, events: int
) -> None:
    size, ahead = PARTITION_SIZE, PARTITION_AHEAD
    for boundary in (size, 2 * size, 3 * size):
        for near in (boundary - ahead, boundary):
            with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as c:
                c.execute("UPDATE record.head SET position = %s", (near - 5,))
            (result,) = together(appender, [an_append(events)])
            assert isinstance(result, Appended), result
            with fresh.connect("record") as c:
                rows = read_after(c, near - 5, 1_000)
            assert [r.position for r in rows] == list(range(near - 4, near - 4 + events))
    assert scalar(fresh, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'record.events'::regclass") == 4
    assert scalar(fresh, "SELECT count(*) FROM pg_class WHERE relname LIKE 'events_0%%' AND relkind = 'r' AND relrowsecurity") == 0
