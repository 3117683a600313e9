"""Tasks: from tables as they stand, from logs with every step that was told. A project is found or made by its name.

Other systems estimate in hours, days or points without saying which, so estimates stay in the kept row; so do columns without a field.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from commands.kernel import Entity, Work
from domain import projects, tasks
from domain.projects import MOST_TASKS, PROJECT
from domain.tasks import MOST_LABELS, TASK, Task
from domain.tasks import Step as Told
from domain.tasks.events import Event, Priority
from domain.tasks.lifecycle import step_of
from infra.imports.activities import Step
from infra.imports.into.courses import new_steps
from infra.imports.into.kernel import Carry, Carrying, Names, Outcome, RowUnusable, folded, line_of, taken, text_of
from infra.imports.into.people import Contacts, Members, Organisations
from infra.imports.rows import Mapped
from infra.imports.tasks import TaskRecord
from infra.record.execute import FAR

PRIORITIES: Mapping[str, Priority] = {
    **dict.fromkeys(
        ("highest", "blocker", "critical", "urgent", "immediate", "p0", "p1", "kritisch", "dringend", "sehr hoch"), "highest"
    ),
    **dict.fromkeys(("high", "major", "important", "p2", "hoch", "haute", "alta", "hoog"), "high"),
    **dict.fromkeys(("normal", "medium", "p3", "mittel", "moyenne", "media", "middel"), "normal"),
    **dict.fromkeys(("low", "minor", "p4", "niedrig", "basse", "baja", "bassa", "laag"), "low"),
    **dict.fromkeys(("lowest", "trivial", "p5", "sehr niedrig"), "lowest"),
}
STEPS: Mapping[str, Told] = {
    "assigned": "assign",
    "started": "start",
    "blocked": "block",
    "completed": "complete",
    "cancelled": "cancel",
    "reopened": "reopen",
}
MOST_PROJECTS = 100  # of one name


class Projects:
    """Projects by name, found or made; one that is full continues as the next of its name."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._full: dict[str, int] = {}

    def id(self, name: str, number: int) -> UUID:
        return self._names.id("project", folded(name), str(number))

    async def of(self, w: Work, name: str, task: Entity[Task, Event] | None, c: Carrying) -> UUID | None:
        """The project of this name that takes the task."""
        key = folded(name)
        for number in range(self._full.get(key, 1), MOST_PROJECTS):
            id = self.id(name, number)
            project = await w.find(PROJECT, id)
            if len(project.state.tasks) >= MOST_TASKS:
                self._full[key] = number + 1
                continue
            if project.version == 0:
                called = line_of(name, 280) or "Imported"
                w.record(project, projects.create(project.state, name=called if number == 1 else f"{called} ({number})"))
            elif project.state.archived and c.undone:
                w.record(project, projects.restore(project.state))
            if task is not None:
                w.record(project, projects.add_tasks(project.state, tasks=(task.id,)))
            return id
        return None


class TaskCarrier:
    """`shown` is the source as a person called it, for the public record; a file's own name may name a person."""

    notes: Sequence[str] = ()

    def __init__(self, names: Names, members: Members, source: str, file: Any, shown: str | None = None) -> None:
        self._names = names
        self._members = members
        self._source = source
        self._shown = shown
        self._file = file
        self._organisations = Organisations(names)
        self._contacts = Contacts(names)
        self._projects = Projects(names)

    def prepare(self) -> Iterable[Callable[[Work], Awaitable[None]]]:
        return ()

    def _key(self, r: TaskRecord) -> UUID:
        return self._names.id("task-row", self._source, r.source_id)

    def names(self, row: Mapped[Any]) -> Iterable[UUID]:
        r: TaskRecord = taken(row)
        yield self._key(r)
        if r.id_given:
            yield self._names.key("task", r.source_id)
        if r.organisation:
            yield self._organisations.key(r.organisation)
        if r.contact:
            yield from self._contacts.keys(r.contact, None)

    def place(self, row: Mapped[Any]) -> Carry:
        r: TaskRecord = taken(row)
        key = self._key(r)
        named = self._names.key("task", r.source_id) if r.id_given else None
        found = self._names.find(key)
        if found is not None:
            id = found[0]
        else:
            stub = self._names.find(named) if named else None
            # a key that only links have named so far is this row's task
            id = stub[0] if stub is not None and stub[1] is None else self._names.id("task", self._source, r.source_id)
            self._names.claim(key, id, key)
        if named is not None and ((stub := self._names.find(named)) is None or stub[1] is None):
            self._names.claim(named, id, key)
        assignee = self._members.find(r.assignee)
        organisation = self._organisations.named(r.organisation) if r.organisation else None
        contact = self._contacts.named(r.contact, None)

        async def run(w: Work, c: Carrying) -> Outcome:
            return await self._task(r, row.source, w, c, id, assignee, organisation, contact)

        reads: list[Any] = [(TASK, id), *self._organisations.reads(r.organisation)]
        return Carry(
            stream=TASK,
            id=id,
            source_key=key,
            subject=contact or id,
            run=run,
            reads=reads,
            rests_on=f"{assignee}{organisation}{contact}",
        )

    async def _task(
        self,
        r: TaskRecord,
        source: Mapping[str, Any],
        w: Work,
        c: Carrying,
        id: UUID,
        assignee: UUID | None,
        organisation: UUID | None,
        contact: UUID | None,
    ) -> Outcome:
        if any(s.at > w.now + FAR for s in r.steps):
            raise RowUnusable("An event of the case lies more than a day in the future. Correct its time.")
        task = await w.find(TASK, id)
        before = len(w.made)
        if task.state.archived and c.undone:
            w.record(task, tasks.restore(task.state))
        if organisation is not None:
            organisation = await self._organisations.ensure(w, r.organisation or "", organisation, restore=c.undone)
        if contact is not None:
            contact = await self._contacts.ensure(w, contact, r.contact, None, restore=c.undone)
        priority = PRIORITIES.get((r.priority or "").strip().casefold())
        labels = self._labels(r, c, known=priority is not None)
        new = not task.state.exists
        fresh = None if new else new_steps(source, c, len(r.steps))
        if new:
            began = r.created_at or next((t for t in (r.started_at, r.completed_at) if t), None)
            at = min([t for t in (began, r.steps[0].at if r.steps else None) if t], default=None)
            project = await self._projects.of(w, r.project, task, c) if r.project else None
            made = tasks.create(
                task.state,
                title=line_of(r.title, 300) or "Untitled",
                description=text_of(r.description, 10_000),
                kind=line_of(r.type, 80) or "task",
                priority=priority or "normal",
                project=project,
                contact=contact,
                organisation=organisation,
                assignee=assignee,
                due_at=r.due,
                labels=labels,
                source=line_of(self._shown, 200),
                source_id=line_of(r.source_id, 300) if r.id_given else None,
            )
            w.record(task, made, occurred_at=at if at is None or at <= w.now + FAR else None)
        else:
            self._amend(r, w, c, task, priority, labels, assignee, organisation, contact)
            if r.project and (task.state.project is None or c.undone):
                await self._place(r.project, w, c, task)
        for i, s in enumerate(r.steps):
            if fresh is None or i in fresh:
                self._told(s, w, task)
        if not r.steps and not self._stays_where_it_is(r, c, task.state):
            self._stand(r, w, task)
        if len(w.made) == before:
            return "unchanged"
        return "created" if new else "changed"

    def _labels(self, r: TaskRecord, c: Carrying, *, known: bool) -> tuple[str, ...]:
        said = [*r.tags, *([r.priority] if r.priority and not known else [])]
        labels = tuple(dict.fromkeys(x for t in said if (x := line_of(t, 80))))
        if len(labels) > MOST_LABELS:
            c.doubt("tags", ", ".join(labels), f"a task carries {MOST_LABELS} labels at most; the rest stand in the kept row")
        return labels[:MOST_LABELS]

    async def _place(self, name: str, w: Work, c: Carrying, task: Entity[Task, Event]) -> None:
        if task.state.project is not None:
            project = await w.find(PROJECT, task.state.project)
            if project.state.archived:
                w.record(project, projects.restore(project.state))
            return
        id = await self._projects.of(w, name, task, c)
        if id is not None:
            w.record(task, tasks.place(task.state, project=id))

    def _amend(
        self,
        r: TaskRecord,
        w: Work,
        c: Carrying,
        task: Entity[Task, Event],
        priority: Priority | None,
        labels: tuple[str, ...],
        assignee: UUID | None,
        organisation: UUID | None,
        contact: UUID | None,
    ) -> None:
        """What the row says now, as told; what it says nothing of stays, and so does what a person changed since."""
        now = task.state
        title = line_of(r.title, 300) or "Untitled"
        if not c.stays("title", now.title, title):
            w.record(task, tasks.retitle(task.state, title=title))
        if (text := text_of(r.description, 10_000)) is not None and not c.stays("description", now.description, text):
            w.record(task, tasks.describe(task.state, description=text))
        if (kind := line_of(r.type, 80)) and not c.stays("kind", now.kind, kind):
            w.record(task, tasks.classify(task.state, kind=kind))
        if priority is not None and not c.stays("priority", now.priority, priority):
            w.record(task, tasks.prioritise(task.state, priority=priority))
        new = tuple(x for x in labels if x not in task.state.labels)
        if new and not c.stays("labels", now.labels, (*now.labels, *new)):
            w.record(task, tasks.label(task.state, labels=(*task.state.labels, *new)[:MOST_LABELS]))
        if assignee is not None and assignee != task.state.assignee and not c.stays("assignee", now.assignee, assignee):
            w.record(task, tasks.recount(task.state, step="assign", assignee=assignee))
        if r.due is not None and not task.state.finished and not c.stays("due_at", now.due_at, r.due):
            w.record(task, tasks.change_due(task.state, due_at=r.due))
        if organisation is not None and task.state.organisation is None:
            w.record(task, tasks.link(task.state, what="organisation", target=organisation))
        if contact is not None and task.state.contact is None:
            w.record(task, tasks.link(task.state, what="contact", target=contact))

    def _told(self, s: Step, w: Work, task: Entity[Task, Event]) -> None:
        """One step of a log: always one event, under the source's own word."""
        step = step_of(s.lifecycle or "complete") if s.role == "task" else STEPS.get(s.role, "note")
        told = tasks.recount(
            task.state,
            step=step,
            activity=line_of(s.activity, 200),
            resource=line_of(s.by, 200),
            assignee=self._members.find(s.by) if step == "assign" else None,
            reason=text_of(s.reason, 1_000),
        )
        w.record(task, told, occurred_at=s.at)

    def _stays_where_it_is(self, r: TaskRecord, c: Carrying, now: Task) -> bool:
        """Whether somebody brought the task where it stands, and the row would bring it elsewhere."""
        match r.status:
            case "blocked":
                return c.stays("blocked", now.blocked, True)
            case "open":
                return c.stays("status", now.finished, False)
            case told:
                return c.stays("status", now.status, "in_progress" if told == "started" else told)

    def _stand(self, r: TaskRecord, w: Work, task: Entity[Task, Event]) -> None:
        """Bring a task of a table to where the table says it stands."""
        word = line_of(r.status_text, 200)

        def tell(step: Told, at: datetime | None) -> None:
            past = at if at is not None and at <= w.now + FAR else None
            w.record(task, tasks.recount(task.state, step=step, activity=word), occurred_at=past)

        status = task.state.status
        match r.status:
            case "open" if task.state.finished:
                tell("reopen", None)
            case "started" if status != "in_progress":
                tell("start", r.started_at)
            case "blocked" if not task.state.blocked:
                tell("block", r.started_at)
            case "completed" if status != "completed":
                if r.started_at is not None and status == "open":
                    tell("start", r.started_at)
                tell("complete", r.completed_at)
            case "cancelled" if status != "cancelled":
                tell("cancel", r.completed_at)
            case _:
                pass
