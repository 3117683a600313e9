"""Random work of two firms beside projectors that come and go, rebuilds and reads of any moment, against a plain fold of lists."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from commands.contacts import AmendContact, CreateContact, TagContact
from commands.deals import MoveDeal, NoteOnDeal, OpenDeal
from commands.kernel import Actor, Command
from commands.organisations import CreateOrganisation
from commands.pipelines import DefinePipeline, NewStage
from commands.tasks import CreateTask
from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.cli.projections import digest_of
from infra.database import Database
from infra.ids import uuid7
from infra.projector.engine import Projector
from infra.projector.rebuild import rebuild
from infra.projector.tables import Table
from infra.record import wire
from infra.record.appender import Appender
from infra.record.reader import replay
from infra.record.vault import Vault
from projections.kernel import VIEWS, Recorded, View
from tests.infra.test_vault import an_executor

LOOKED_AT = ("contacts", "deals", "organisations", "tasks", "pipelines", "stages", "stage_entries", "timeline", "graph_edges")
ACTOR = Actor("member", str(UUID(int=1)))
numbers = st.integers(0, 5)


class Home:
    """What all runs share: one database that only grows; each run has firms of its own."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.vault = Vault(folder)
        self.appender = Appender(database)
        self.loop = asyncio.new_event_loop()
        self._executor = an_executor(database, self.appender, self.vault)
        self.executor = self.loop.run_until_complete(self._executor.__aenter__())

    def close(self) -> None:
        self.loop.run_until_complete(self._executor.__aexit__(None, None, None))
        self.loop.close()
        self.appender.close()


def folded(view: View[Any], events: list[Recorded]) -> dict[UUID, Any]:
    """The view's rows after these events: the desk's fold, nothing else."""
    rows: dict[UUID, Any] = {}
    for r in events:
        for key in view.keys(r):
            after = view.fold(rows.get(key), key, r)
            if after is None:
                rows.pop(key, None)
            else:
                rows[key] = after
    return rows


class Views(RuleBasedStateMachine):
    home: Home

    def __init__(self) -> None:
        super().__init__()
        self.firms = [FirmId(uuid7()), FirmId(uuid7())]
        self.made: dict[tuple[FirmId, str], list[UUID]] = {}
        self.connections: list[psycopg.Connection[Any]] = []
        self.projectors: list[tuple[Projector, psycopg.Connection[Any]]] = []
        for _ in range(2):
            self.projectors.append(self.a_projector())
        self.start = self.head()

    # --- work

    def do(self, command: Command, firm: FirmId, kind: str | None = None, target: UUID | None = None) -> None:
        done = self.home.loop.run_until_complete(
            self.home.executor.execute(command, firm=firm, actor=ACTOR, permissions=ALL_PERMISSIONS, target=target)
        )
        if kind is not None:
            self.made.setdefault((firm, kind), []).append(UUID(str(done.body["id"])))

    def one(self, firm: FirmId, kind: str, n: int) -> UUID | None:
        there = self.made.get((firm, kind), [])
        return there[n % len(there)] if there else None

    def before(self, days: int) -> datetime | None:
        return None if days == 0 else datetime.now(UTC) - timedelta(days=days)

    @rule(firm=st.integers(0, 1), days=numbers, n=numbers)
    def add(self, firm: int, days: int, n: int) -> None:
        f = self.firms[firm]
        match n % 4:
            case 0:
                self.do(CreateContact(display_name=f"P {n}"), f, "contact")
            case 1:
                self.do(CreateOrganisation(name=f"O {n}"), f, "organisation")
            case 2:
                self.do(CreateTask(title=f"T {n}"), f, "task")
            case _:
                if self.one(f, "pipeline", 0) is None:
                    self.do(DefinePipeline(name="P", stages=[NewStage(name="A"), NewStage(name="B")]), f, "pipeline")
                contact = self.one(f, "contact", n)
                parties = [{"kind": "contact", "party_id": str(contact), "role": "client"}] if contact else []
                opened = {"title": f"D {n}", "occurred_at": self.before(days), "parties": parties}
                self.do(OpenDeal.model_validate(opened), f, "deal")

    @rule(firm=st.integers(0, 1), which=numbers, days=numbers, n=numbers)
    def change(self, firm: int, which: int, days: int, n: int) -> None:
        f = self.firms[firm]
        deal, contact = self.one(f, "deal", which), self.one(f, "contact", which)
        if deal is not None and n % 2:
            self.do(NoteOnDeal(id=deal, note=f"N {n}", occurred_at=self.before(days)), f, target=deal)
        elif contact is not None and n:
            self.do(AmendContact(id=contact, job_title=f"J {n}", occurred_at=self.before(days)), f, target=contact)
        elif contact is not None:
            self.do(TagContact(id=contact, tags=[f"t{days}"]), f, target=contact)

    @rule(firm=st.integers(0, 1), which=numbers, days=numbers)
    def move(self, firm: int, which: int, days: int) -> None:
        f = self.firms[firm]
        deal = self.one(f, "deal", which)
        if deal is None:
            return
        row = folded(VIEWS["deals"], self.of(f))[deal]
        other = next(i for i in folded(VIEWS["stages"], self.of(f)) if i != row.stage_id)
        with contextlib.suppress(Exception):  # the rules of dates may refuse it; that is not what is tried here
            self.do(MoveDeal(id=deal, stage=other, occurred_at=self.before(days)), f, target=deal)

    # --- projectors

    def a_projector(self) -> tuple[Projector, psycopg.Connection[Any]]:
        c = self.home.database.connect("record")
        self.connections.append(c)
        wire.register(c)
        projector = Projector(self.home.database, self.home.vault, batch=7)
        projector.prepare(c)
        return projector, c

    @rule(which=st.integers(0, 1))
    def project(self, which: int) -> None:
        """Either may have rows in memory that the other has changed since."""
        projector, c = self.projectors[which]
        projector.catch_up(c)

    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        """Its connection is cut after it has written and before it could commit; another takes its place."""
        projector, c = self.projectors[which]
        positions = projector.positions(c)
        at = min(positions.values())
        events = [r for r in self.after(at) if r.position <= at + 5]
        if events:
            with contextlib.suppress(psycopg.Error), c.transaction():
                c.execute("UPDATE chancery.projections SET position = %s WHERE position = %s", (events[-1].position, at))
                c.execute("DELETE FROM views.contacts")
                with psycopg.connect(self.home.database.admin_conninfo(), autocommit=True) as admin:
                    admin.execute("SELECT pg_terminate_backend(%s)", (c.info.backend_pid,))
        c.close()
        self.projectors[which] = self.a_projector()

    @rule(which=st.integers(0, 1))
    def deliver_again(self, which: int) -> None:
        projector, c = self.projectors[which]
        events = self.after(self.start)
        if events:
            projector.apply(c, dict.fromkeys(VIEWS, self.start), events, events[-1].position)

    @rule(names=st.sets(st.sampled_from(LOOKED_AT), min_size=1, max_size=2))
    def rebuild(self, names: set[str]) -> None:
        rebuild(self.home.database, self.home.vault, [VIEWS[n] for n in sorted(names)])

    # --- reading

    def head(self) -> int:
        with self.home.database.connect("record") as c:
            return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])

    def after(self, position: int) -> list[Recorded]:
        with self.home.database.connect("record") as c:
            return list(replay(c, self.home.vault, position))

    def of(self, firm: FirmId) -> list[Recorded]:
        return [r for r in self.after(self.start) if r.firm == firm]

    def shown(self, view: View[Any], firm: FirmId, as_of: datetime | None, known_at: int | None) -> dict[UUID, Any]:
        """What a reader of this firm sees of the whole view, asking for no firm."""
        table = Table(view)
        names = ", ".join(f'"{n}"' for n in table.names)
        with self.home.database.connect("app") as c, c.transaction():
            c.execute(
                "SELECT set_config('chancery.firm', %s, true), set_config('chancery.as_of', %s, true), set_config('chancery.known_at', %s, true)",
                (str(firm), as_of.isoformat() if as_of else "", str(known_at) if known_at is not None else ""),
            )
            schema = "views" if as_of is None and known_at is None else "at"
            rows = c.execute(f"SELECT id, {names} FROM {schema}.{view.table.removeprefix('views.')}", binary=True).fetchall()
        assert len(rows) == len({r[0] for r in rows}), "a row is shown twice"
        return {id: table.row(values) for id, *values in rows}

    @precondition(lambda self: self.made)
    @rule(name=st.sampled_from(LOOKED_AT), days=st.integers(0, 6), back=st.integers(0, 8))
    def look(self, name: str, days: int, back: int) -> None:
        """As of a time, known at a position: what a replay gives that leaves the rest out."""
        projector, c = self.projectors[0]
        projector.catch_up(c)
        view, as_of, known_at = VIEWS[name], datetime.now(UTC) - timedelta(days=days), self.head() - back
        for firm in self.firms:
            events = self.of(firm)
            known = [r for r in events if r.occurred_at <= as_of and r.position <= known_at]
            assert self.shown(view, firm, as_of, known_at) == folded(view, known), (name, "as of, known at")
            true = [r for r in events if r.occurred_at <= as_of]
            assert self.shown(view, firm, as_of, None) == folded(view, true), (name, "as of")
            assert self.shown(view, firm, None, None) == folded(view, events), (name, "now")

    @invariant()
    def no_view_has_stopped(self) -> None:
        with self.home.database.connect("record") as c:
            assert c.execute("SELECT name, error FROM chancery.projections WHERE stopped_at IS NOT NULL").fetchall() == []

    def teardown(self) -> None:
        for connection in self.connections:
            connection.close()


@pytest.fixture
def home(database: Database, tmp_path: Path) -> Iterator[Home]:
    home = Home(database, tmp_path / "keys")
    yield home
    home.close()


@pytest.mark.invariant("I7")
@pytest.mark.invariant("I8")
@pytest.mark.invariant("I9")
def test_views_are_the_fold_of_the_record_whatever_happens_to_who_writes_them(home: Home) -> None:
    machine = type("Machine", (Views,), {"home": home})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )
    projector = Projector(home.database, home.vault)
    with home.database.connect("record") as c:
        wire.register(c)
        projector.prepare(c)
        projector.catch_up(c)
        lived = {name: digest_of(c, name) for name in VIEWS}
        rebuild(home.database, home.vault, list(VIEWS.values()))
        assert {name: digest_of(c, name) for name in VIEWS} == lived
