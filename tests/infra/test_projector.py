"""The projector: killed, doubled, poisoned and ahead of the record; its views are always those of a plain fold."""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from commands.contacts import AmendContact, CreateContact, TagContact
from commands.kernel import Actor
from commands.organisations import CreateOrganisation
from domain.kernel import EVENTS, STREAMS, UPCASTERS, FirmId
from infra.database import Database
from infra.projector import engine
from infra.projector.engine import Projector
from infra.projector.routing import OWN, named_always
from infra.record.appender import Appender
from infra.record.codec import CODECS, disclose
from infra.record.execute import Executor
from infra.record.reader import FOREIGN, replay
from infra.record.vault import Vault
from projections.contacts import CONTACTS
from projections.kernel import VIEWS, Recorded, View
from projections.organisations import ORGANISATIONS
from tests.infra.test_vault import an_executor
from tests.infra.writing import an_append, scalar, together
from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]
FIRMS = (FirmId(uuid4()), FirmId(uuid4()))
HOW: dict[str, Any] = {"actor": Actor("system", "tests"), "permissions": frozenset({"contacts:write"})}


async def some_history(executor: Executor, rounds: int = 1) -> None:
    """Nine events for each round, of contacts and organisations in two firms."""
    for n in range(rounds):
        for firm in FIRMS:
            made = await executor.execute(CreateContact(display_name=f"Person {n}"), firm=firm, **HOW)
            id = UUID(str(made.body["id"]))
            await executor.execute(AmendContact(id=id, job_title=f"Title {n}"), firm=firm, target=id, **HOW)
            await executor.execute(TagContact(id=id, tags=[f"t{n}"]), firm=firm, target=id, **HOW)
            await executor.execute(CreateOrganisation(name=f"Firm {n}"), firm=firm, **HOW)
        await executor.execute(AmendContact(id=id, job_title="Other"), firm=firm, target=id, **HOW)


def contents(database: Database) -> dict[str, list[str]]:
    """Every row of every view as text."""
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        return {
            v.name: [row for (row,) in c.execute(f"SELECT t::text FROM {v.table} t ORDER BY firm_id, id".encode())]
            for v in VIEWS.values()
        }


def folded(database: Database, vault: Vault, view: View[Any]) -> dict[tuple[UUID, UUID], Any]:
    """The view's rows by the fold alone, without the engine."""
    rows: dict[tuple[UUID, UUID], Any] = {}
    with database.connect("record") as c:
        for r in replay(c, vault):
            for key in view.keys(r):
                rows[r.firm, key] = view.fold(rows.get((r.firm, key)), key, r)
    return {key: row for key, row in rows.items() if row is not None}


def catch_up(database: Database, vault: Vault, *views: View[Any], batch: int = 1_000) -> None:
    """As a projector that runs does it, which writes few events on another connection than it reads with."""
    from infra.record import wire

    projector = Projector(database, vault, views or None, batch=batch)
    with database.connect("record") as c, database.connect("record") as projector._beside:
        wire.register(c)
        projector.prepare(c)
        projector.catch_up(c)


def standing(database: Database) -> dict[str, tuple[int, int | None, str | None]]:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        rows = c.execute("SELECT name, position, stopped_at, error FROM chancery.projections").fetchall()
    return {name: (position, stopped, error) for name, position, stopped, error in rows}


def anew(view: View[Any]) -> View[Any]:
    return dataclasses.replace(view, version=view.version + 1)


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


@pytest.mark.invariant("I6")
@pytest.mark.invariant("I8")
async def test_projectors_killed_in_the_middle_and_two_at_once_leave_the_views_of_a_fresh_fold(
    fresh: Database, appender: Appender, tmp_path: Path
) -> None:
    vault = Vault(tmp_path / "keys")
    command = [sys.executable, "-m", "tests.infra.projecting", fresh.admin_conninfo(), str(tmp_path / "keys")]
    async with an_executor(fresh, appender, vault) as executor:
        await some_history(executor, 30)
        head = scalar(fresh, "SELECT position FROM record.head")

        def reached() -> int:
            return int(scalar(fresh, "SELECT coalesce(min(position), 0) FROM chancery.projections") or 0)

        killed = 0
        while killed < 3:
            goal = reached() + 20
            rivals = [  # the test waits for them, nothing else runs on this loop
                subprocess.Popen(  # noqa: ASYNC220
                    [*command, batch], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
                )
                for batch in ("2", "3")
            ]
            try:
                until(lambda goal=goal: reached() >= goal)  # type: ignore[misc]
            finally:
                for rival in rivals:
                    rival.kill()
                    rival.wait()
            if reached() < head:
                killed += 1
            else:  # they were at the end before this was seen
                assert head < 10_000, "too fast to be killed on the way"
                await some_history(executor, 30)
                head = scalar(fresh, "SELECT position FROM record.head")
        await some_history(executor, 3)
    catch_up(fresh, vault)
    lived = contents(fresh)
    for view in (CONTACTS, ORGANISATIONS):
        assert len(lived[view.name]) == len(folded(fresh, vault, view)) > 30
    with psycopg.connect(fresh.admin_conninfo()) as c:
        names: dict[UUID, str] = dict(c.execute("SELECT id, name FROM views.contacts").fetchall())
    assert names == {key: row.name for (_, key), row in folded(fresh, vault, CONTACTS).items()}
    catch_up(fresh, vault, *[anew(v) for v in VIEWS.values()], batch=1_000)
    assert contents(fresh) == lived
    catch_up(fresh, vault, *VIEWS.values(), batch=1)
    assert contents(fresh) == lived


async def test_the_rows_in_memory_are_limited_in_all_and_the_views_are_the_same(
    fresh: Database, appender: Appender, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_executor(fresh, appender, vault) as executor:
        await some_history(executor, 60)
    monkeypatch.setattr(engine, "MOST_LINES_IN_ALL", 30)
    held: list[int] = []
    write = Projector._write

    def counted(self: Projector, *what: Any) -> Any:
        held.append(sum(len(f.lines) for f in self._foldings.values()))
        return write(self, *what)

    monkeypatch.setattr(Projector, "_write", counted)
    catch_up(fresh, vault, batch=7)
    assert len(held) > 10
    assert max(held) < 100, "those of two batches stay, whatever the limit is"
    lived = contents(fresh)
    monkeypatch.undo()
    catch_up(fresh, vault, *[anew(v) for v in VIEWS.values()])
    assert contents(fresh) == lived


@pytest.mark.invariant("I7")
async def test_redelivery_changes_nothing(fresh: Database, appender: Appender, vault: Vault) -> None:
    from infra.record import wire

    async with an_executor(fresh, appender, vault) as executor:
        await some_history(executor, 2)
    catch_up(fresh, vault)
    before, stood = contents(fresh), standing(fresh)
    slow = Projector(fresh, vault, batch=5)
    with fresh.connect("record") as c:
        wire.register(c)
        events = list(replay(c, vault))
        slow.apply(c, dict.fromkeys(VIEWS, 0), events, events[-1].position)  # a projector that believes it is at the start
        slow.catch_up(c)
    assert contents(fresh) == before
    assert {n: s[0] for n, s in standing(fresh).items()} == {n: s[0] for n, s in stood.items()}


def poisoned_at(view: View[Any], position: int, how: Callable[[Any], Any]) -> View[Any]:
    def fold(row: Any, key: UUID, r: Recorded) -> Any:
        return how(view.fold(row, key, r)) if r.position == position else view.fold(row, key, r)

    return dataclasses.replace(view, fold=fold)


def _raises(_: Any) -> Any:
    raise ZeroDivisionError


def _unstorable(row: Any) -> Any:
    return dataclasses.replace(row, name="a\x00b")


@pytest.mark.invariant("I20")
@pytest.mark.parametrize(("poison", "how"), [(14, _raises), (27, _unstorable)])  # both are amendments of a contact
async def test_a_poisoned_event_stops_its_view_at_it_and_no_other_view(
    fresh: Database, appender: Appender, vault: Vault, poison: int, how: Any
) -> None:
    async with an_executor(fresh, appender, vault) as executor:
        await some_history(executor, 3)
        head = scalar(fresh, "SELECT position FROM record.head")
        for _ in range(2):  # it does not start again by itself
            catch_up(fresh, vault, poisoned_at(CONTACTS, poison, how), ORGANISATIONS)
        stood = standing(fresh)
        at, stopped, error = stood["contacts"]
        assert (at, stopped) == (poison - 1, poison)
        assert error
        assert stood["organisations"] == (head, None, None)
        await some_history(executor)  # the record goes on
        catch_up(fresh, vault, ORGANISATIONS)
        assert standing(fresh)["organisations"][0] > head
    with fresh.connect("record") as c:
        c.execute("UPDATE chancery.projections SET stopped_at = NULL, error = NULL")
    catch_up(fresh, vault)
    assert len(contents(fresh)["contacts"]) == len(folded(fresh, vault, CONTACTS)) == 8


@pytest.mark.invariant("I20")
async def test_an_event_nobody_can_read_stops_every_view_at_it(fresh: Database, appender: Appender, vault: Vault) -> None:
    async with an_executor(fresh, appender, vault) as executor:
        await some_history(executor)
        together(appender, [an_append(type="tests.Unheard.v1")])
        await some_history(executor)
    catch_up(fresh, vault, CONTACTS, ORGANISATIONS)
    assert standing(fresh) == dict.fromkeys(("contacts", "organisations"), (9, 10, "UnknownEvent"))


async def test_streams_of_the_library_are_passed_over(fresh: Database, appender: Appender, vault: Vault) -> None:
    async with an_executor(fresh, appender, vault) as executor:
        append = an_append(3)
        append.events = [e._replace(stream_type=FOREIGN, public=b"not JSON") for e in append.events]
        append.expected = {(FOREIGN, e.stream_id): 0 for e in append.events}
        together(appender, [append])
        catch_up(fresh, vault, CONTACTS)
        assert standing(fresh) == {"contacts": (3, None, None)}
        await some_history(executor)
    catch_up(fresh, vault, CONTACTS)
    assert standing(fresh) == {"contacts": (12, None, None)}
    assert len(contents(fresh)["contacts"]) == 2


@pytest.mark.invariant("I17")
async def test_a_view_ahead_of_the_record_stops_loudly(fresh: Database, appender: Appender, vault: Vault) -> None:
    async with an_executor(fresh, appender, vault) as executor:
        await some_history(executor)
    catch_up(fresh, vault, CONTACTS, ORGANISATIONS)
    with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as c:  # as a restore of an older backup would leave it
        c.execute("UPDATE chancery.projections SET position = 99 WHERE name = 'contacts'")
    catch_up(fresh, vault, CONTACTS, ORGANISATIONS)
    assert standing(fresh) == {"contacts": (99, 99, "AheadOfRecord"), "organisations": (9, None, None)}


def test_what_is_said_of_a_kind_of_event_holds_for_each_of_its_samples() -> None:
    """A view that is never asked about a kind of event names no row of any event of the kind."""
    asked = 0
    for r in samples():
        for view in VIEWS.values():
            said = named_always(view, r.stream_type, type(r.event))
            if said is not None:
                asked += 1
                assert list(view.keys(r)) == [r.stream_id if k == OWN else k for k in said], (view.name, r.name)
    assert asked > 1_000


def samples() -> list[Recorded]:
    """An event of each kind, from the samples of the specification, as it would stand on a stream of each type."""
    said = {path.stem: json.loads(path.read_text())["samples"] for path in (ROOT / "spec" / "events").glob("*.json")}
    return [
        Recorded(
            position=7,
            firm=FIRMS[0],
            firm_position=6,
            stream_type=stream_type,
            stream_id=UUID(int=5),
            version=3,
            event_id=UUID(int=9),
            name=name,
            event=CODECS.decode(name, sample["data"], disclose(sample.get("disclosures", []))),
            occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
            recorded_at=datetime(2026, 1, 1, tzinfo=UTC),
            actor="member/x",
            origin=None,
            command_id="c",
        )
        for name, kept in sorted(said.items())
        if name in EVENTS and name not in UPCASTERS
        for sample in kept
        for stream_type in STREAMS
    ]
