"""Replay in several processes gives what one process reads, in order; processes that help end with the one that asked."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest

from commands.deals import NoteOnDeal, OpenDeal
from commands.kernel import Actor
from commands.pipelines import DefinePipeline, NewStage
from domain.kernel import FirmId
from infra.database import Database
from infra.record.bulk import Bulk, command_task
from infra.record.crew import Crew, CrewLost, packed, travels
from infra.record.reader import decode, fetch_keys, read_after, replay
from infra.record.replay import Replay
from infra.record.vault import Vault
from projections.kernel import Recorded
from tests.processes import gone

ACTOR = Actor("system", "import")


def told(events: Iterator[Recorded], names: tuple[str, ...] = ()) -> list[Recorded]:
    """The events themselves, for a test only."""
    return [r for r in events if not names or r.name in names]


def doubling(start: int) -> Callable[[int], int]:
    def work(piece: int) -> int:
        if piece == 13:
            raise ValueError("unlucky")
        if piece == 99:
            os.kill(os.getpid(), signal.SIGKILL)
        return start + 2 * piece

    return work


@pytest.fixture
def written(fresh: Database, vault: Vault) -> int:
    """Deals of two firms, with notes; answers how many events there are."""
    for _ in range(2):
        with Bulk(fresh, vault, firm=FirmId(uuid4()), actor=ACTOR) as bulk:
            stages = [NewStage(name="Enquiry")]
            (defined,) = bulk.run([command_task(DefinePipeline(name="Mandates", stages=stages), actor=ACTOR)])
            pipeline = UUID(defined.answer["id"])
            opening = (command_task(OpenDeal(title=f"Deal {n}", pipeline=pipeline), actor=ACTOR) for n in range(40))
            deals = [UUID(o.answer["id"]) for o in bulk.run(opening)]
            notes = (command_task(NoteOnDeal(id=deals[n % 40], note=f"note {n}"), actor=ACTOR) for n in range(700))
            assert all(o.answer for o in bulk.run(notes))
    with fresh.connect("record") as c:
        return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])


def test_a_replay_is_what_the_rows_say_one_by_one(fresh: Database, vault: Vault, written: int) -> None:
    with fresh.connect("record") as c:
        rows = read_after(c, 0, 10_000)
        keys = fetch_keys(c, vault, rows)
        one_by_one = [decode(row, vault, keys) for row in rows]
        assert len(one_by_one) == written
        assert list(replay(c, Vault(vault.folder))) == one_by_one  # of a vault that has yet to fetch every key
        assert list(replay(c, vault, 100, 1_234)) == one_by_one[100:1_234]
        notes = list(replay(c, vault, wanted=lambda _, name: name == "deals.Noted.v1"))
        assert notes == [r for r in one_by_one if r.name == "deals.Noted.v1"]


def test_processes_replay_ranges_in_the_order_of_the_record(fresh: Database, vault: Vault, written: int) -> None:
    with fresh.connect("record") as c:
        alone = list(replay(c, vault))
    with Replay(fresh, vault, 2) as together:
        parts = list(together.run("tests.infra.test_replay:told", size=200))
        assert len(parts) == -(-written // 200)
        assert [r for part in parts for r in part] == alone
        some = together.run("tests.infra.test_replay:told", ("deals.Noted.v1",), after=50, until=written + 1_000, size=333)
        assert [r for part in some for r in part] == [r for r in alone[50:] if r.name == "deals.Noted.v1"]


def test_what_goes_wrong_with_a_piece_is_raised_in_its_place() -> None:
    with Crew(2, "tests.infra.test_replay:doubling", 100) as crew:
        assert list(crew.map(range(10))) == [100 + 2 * n for n in range(10)]
        results = crew.map(range(10, 20))
        assert [next(results) for _ in range(3)] == [120, 122, 124]
        with pytest.raises(ValueError, match="unlucky"):
            next(results)
    with Crew(1, "tests.infra.test_replay:doubling", 0) as crew, pytest.raises(CrewLost):
        list(crew.map([99]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    value: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class _Several:
    name: str
    inner: tuple[_One, ...] = ()
    amount: Decimal | None = None


def test_what_travels_as_its_values_comes_back_equal() -> None:
    values = [_Several(name="a", inner=(_One(value=uuid4()), _One(value=uuid4())), amount=Decimal("1.50")), _Several(name="b")]
    travels(_Several)
    travels(_One)
    travelled = packed(values)
    assert pickle.loads(travelled) == values  # noqa: S301 - our own


def test_a_crew_can_be_asked_again_after_a_map_that_was_given_up() -> None:
    with Crew(2, "tests.infra.test_replay:doubling", 0) as crew:
        given_up = crew.map(range(100))
        assert next(given_up) == 0
        given_up.close()
        assert list(crew.map([5, 6, 7])) == [10, 12, 14]


def test_a_crew_ends_with_the_process_that_started_it() -> None:
    script = (
        "import time; from infra.record.crew import Crew\n"
        "crew = Crew(2, 'tests.infra.test_replay:doubling', 0); assert list(crew.map([1])) == [2]\n"
        "print(*crew.pids, flush=True); time.sleep(600)"
    )
    parent: Any = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        helpers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(helpers) == 2
        parent.kill()
        gone(helpers)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
