"""The bulk path of imports keeps what the appender keeps, and takes chains of commands on one stream."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from commands.kernel import Actor, Answer, Work
from commands.pipelines import DefinePipeline, NewStage
from commands.task_comments import CommentTask
from commands.tasks import CreateTask, create_task
from domain.deals import DEAL, DealNoted
from domain.kernel import FirmId, NotFound
from domain.tasks import TASK
from domain.tasks.events import TaskCommented
from infra.database import Database
from infra.record import codec, reader, wire
from infra.record.appender import APPEND_LOCK, CommandIdReused
from infra.record.appender.statements import PARTITION_SIZE
from infra.record.bulk import Bulk, Outcome, Task, command_task, forming, writing
from infra.record.codec import TooLargeToRecord
from infra.record.crew import Crew, packed
from infra.record.encoding import Piece
from infra.record.vault import Vault

ACTOR = Actor("system", "import")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return Vault(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def firm() -> FirmId:
    return FirmId(uuid4())


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew(2, "infra.record.encoding:ready") as helpers:
        while not helpers.standing:
            helpers.submit(packed(Piece(b"f" * 16, "", None, None, [], []))).result()
        yield helpers


class Shared:
    """A crew that several imports of a test share; none of them ends it."""

    def __init__(self, crew: Crew) -> None:
        self.standing = True
        self.submit = crew.submit

    def close(self) -> None:
        pass


@pytest.fixture(params=["alone", "helped"])
def make(
    request: pytest.FixtureRequest, database: Database, vault: Vault, firm: FirmId, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Bulk]]:
    opened: list[Bulk] = []
    helped = request.param == "helped"
    if helped:
        crew = request.getfixturevalue("crew")
        monkeypatch.setattr(forming, "Crew", lambda *_: Shared(crew))

    def make(**how: Any) -> Bulk:
        opened.append(Bulk(database, vault, firm=firm, actor=ACTOR, origin="import/1", helpers=2 * helped, **how))
        opened[-1]._decided = 1_000_000  # as if it were in the middle of a large import
        return opened[-1]

    yield make
    for b in opened:
        b.close()


def create(number: int, *, said: str = "") -> Task:
    """A task under an id derived from its number."""

    async def run(w: Work) -> Answer:
        task = await w.find(TASK, w.derive_id("task", str(number)))
        if task.version:
            return {"id": str(task.id)}
        await create_task(CreateTask(title=f"Call {number}"), w, task)
        return {"id": str(task.id)}

    return Task(run=run, key=f"create-{number}", said=(said or str(number)).encode(), label=("create", number))


def comment(vault: Vault, firm: FirmId, number: int, place: int) -> Task:
    id = vault.derive_id(firm, "task", str(number))
    return command_task(
        CommentTask(id=id, text=f"remark {place}"),
        actor=ACTOR,
        key=f"c-{number}-{place}",
        label=("comment", number, place),
        reads=[(TASK, id)],
    )


def events(database: Database, vault: Vault, firm: FirmId) -> list[Any]:
    with database.connect("record") as c:
        return [e for e in reader.replay(c, vault) if e.firm == firm]


def by_label(outcomes: list[Outcome]) -> dict[Any, Outcome]:
    assert len({o.task.label for o in outcomes}) == len(outcomes)
    return {o.task.label: o for o in outcomes}


def check_record(database: Database) -> None:
    """Positions are contiguous in the whole record and in every firm, versions in every stream, and the heads say the same."""
    with psycopg.connect(database.admin_conninfo()) as c:
        for sql in (
            "SELECT max(position) - count(*) FROM record.events",
            "SELECT (SELECT position FROM record.head) - (SELECT max(position) FROM record.events)",
            "SELECT coalesce(max(d), 0) FROM (SELECT max(firm_position) + 1 - count(*) d FROM record.events GROUP BY firm_id) x",
            "SELECT coalesce(max(d), 0) FROM (SELECT max(stream_version) - count(*) d FROM record.events GROUP BY firm_id, stream_type, stream_id) x",
            "SELECT count(*) FROM record.streams s WHERE version <> (SELECT count(*) FROM record.events e"
            " WHERE e.firm_id = s.firm_id AND e.stream_id = s.stream_id AND e.stream_type = s.stream_type)",
            "SELECT count(*) FROM record.firm_heads h WHERE firm_position <> (SELECT count(*) FROM record.events e WHERE e.firm_id = h.firm_id)",
        ):
            assert c.execute(sql).fetchone() == (0,), sql


def test_an_import_moves_one_record_many_times_and_says_what_each_command_did(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId
) -> None:
    tasks = [t for n in range(40) for t in (create(n), *(comment(vault, firm, n, p) for p in range(10)))]
    outcomes = by_label(list(make(batch_events=64).run(tasks)))
    assert all(o.refused is None and o.failed is None and not o.replayed for o in outcomes.values())
    assert outcomes[("comment", 7, 9)].answer["version"] == 11
    recorded = events(database, vault, firm)
    assert len(recorded) == 440
    of_seven = [e for e in recorded if e.stream_id == UUID(str(outcomes[("create", 7)].answer["id"]))]
    assert [e.version for e in of_seven] == list(range(1, 12))
    assert of_seven[0].event.title == "Call 7"
    assert [e.event.text for e in of_seven[1:]] == [f"remark {p}" for p in range(10)]
    assert {(e.origin, e.actor) for e in recorded} == {("import/1", "system/import")}
    assert outcomes[("comment", 7, 9)].position == of_seven[-1].position
    check_record(database)


def test_running_an_import_again_answers_the_same_and_writes_nothing(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId
) -> None:
    first = by_label(list(make().run([create(1), create(2), comment(vault, firm, 1, 1)])))
    again = by_label(list(make().run([create(1), create(2), comment(vault, firm, 1, 1), create(3), create(2, said="other")][:4])))
    assert [again[k].replayed for k in (("create", 1), ("create", 2), ("comment", 1, 1), ("create", 3))] == [
        True,
        True,
        True,
        False,
    ]
    assert all(again[k].answer == first[k].answer and again[k].position == first[k].position for k in first)
    (reused,) = make().run([create(2, said="other")])
    assert isinstance(reused.failed, CommandIdReused)
    assert len(events(database, vault, firm)) == 4


def test_the_same_key_twice_in_one_run_has_one_effect(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId
) -> None:
    a, b = make().run([create(1), create(1)])
    assert (a.replayed, b.replayed) == (False, True)
    assert a.answer == b.answer
    assert len(events(database, vault, firm)) == 1


def test_a_refused_task_stops_no_other(make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId) -> None:
    outcomes = by_label(list(make().run([comment(vault, firm, 9, 1), create(1), comment(vault, firm, 1, 1)])))
    assert isinstance(outcomes[("comment", 9, 1)].refused, NotFound)
    assert outcomes[("comment", 1, 1)].answer["version"] == 2
    assert len(events(database, vault, firm)) == 2


def test_when_another_writer_is_faster_everything_that_rests_on_it_is_decided_again_in_order(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId
) -> None:
    mine, other = make(batch_events=4), make()
    list(mine.run([create(1), create(2)]))  # now remembered at version 1
    list(other.run([comment(vault, firm, 1, 100)]))
    outcomes = by_label(list(mine.run([t for p in range(9) for t in (comment(vault, firm, 1, p), comment(vault, firm, 2, p))])))
    assert all(o.answer for o in outcomes.values())
    one = vault.derive_id(firm, "task", "1")
    texts = [e.event.text for e in events(database, vault, firm) if e.stream_id == one and e.version > 1]
    assert texts == ["remark 100", *(f"remark {p}" for p in range(9))]
    assert outcomes[("comment", 1, 8)].answer["version"] == 11
    check_record(database)


def test_a_refusal_that_rests_on_remembered_state_is_decided_again(make: Callable[..., Bulk], vault: Vault, firm: FirmId) -> None:
    mine, other = make(), make()
    (gone,) = mine.run([comment(vault, firm, 1, 0)])  # remembers that there is none
    assert isinstance(gone.refused, NotFound)
    list(other.run([create(1)]))
    (now,) = mine.run([comment(vault, firm, 1, 1)])
    assert now.refused is None
    assert now.answer["version"] == 2


def test_a_broken_connection_after_the_commit_leaves_one_effect_and_the_first_answer(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = make()
    really, times = writing._append, []

    def breaks_once(c: psycopg.Connection[Any], *how: Any, again: bool) -> Any:
        written = really(c, *how, again=again)
        times.append(again)
        if len(times) == 1:
            raise psycopg.OperationalError("the connection is lost")
        return written

    monkeypatch.setattr(writing, "_append", breaks_once)
    outcomes = by_label(list(writer.run([create(1), comment(vault, firm, 1, 1)])))
    assert times == [False, True]
    assert [o.replayed for o in outcomes.values()] == [False, False]
    assert outcomes[("comment", 1, 1)].answer["version"] == 2
    assert next(e.event for e in events(database, vault, firm)).title == "Call 1"
    assert len(events(database, vault, firm)) == 2
    list(writer.run([comment(vault, firm, 1, 2)]))
    check_record(database)


def test_a_server_that_ends_the_session_while_rows_are_sent_leaves_one_effect(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = wire._written
    ended: list[tuple[bool]] = []

    def ends_once(fd: int, buffers: list[memoryview]) -> None:
        if not ended:
            with psycopg.connect(database.admin_conninfo()) as c:
                sql = (
                    "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
                ended.extend(c.execute(sql, (APPEND_LOCK & 0xFFFFFFFF,)).fetchall())
        really(fd, buffers)

    monkeypatch.setattr(wire, "_written", ends_once)
    outcomes = by_label(list(make().run([create(1), comment(vault, firm, 1, 1)])))
    assert ended == [(True,)]
    assert [(o.replayed, o.failed) for o in outcomes.values()] == [(False, None)] * 2
    assert len(events(database, vault, firm)) == 2
    check_record(database)


def test_one_command_that_the_database_refuses_fails_alone(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId
) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        bad = make()._command_id("create-13")
        c.execute(
            "CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END $$"
        )
        c.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON record.commands FOR EACH ROW "
            f"WHEN (NEW.command_id = '{bad}') EXECUTE FUNCTION public.refuse()"
        )
        try:
            tasks = [t for n in range(20) for t in (create(n), comment(vault, firm, n, 1))]
            outcomes = by_label(list(make().run(tasks)))
        finally:
            c.execute("DROP TRIGGER refuse ON record.commands")
    assert isinstance(outcomes[("create", 13)].failed, psycopg.Error)
    assert isinstance(outcomes[("comment", 13, 1)].refused, NotFound)  # it rested on the one that failed
    assert {k: (o.refused, o.failed) for k, o in outcomes.items() if k[1] != 13 and not o.answer} == {}
    recorded = events(database, vault, firm)
    assert len(recorded) == 38
    assert all(e.event.title for e in recorded if e.version == 1)  # the data keys are there
    check_record(database)


def test_a_task_may_only_wait_for_entities(make: Callable[..., Bulk]) -> None:
    async def run(_w: Work) -> Answer:
        await asyncio.sleep(0)
        return None

    with pytest.raises(RuntimeError, match="only load entities"):
        list(make().run([Task(run=run)]))


def test_a_bug_in_a_task_stops_the_run_and_keeps_what_was_written(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId
) -> None:
    async def run(_w: Work) -> Answer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(make(batch_events=2).run([*(create(n) for n in range(4)), Task(run=run)]))
    written = len(events(database, vault, firm))
    assert written in {2, 4}
    assert len(list(make().run(create(n) for n in range(4)))) == 4
    assert len(events(database, vault, firm)) == 4


def test_an_event_that_cannot_be_recorded_is_refused_and_what_follows_on_its_stream_is_not(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId
) -> None:
    id = vault.derive_id(firm, "task", "1")

    async def run(w: Work) -> Answer:
        entity = await w.load(TASK, id)
        w.record(entity, [TaskCommented(comment=w.new_id(), text="long" * 20_000)])
        return None

    tasks = [create(1), comment(vault, firm, 1, 1), Task(run=run, label="long"), comment(vault, firm, 1, 2), create(2)]
    outcomes = by_label(list(make().run(tasks)))
    assert isinstance(outcomes["long"].refused, TooLargeToRecord)
    assert outcomes[("comment", 1, 2)].answer["version"] == 3
    assert [e.event.text for e in events(database, vault, firm) if e.stream_id == id and e.version > 1] == ["remark 1", "remark 2"]
    check_record(database)


def test_chained_events_carry_the_hash_of_the_one_before_whoever_encodes_the_others(
    make: Callable[..., Bulk], database: Database, vault: Vault, firm: FirmId
) -> None:
    assert "consent" in forming.chained()
    writer = make()
    writer._chained |= {"tasks"}  # as if tasks were chained: made here, beside others that are not
    pipeline = command_task(DefinePipeline(name="P", stages=[NewStage(name="S")]), actor=ACTOR, label="pipeline")
    hashes: list[str | None] = []

    async def run(w: Work) -> Answer:
        deal = w.create(DEAL, w.new_id())
        w.record(deal, [DealNoted(note="one")])
        entity = await w.load(TASK, vault.derive_id(firm, "task", "1"))
        hashes.append(entity.leaf_hash)
        w.record(entity, [TaskCommented(comment=w.new_id(), text="two")])
        hashes.append(entity.leaf_hash)
        w.record(deal, [DealNoted(note="three")])
        return None

    outcomes = list(writer.run([pipeline, create(1), Task(run=run), create(2)]))
    assert all(o.failed is None and o.refused is None for o in outcomes)
    with database.connect("record") as c:
        sql = (
            "SELECT public FROM record.events WHERE firm_id = %s AND stream_type = 'task' AND stream_version <= 2 ORDER BY position"
        )
        leaves = [codec.leaf_hash(r[0]) for r in c.execute(sql, (firm,)).fetchall()]
    assert hashes == leaves[:2]
    assert [e.event.note for e in events(database, vault, firm) if e.stream_type == "deal"] == ["one", "three"]
    check_record(database)


def test_an_import_whose_helpers_are_killed_goes_on_without_them(database: Database, vault: Vault, firm: FirmId) -> None:
    with Bulk(database, vault, firm=firm, actor=ACTOR, helpers=2, batch_events=50) as writer:
        writer._decided = 1_000_000

        def tasks() -> Iterator[Task]:
            for n in range(600):
                if n == 200:  # the crew was started with the first batch
                    crew = writer._crew
                    assert crew is not None
                    while not crew.standing:
                        threading.Event().wait(0.01)
                if n == 400:
                    for pid in writer._crew.pids if writer._crew else []:
                        os.kill(pid, signal.SIGKILL)
                yield create(n)

        outcomes = list(writer.run(tasks()))
    assert {o.task.label[1] for o in outcomes if o.answer} == set(range(600))
    assert {e.event.title for e in events(database, vault, firm)} == {f"Call {n}" for n in range(600)}
    assert len(events(database, vault, firm)) == 600
    check_record(database)


def test_an_import_crosses_from_one_partition_to_the_next(fresh: Database, vault: Vault, firm: FirmId) -> None:
    with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as c:
        c.execute("SET session_replication_role = replica")
        c.execute("UPDATE record.head SET position = %s", (PARTITION_SIZE - 4,))
    with Bulk(fresh, vault, firm=firm, actor=ACTOR) as writer:
        outcomes = list(writer.run(create(n) for n in range(10)))
    assert sorted(o.position for o in outcomes) == list(range(PARTITION_SIZE - 3, PARTITION_SIZE + 7))
    with fresh.connect("record") as c:
        assert len(reader.read_after(c, 0, 100)) == 10
