"""Three projects with their dependencies, and the small tasks of every day."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from commands.projects import (
    AddDependencies,
    AddMember,
    AmendProject,
    ArchiveProject,
    ChangeLag,
    CompleteProject,
    CreateProject,
    RemoveDependencies,
    RemoveMember,
    ReopenProject,
    WorkCalendar,
)
from commands.task_comments import AmendComment, CommentTask, RemoveComment
from commands.tasks import (
    AmendTask,
    ArchiveTask,
    AssignTask,
    BlockTask,
    CancelTask,
    ChangeDue,
    CompleteTask,
    CreateTask,
    EstimateTask,
    LinkTask,
    PauseTask,
    ReopenTask,
    ScheduleTask,
    StartTask,
    UnassignTask,
    UnblockTask,
    UnlinkTask,
    UnscheduleTask,
)
from infra.demo.stage import Stage, Story

LOOSE = 40
HANDS = ("clementine", "dashiell", "ignatius", "ada")
CHORES = (
    "Ring about the missing payslip",
    "Send the yearly statement",
    "Check identity papers",
    "Book a valuer",
    "Review the risk profile",
    "Answer the complaint",
    "File the signed deed",
    "Remind of the insurance",
)

# name: (working days, what it waits for as (number, type, lag in minutes))
Plan = list[tuple[str, int, list[tuple[int, str, int]]]]
FS, SS, FF, SF = "finish_to_start", "start_to_start", "finish_to_finish", "start_to_finish"
MOVE: Plan = [
    ("Choose the new office", 10, []),
    ("Sign the lease", 3, [(0, FS, 0)]),
    ("Draw the floor plan", 6, [(0, SS, 2400)]),
    ("Order desks and lamps", 4, [(2, FS, 0)]),
    ("Lay the network cables", 8, [(1, FS, 960), (2, FS, 0)]),
    ("Paint the rooms", 7, [(1, FS, 0)]),
    ("Test the network", 2, [(4, FS, 0)]),
    ("Pack the archive", 9, [(1, SS, 480)]),
    ("Label every box", 9, [(7, FF, 480)]),
    ("Keep the old post office box", 5, [(10, SF, 0)]),
    ("Move over a weekend", 2, [(3, FS, 4800), (5, FS, 480), (6, FS, 0), (8, FS, 0)]),
    ("Hand back the keys", 1, [(10, FS, 2400)]),
]
JOIN: Plan = [
    ("Take in the papers of the mill", 3, []),
    ("Check who owns the mill", 5, [(0, FS, 0)]),
    ("Visit the mill", 1, [(0, FS, 480)]),
    ("Value the waterwheel", 6, [(2, SS, 0)]),
    ("Write the credit paper", 4, [(1, FS, 0), (3, FS, -480)]),
    ("Decide in committee", 1, [(4, FS, 0)]),
    ("Draw up the facility", 5, [(5, FS, 0)]),
    ("Register the charge", 3, [(6, FF, 960)]),
    ("Pay out", 1, [(6, FS, 0), (7, FS, 0)]),
]
REVIEW: Plan = [
    ("Draw the sample of files", 1, []),
    ("Read thirty files", 8, [(0, FS, 0)]),
    ("Ask about the odd ones", 4, [(1, SS, 1440)]),
    ("Write the findings", 3, [(1, FS, 0), (2, FF, 0)]),
    ("Report to the board", 1, [(3, FS, 960)]),
]


def stories(stage: Stage) -> list[Story]:
    return [
        project(stage, "move", "Move to Larkmere", MOVE, begun=75, pace=1.6),
        project(stage, "join", "Thistlewick Mills comes aboard", JOIN, begun=33, pace=1.3),
        project(stage, "review", "Review of files", REVIEW, begun=250, pace=1.0),
        *(chore(stage, i) for i in range(LOOSE)),
    ]


async def project(stage: Stage, key: str, name: str, plan: Plan, *, begun: int, pace: float) -> Story:
    """Planned in a day, then worked off task by task, `pace` times as slowly as planned."""
    yield (at := stage.ago(begun, 9))
    values: dict[str, Any] = {"name": name, "start_on": at.date(), "lead": stage.id("member", "clementine")}
    if key == "move":
        values["calendar"] = WorkCalendar(day_minutes=450, days_off=(stage.on(-30), stage.on(20)))
    if key == "join":
        values |= {"organisation": stage.id("organisation", 0), "contact": stage.id("contact", 0), "deal": stage.id("deal", 60)}
    id = await stage.make("project", key, CreateProject(**values), at)
    await stage.do(AddMember(id=id, member=stage.id("member", "dashiell")), at)
    await stage.do(AddMember(id=id, member=stage.id("member", "guinevere"), role="observer"), at)
    tasks: list[UUID] = []
    after = 0.0
    due: list[float] = []
    for n, (title, days, _) in enumerate(plan):
        after += days * 0.7
        due.append(after)
        made = CreateTask(
            title=title,
            project=id,
            kind="step",
            assignee=stage.id("member", HANDS[n % len(HANDS)]),
            estimate_days=days,
            due_at=at + timedelta(days=int(after) + 1, hours=8),
            priority="high" if n % 4 == 0 else "normal",
        )
        tasks.append(await stage.make("task", (key, n), made, at + timedelta(minutes=n)))
    wanted = [
        {"predecessor": tasks[p], "successor": tasks[n], "type": type, "lag": lag}
        for n, (_, _, waits) in enumerate(plan)
        for p, type, lag in waits
    ]
    done = await stage.do(AddDependencies.model_validate({"id": id, "dependencies": wanted}), at + timedelta(hours=1))
    if key == "move":
        bonds = done.body["recorded"]
        await stage.do(ChangeLag.model_validate({"id": id, "dependency": bonds[1], "lag": 1800}), at + timedelta(hours=2))
        await stage.do(RemoveDependencies.model_validate({"id": id, "dependencies": [bonds[5]]}), at + timedelta(hours=2))
        await stage.do(RemoveMember(id=id, member=stage.id("member", "guinevere")), at + timedelta(hours=3))
        await stage.do(AmendProject(id=id, description="Before the old lease ends."), at + timedelta(hours=3))
    for n, task in enumerate(tasks):
        who = HANDS[n % len(HANDS)]
        yield (when := at + timedelta(days=due[n] * pace - plan[n][1] * 0.5, hours=9))
        await stage.do(StartTask(id=task), when, who)
        if n % 4 == 1:
            longer = timedelta(days=2)
            await stage.do(BlockTask(id=task, reason="Waits for an answer from the landlord."), when + timedelta(hours=2), who)
            yield when + longer
            await stage.do(UnblockTask(id=task), when + longer, who)
        if n % 3 == 2:
            await stage.do(EstimateTask(id=task, estimate_days=plan[n][1] + 2), when + timedelta(hours=3), who)
        yield (when := at + timedelta(days=due[n] * pace + 2, hours=15))
        await stage.do(CompleteTask(id=task), when, who)
    yield (end := at + timedelta(days=due[-1] * pace + 8, hours=10))
    if key == "review":
        await stage.do(CompleteProject(id=id), end)
        await stage.do(ReopenProject(id=id), end + timedelta(days=1))
        await stage.do(CompleteProject(id=id), end + timedelta(days=2))
        yield (end := end + timedelta(days=60))
        await stage.do(ArchiveProject(id=id), end)


async def chore(stage: Stage, i: int) -> Story:
    chance = stage.chance("chore", i)
    yield (at := stage.ago(330 - i * 8.2, chance.randint(8, 15)))
    who = HANDS[i % len(HANDS)]
    values: dict[str, Any] = {
        "title": CHORES[i % len(CHORES)],
        "kind": ("call", "letter", "check", "task")[i % 4],
        "priority": ("low", "normal", "normal", "high", "highest")[i % 5],
        "labels": chance.sample(("client", "paper", "deadline"), i % 3),
        "due_at": at + timedelta(days=chance.randint(2, 20)),
        "estimate_minutes": chance.choice((15, 30, 45, 120)),
        "contact": stage.id("contact", chance.randrange(60)),
    }
    if i % 4 == 0:
        values["deal"] = stage.id("deal", i)
    if i % 5 == 0:
        values["organisation"] = stage.id("organisation", i % 16)
    id = await stage.make("task", i, CreateTask(**values), at)
    await stage.do(AssignTask(id=id, assignee=stage.id("member", who)), at + timedelta(minutes=2))
    if i % 6 == 1:
        planned = at + timedelta(days=2)
        await stage.do(ScheduleTask(id=id, starts_at=planned, ends_at=planned + timedelta(hours=1)), at + timedelta(minutes=5), who)
    if i % 6 == 2:
        await stage.do(CommentTask(id=id, text="Left a message; will try again."), at + timedelta(hours=1), who)
    if i % 12 == 7:
        await stage.do(UnscheduleTask(id=id), at + timedelta(hours=2), who)
        await stage.do(UnassignTask(id=id), at + timedelta(hours=2), who)
    yield (at := at + timedelta(days=chance.randint(1, 6)))
    if i % 7 == 3:
        await stage.do(BlockTask(id=id, reason="The registry is closed this week."), at, who)
        if i > 30:
            return
        yield (at := at + timedelta(days=3))
        await stage.do(UnblockTask(id=id), at, who)
    await stage.do(StartTask(id=id), at, who)
    if i % 8 == 4:
        await stage.do(PauseTask(id=id), at + timedelta(hours=1), who)
        await stage.do(AmendTask(id=id, priority="low", labels=("waiting",)), at + timedelta(hours=1), who)
        await stage.do(ChangeDue(id=id, due_at=at + timedelta(days=30)), at + timedelta(hours=1), who)
    if i % 10 == 5:
        said = await stage.do(CommentTask(id=id, text="Done but for the stamp."), at + timedelta(hours=2), who)
        comment = UUID(said.body["comment"])
        await stage.do(AmendComment(id=id, comment=comment, text="Done but for the stamps."), at + timedelta(hours=3), who)
        if i == 15:
            await stage.do(RemoveComment(id=id, comment=comment), at + timedelta(hours=4), who)
    if i == 9:
        paper = stage.id("document", ("letter", 0))
        await stage.do(LinkTask(id=id, what="document", target=paper), at, who)
        await stage.do(UnlinkTask(id=id, what="document", target=paper), at + timedelta(hours=1), who)
        await stage.do(LinkTask(id=id, what="document", target=stage.id("document", ("policy", 0))), at + timedelta(hours=1), who)
    yield (at := at + timedelta(days=chance.randint(1, 25)))
    if i % 11 == 6:
        await stage.do(CancelTask(id=id, reason="Not needed any more."), at, who)
    elif i % 13 != 12:
        await stage.do(CompleteTask(id=id), at, who)
    if i % 9 == 8:
        yield (at := at + timedelta(days=2))
        await stage.do(ReopenTask(id=id, reason="The letter came back."), at, who)
        if i % 2:
            yield (at := at + timedelta(days=6))
            await stage.do(CompleteTask(id=id), at, who)
    if i % 14 == 2:
        yield (at := at + timedelta(days=40))
        await stage.do(ArchiveTask(id=id), at)
