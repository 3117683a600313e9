"""Dependencies between tasks out of a file of links: sound ones are recorded, one that closes a circle is refused and the circle named.

Tasks are found by their keys; a key that no import knew yet becomes a task called by it. Tasks without a project come into the one
named by the import. A link that makes nobody wait (a duplicate, a relation) stays in the row report and its kept row.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from commands.kernel import Entity, Work
from domain import projects, tasks
from domain.projects import PROJECT, DependencyCycle, add_dependency
from domain.projects.events import Dependency as Arrow
from domain.tasks import TASK, Task
from domain.tasks.events import Event
from infra.imports import links
from infra.imports.into.kernel import Carry, Carrying, Names, Outcome, RowUnusable, line_of, taken
from infra.imports.into.tasks import Projects
from infra.imports.links import Dependency, Fault, NoLinkColumns, Remark
from infra.imports.rows import FileDefect, Mapped, doubt, refusal
from infra.imports.source import Overlong, Progress, Source

KEYS = 200_000


class DependencyFile:
    """Links as rows, one by one."""

    def __init__(self, path: Path) -> None:
        self.form = "links"
        self.source = Source(path)
        head = self.source.head_text().split("\n", 1)[0]
        self._delimiter = max(",;\t|", key=head.count)
        self.columns = tuple(c.strip().strip('"') for c in head.split(self._delimiter))
        found = links.guess(self.columns)
        if found is None:
            raise FileDefect(
                "The header names no two columns of tasks",
                "a dependency joins a task and the one that waits for it",
                "Name them, for example, predecessor and successor",
            )
        self._found = found

    @property
    def notes(self) -> list[str]:
        return self.source.notes

    def progress(self) -> Progress:
        return self.source.progress()

    def map_toml(self) -> str:
        f = self._found
        named = {"source": f.source, "target": f.target, "word": f.word, "lag": f.lag}
        return "".join(f"{k} = {v!r}\n" for k, v in named.items() if v)

    def _lines(self) -> Iterator[str]:
        for line in self.source.lines():
            yield f"{line}\n" if isinstance(line, Overlong) else line

    def __iter__(self) -> Iterator[Mapped[Any]]:
        try:
            for number, x in enumerate(links.read(self._lines(), delimiter=self._delimiter), 1):
                match x:
                    case Fault():
                        error = refusal(x.line, x.field, x.value, x.reason)
                        yield Mapped(
                            line=x.line,
                            number=number,
                            record=None,
                            source={"line": x.line, x.field or "text": x.value},
                            errors=(error,),
                        )
                    case Remark():
                        error = doubt(
                            x.line, self._found.word or "", x.word, "this link makes nobody wait; it was kept with the row"
                        )
                        yield Mapped(
                            line=x.line, number=number, record=x, source=_said(x.source, x.target, x.word), errors=(error,)
                        )
                    case Dependency():
                        source = _said(x.predecessor, x.successor, x.word) | {"type": x.type, "lag": x.lag, "inverse": x.inverse}
                        yield Mapped(line=x.line, number=number, record=x, source=source)
        except NoLinkColumns as e:
            raise FileDefect("The file holds no links", str(e), "Name the columns source and target") from e


def _said(source: str, target: str, word: str) -> dict[str, Any]:
    return {"from": source, "to": target, "link": word}


def looks_like_links(path: Path) -> bool:
    """Whether the file's header is that of links between tasks, and of nothing more."""
    try:
        columns = DependencyFile(path).columns
    except FileDefect:
        return False
    return len(columns) <= 6


class DependencyCarrier:
    notes: Sequence[str] = ()

    def __init__(self, names: Names, source: str, project: str, file: DependencyFile, shown: str | None = None) -> None:
        self._names = names
        self._source = source
        self._shown = shown
        self._project = project
        self._file = file
        self._projects = Projects(names)
        self._called: OrderedDict[UUID, str] = OrderedDict()

    def prepare(self) -> Iterable[Callable[[Work], Awaitable[None]]]:
        return ()

    def _ends(self, x: Dependency | Remark) -> tuple[str, str]:
        return (x.predecessor, x.successor) if isinstance(x, Dependency) else (x.source, x.target)

    def names(self, row: Mapped[Any]) -> Iterable[UUID]:
        for key in self._ends(taken(row)):
            yield self._names.key("task", key)

    def _task(self, key: str) -> UUID:
        named = self._names.key("task", key)
        found = self._names.find(named)
        if found is None:
            self._names.claim(named, self._names.id("task", "", key))
            found = self._names.find(named)
        id = found[0] if found else self._names.id("task", "", key)
        self._called[id] = key
        if len(self._called) > KEYS:
            self._called.popitem(last=False)
        return id

    def place(self, row: Mapped[Any]) -> Carry:
        x: Dependency | Remark = taken(row)
        first, second = self._ends(x)
        if isinstance(x, Remark):
            id = self._names.id("link", self._source, first, second, x.word)

            async def nothing(_w: Work, _c: Carrying) -> Outcome:
                return "unchanged"

            return Carry(stream=TASK, id=self._task(first), source_key=id, subject=self._task(first), run=nothing)
        before, after = self._task(first), self._task(second)
        id = self._names.id("dependency", str(before), str(after), x.type)

        async def run(w: Work, c: Carrying) -> Outcome:
            return await self._dependency(x, w, c, id, before, after)

        reads: list[Any] = [(TASK, before), (TASK, after)]
        key = self._names.id("dependency-row", self._source, str(before), str(after), x.type, x.word)
        return Carry(stream=PROJECT, id=self._projects.id(self._project, 1), source_key=key, subject=before, run=run, reads=reads)

    async def _dependency(self, x: Dependency, w: Work, c: Carrying, id: UUID, before: UUID, after: UUID) -> Outcome:
        if before == after:
            raise RowUnusable("A task can't depend on itself.")
        ends = [await self._ensure(w, c, i, key) for i, key in ((before, x.predecessor), (after, x.successor))]
        held = {t.state.project for t in ends} - {None}
        if len(held) > 1:
            raise RowUnusable("The two tasks stand in different projects. A dependency joins tasks of one project.")
        project_id = next(iter(held), None)
        for t in ends:
            if t.state.project is None:
                if project_id is None:
                    project_id = await self._projects.of(w, self._project, t, c)
                else:
                    into = await w.load(PROJECT, project_id)
                    w.record(into, projects.add_tasks(into.state, tasks=(t.id,)))
                if project_id is None:
                    raise RowUnusable("There are too many tasks for one project. Name another with --project.")
                w.record(t, tasks.place(t.state, project=project_id))
        if project_id is None:
            raise RowUnusable("The tasks could not be placed in a project.")
        project = await w.load(PROJECT, project_id)
        if project.state.archived and c.undone:
            w.record(project, projects.restore(project.state))
        same = project.state.dependencies.get(id)
        if same is not None:
            if same.lag == x.lag:
                return "changed" if w.made else "unchanged"
            w.record(project, projects.change_lag(project.state, dependency=same.id, lag=x.lag))
            return "changed"
        try:
            added = add_dependency(
                project.state, dependency=Arrow(id=id, predecessor=before, successor=after, type=x.type, lag=x.lag)
            )
        except DependencyCycle as e:
            circle = " → ".join(self._called.get(t, str(t)) for t in e.cycle)
            raise RowUnusable(
                f"The dependency closes a circle: {circle} → {self._called.get(e.cycle[0], '') if e.cycle else ''}."
                " Each waits for the one before it. Take another dependency of the circle away first."
            ) from None
        w.record(project, added)
        return "created" if added else "unchanged"

    async def _ensure(self, w: Work, c: Carrying, id: UUID, key: str) -> Entity[Task, Event]:
        task = await w.find(TASK, id)
        if not task.state.exists:
            made = tasks.create(
                task.state, title=line_of(key, 300) or "?", source=line_of(self._shown, 200), source_id=line_of(key, 300)
            )
            w.record(task, made)
        elif task.state.archived and c.undone:
            w.record(task, tasks.restore(task.state))
        return task
