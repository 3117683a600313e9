import threading
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from commands import projects, tasks
from commands.kernel import Actor
from commands.task_comments import CommentTask
from domain.kernel import FirmId, NotFound
from domain.projects import DependencyCycle, DependencyOnItself
from domain.projects.events import Calendar
from infra import bootstrap
from infra.projector.engine import Projector
from infra.record import wire
from projections.dependencies import DEPENDENCIES
from projections.projects import PROJECTS
from projections.task_comments import TASK_COMMENTS
from projections.tasks import TASKS
from queries.projects import Network, Plan, SupposedDependency, SupposedTask, WhatIf, WorkingDays, compare, plan, what_if
from tests.desk import Desk

MONDAY = date(2026, 1, 5)


class Bureau:
    """A project of five tasks at a desk: A before B before D, A before C before D a day later, and E by itself."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.project = UUID(int=0)
        self.ids: dict[str, UUID] = {}

    async def opened(self) -> "Bureau":
        do = self.desk.do
        self.project = UUID((await do(projects.CreateProject(name="Migration", start_on=MONDAY)))["id"])
        for title, days in (("A", 1), ("B", 3), ("C", 2), ("D", 1), ("E", None)):
            made = await do(tasks.CreateTask(title=title, project=self.project, estimate_days=days))
            self.ids[title] = UUID(made["id"])
        for a, b, lag in (("A", "B", 0), ("A", "C", 0), ("B", "D", 0), ("C", "D", 480)):
            await do(projects.AddDependency(id=self.project, predecessor=self.ids[a], successor=self.ids[b], lag=lag))
        await do(tasks.CreateTask(title="Elsewhere", estimate_days=100))
        return self

    def network(self) -> Network:
        def rows(view):
            return {id: {"id": id, **asdict(row)} for id, row in self.desk.rows(view).items()}

        return Network(
            rows(PROJECTS)[self.project],
            [t for t in rows(TASKS).values() if t["project"] == self.project],
            [d for d in rows(DEPENDENCIES).values() if d["project"] == self.project],
        )

    def told(self) -> dict[str, Any]:
        net = self.network()
        return net.told(net.solve(), personal=True)

    def named(self, ids) -> list[str]:
        return [next(n for n, known in self.ids.items() if known == id) for id in ids]


async def test_a_plan_has_minutes_days_and_the_critical_path() -> None:
    b = await Bureau().opened()
    told = b.told()
    assert (told["duration_minutes"], told["ends_on"]) == (5 * 480, date(2026, 1, 9))
    assert set(b.named(told["critical"])) == {"A", "B", "C", "D"}
    assert b.named(told["unestimated"]) == ["E"]
    by = {t["title"]: t for t in told["tasks"]}
    assert (by["D"]["starts_on"], by["D"]["ends_on"]) == (date(2026, 1, 9), date(2026, 1, 9))
    assert (by["B"]["starts_on"], by["B"]["ends_on"]) == (date(2026, 1, 6), date(2026, 1, 8))
    assert by["E"]["total_slack"] == 5 * 480


async def test_a_plan_follows_what_changes() -> None:
    b = await Bureau().opened()
    await b.desk.do(tasks.EstimateTask(id=b.ids["C"], estimate_days=1))
    assert set(b.named(b.told()["critical"])) == {"A", "B", "D"}
    await b.desk.do(tasks.CancelTask(id=b.ids["B"]))
    assert b.told()["duration_minutes"] == 4 * 480
    await b.desk.do(tasks.ScheduleTask(id=b.ids["A"], starts_at=datetime(2026, 1, 12, 9, tzinfo=UTC)))
    assert b.told()["duration_minutes"] == 9 * 480
    await b.desk.do(projects.RemoveTask(id=b.project, task=b.ids["D"]))
    assert b.told()["duration_minutes"] == 7 * 480
    await b.desk.do(projects.SetStart(id=b.project, start_on=None))
    assert (b.told()["duration_minutes"], b.told()["ends_on"]) == (2 * 480, None)


async def test_a_reader_who_may_not_see_names_sees_no_titles() -> None:
    b = await Bureau().opened()
    net = b.network()
    masked: dict[str, Any] = net.told(net.solve(), personal=False)
    assert {t["title"] for t in masked["tasks"]} == {None}


async def test_a_what_if_tells_the_plan_and_the_difference() -> None:
    b = await Bureau().opened()
    new = uuid4()
    (c_to_d,) = (id for id, d in b.desk.rows(DEPENDENCIES).items() if (d.predecessor, d.successor) == (b.ids["C"], b.ids["D"]))
    question = WhatIf(
        id=b.project,
        estimates={b.ids["B"]: 480},
        add_tasks=(SupposedTask(id=new, estimate_minutes=960),),
        add_dependencies=(SupposedDependency(predecessor=new, successor=b.ids["B"]),),
        remove_tasks=(b.ids["E"],),
        lags={c_to_d: 0},
    )
    recorded = len(b.desk.record)
    answer: dict[str, Any] = compare(b.network(), question, personal=True)
    assert answer["difference"]["duration_minutes"] == {"before": 2400, "after": 1920, "change": -480}
    assert answer["difference"]["ends_on"] == {"before": date(2026, 1, 9), "after": date(2026, 1, 8)}
    assert answer["difference"]["added"] == [new]
    assert b.named(answer["difference"]["removed"]) == ["E"]
    assert answer["difference"]["became_critical"] == [new]
    assert set(b.named(m["id"] for m in answer["difference"]["moved"])) == {"B", "D"}
    assert answer["plan"]["duration_minutes"] == 1920
    assert len(b.desk.record) == recorded
    assert b.told()["duration_minutes"] == 2400


async def test_a_what_if_names_a_circle_and_what_it_does_not_know() -> None:
    b = await Bureau().opened()
    with pytest.raises(DependencyCycle) as refused:
        compare(
            b.network(),
            WhatIf(id=b.project, add_dependencies=(SupposedDependency(predecessor=b.ids["D"], successor=b.ids["A"]),)),
            personal=True,
        )
    assert {b.ids["D"], b.ids["A"]} <= set(refused.value.cycle)
    for unknown in (
        {"estimates": {uuid4(): 1}},
        {"lags": {uuid4(): 1}},
        {"remove_tasks": (uuid4(),)},
        {"remove_dependencies": (uuid4(),)},
        {"add_dependencies": (SupposedDependency(predecessor=uuid4(), successor=b.ids["A"]),)},
    ):
        with pytest.raises(NotFound):
            compare(b.network(), WhatIf(id=b.project, **unknown), personal=True)
    itself = SupposedDependency(predecessor=b.ids["A"], successor=b.ids["A"])
    with pytest.raises(DependencyOnItself):
        compare(b.network(), WhatIf(id=b.project, add_dependencies=(itself,)), personal=True)


def test_working_days_pass_over_weekends_and_days_off() -> None:
    days = WorkingDays(Calendar(day_minutes=60, weekdays=(1, 2, 5), days_off=(date(2026, 1, 9),)), date(2026, 1, 4))
    assert [days.day(n * 60) for n in range(4)] == [MONDAY, date(2026, 1, 6), date(2026, 1, 12), date(2026, 1, 13)]
    assert [days.offset(MONDAY + timedelta(days=n)) for n in (-9, 0, 1, 2, 7, 8)] == [0, 0, 60, 120, 120, 180]
    assert days.span(0, 60) == (MONDAY, MONDAY)
    assert days.span(59, 61) == (MONDAY, date(2026, 1, 6))
    assert days.span(60, 60) == (MONDAY, MONDAY)
    assert days.span(0, 0) == (MONDAY, MONDAY)


def test_a_plan_beyond_all_calendars_has_no_days() -> None:
    days = WorkingDays(Calendar(), date(9998, 1, 1))
    assert days.span(0, 480) == (None, None)
    assert WorkingDays(Calendar(), MONDAY).day(480 * 40_000) is None
    assert WorkingDays(Calendar(), MONDAY).offset(date(9999, 12, 31)) == 480 * 40_000


async def test_plans_are_read_from_the_rows_of_their_own_firm(settings) -> None:
    firm, stranger = FirmId(uuid4()), FirmId(uuid4())
    actor = Actor("member", str(uuid4()))
    async with bootstrap.opened(settings) as c:

        async def do(command):
            return (await c.executor.execute(command, firm=firm, actor=actor)).body

        project = UUID(
            (await do(projects.CreateProject(name="Migration", start_on=MONDAY, calendar=projects.WorkCalendar())))["id"]
        )
        a, b = [
            UUID((await do(tasks.CreateTask(title=t, project=project, estimate_days=1, labels=("x",))))["id"]) for t in ("A", "B")
        ]
        made = await do(projects.AddDependencies(id=project, dependencies=(projects.Wanted(predecessor=a, successor=b, lag=60),)))
        steps = (tasks.ToldStep(step="start", at=datetime(2026, 1, 5, tzinfo=UTC), activity="START", resource="11169"),)
        await do(tasks.RecountTask(id=a, steps=steps))
        await do(CommentTask(id=a, text="Well begun"))
        with c.database.connect("record") as connection:
            wire.register(connection)
            projector = Projector(c.database, c.vault, [PROJECTS, TASKS, DEPENDENCIES, TASK_COMMENTS])
            projector.prepare(connection)
            projector.catch_up(connection, threading.Event())
        async with c.readers.reading(firm, frozenset({"personal:read"})) as r:
            told: Any = await plan(Plan(id=project), r)
            comments = await r.all("SELECT text FROM views.task_comments WHERE firm_id = %(firm)s AND task = %(task)s", task=a)
            supposed: Any = await what_if(WhatIf(id=project, remove_dependencies=(UUID(made["recorded"][0]),)), r)
        async with c.readers.reading(stranger) as r:
            with pytest.raises(NotFound):
                await plan(Plan(id=project), r)
    assert (told["duration_minutes"], told["critical"], told["ends_on"]) == (1020, [a, b], date(2026, 1, 7))
    assert [(t["title"], t["status"]) for t in told["tasks"]] == [("A", "in_progress"), ("B", "open")]
    assert supposed["difference"]["duration_minutes"]["change"] == -540
    assert [c["text"] for c in comments] == ["Well begun"]
