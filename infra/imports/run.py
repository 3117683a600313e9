"""The importer: a file or folder of another system carried into a firm's record, row by row.

    with Importer(database, vault, blobs, firm=firm, actor=actor) as importer:
        plan = importer.look(path, "deals")            # writes nothing: the map, a sample, counts
        report = importer.carry(path, "deals", progress=print)

RUN1  A row that can't be carried is reported and never stops the file; a file that can't be read is refused in one sentence.
RUN2  Every source row is kept with what became of it, sealed under its subject's key.
RUN3  Importing the same file again changes nothing. A row that says something else than before amends, but for what a person changed
      since: that stays and is reported. A log that has grown adds only what is new.
RUN4  An import that was interrupted is taken up by importing the same file again in the same way: each row is carried once.
RUN5  Every event of an import has its origin; those of the file have the file's own times.
RUN6  Memory does not grow with the file.
RUN7  One import of a file runs at a time.
"""

import gc
import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

import psycopg
from pydantic import ValidationError

from commands.imports import fail_import, finish_import, resume_import, start_import
from commands.kernel import Actor, Work
from domain.imports import IMPORT, Import, Kind
from domain.kernel import FirmId, Refused
from domain.members import ALL_PERMISSIONS
from infra.blobs import BlobStore
from infra.database import Database
from infra.imports import ImportFile, open_import
from infra.imports.edited import Edited
from infra.imports.into.consents import ConsentCarrier
from infra.imports.into.contacts import ContactCarrier, ErasedPerson
from infra.imports.into.deals import DealCarrier
from infra.imports.into.dependencies import DependencyCarrier, DependencyFile
from infra.imports.into.documents import DocumentCarrier
from infra.imports.into.kernel import Carrier, Carry, Carrying, Names, Outcome, RowUnusable
from infra.imports.into.people import Members
from infra.imports.into.tasks import TaskCarrier
from infra.imports.keep import KeptRow, RowStore, json_of
from infra.imports.maps import ImportMap
from infra.imports.rows import FileDefect, Mapped, RowError, refusal
from infra.imports.source import Limits
from infra.record.bulk import HELPERS, Bulk, Task
from infra.record.execute import now
from infra.record.vault import Vault

CHUNK = 500  # rows that are looked up, and kept, together
EACH = 0.25  # seconds between two words of progress
SAMPLE = 5
MOST_RUNS = 100_000  # imports of one and the same file

Phase = Literal["reading", "importing"]


class AlreadyRunning(Exception):
    """This file is being imported by another process. Wait for it, or stop it; then import the file again to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is: rows done, bytes read of how many, rows a second, seconds left (None while unknown)."""

    phase: Phase
    rows: int
    read: int
    total: int
    rate: float
    left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an import would do: the file's form and map, a sample of what is read, and counts of all rows."""

    kind: Kind
    form: str
    source: str
    map: str
    guessed: bool
    fields: Sequence[tuple[str, str, str]]
    sample: Sequence[Mapping[str, Any]]
    rows: int
    rejected: int
    issues: int
    reasons: Mapping[str, int]
    notes: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Report:
    """What an import did. `status` is finished, failed or stopped; `reasons` counts what was said about rows, by field and reason."""

    import_id: UUID
    kind: Kind
    form: str
    source: str
    status: Literal["finished", "failed", "stopped"] = "finished"
    resumed: bool = False
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    issues: int = 0
    events: int = 0
    seconds: float = 0.0
    reason: str | None = None
    notes: tuple[str, ...] = ()
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return self.created + self.changed + self.unchanged + self.rejected

    def count(self, outcome: Outcome, issues: int = 0) -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)
        self.issues += issues

    def remark(self, issues: Sequence[RowError]) -> None:
        for e in issues:
            what = f"{e.field}: {e.reason}" if e.field else e.reason
            if what in self.reasons or len(self.reasons) < 200:
                self.reasons[what] += 1


@dataclass(slots=True)
class _Row:
    """A row under way: where it goes, and what its last run said about it."""

    mapped: Mapped[Any]
    carry: Carry
    digest: bytes
    carrying: Carrying


class Importer:
    """Imports into one firm. Used from one thread; runs for as long as the file needs. Close it to let its connections go."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        blobs: BlobStore,
        *,
        firm: FirmId,
        actor: Actor,
        limits: Limits | None = None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._blobs = blobs
        self._firm = firm
        self._actor = actor
        self._limits = limits
        self._c: psycopg.Connection[Any] = database.connect("record")
        # what is written here is either found again by replaying the commands, or stands before them in the same log of the database
        self._c.execute("SET synchronous_commit = off")
        self._rows = RowStore(self._c, vault, firm)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._c.close()

    # --- looking

    def look(
        self,
        path: Path,
        kind: Kind,
        *,
        map: ImportMap | None = None,
        log: bool | None = None,
        source: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Plan:
        """Read everything and write nothing. Raises FileDefect."""
        with ExitStack() as stack:
            file = self._open(stack, path, kind, map, log)
            fields = file.explained() if isinstance(file, ImportFile) else []
            report = Report(import_id=UUID(int=0), kind=kind, form=file.form, source=source or source_name(path))
            sample: list[Mapping[str, Any]] = []
            pace = _Pace("reading", progress)
            for row in file:
                report.count("rejected" if row.record is None else "created", len(row.errors))
                report.remark(row.errors)
                if row.record is not None and len(sample) < SAMPLE:
                    sample.append(row.source)
                pace.say(report.rows, file)
            return Plan(
                kind=kind,
                form=file.form,
                source=report.source,
                map=file.map_toml(),
                guessed=isinstance(file, ImportFile) and file.map.guessed,
                fields=fields,
                sample=sample,
                rows=report.rows,
                rejected=report.rejected,
                issues=report.issues,
                reasons=dict(report.reasons.most_common()),
                notes=tuple(file.notes),
            )

    # --- carrying

    def carry(
        self,
        path: Path,
        kind: Kind,
        *,
        map: ImportMap | None = None,
        log: bool | None = None,
        source: str | None = None,
        project: str | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
        overwrite: bool = False,
    ) -> Report:
        """Carry the file. With `overwrite`, rows also replace what people changed since.

        Raises FileDefect when it can't be opened at all, AlreadyRunning when another process carries it.
        """
        began = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(_collected_seldom())
            file = self._open(stack, path, kind, map, log)
            named = source or source_name(path)
            toml = file.map_toml()
            options = {"source": named} | ({"project": project} if project else {}) | ({"log": str(log)} if log is not None else {})
            options |= {"overwrite": "true"} if overwrite else {}
            sha256, size = (_sha256(path), path.stat().st_size) if path.is_file() else ("", 0)
            said = hashlib.sha256(json_of([kind, options, toml, sha256 or str(path.resolve())])).hexdigest()
            import_id, state = self._id(said, stack)
            report = Report(import_id=import_id, kind=kind, form=file.form, source=named, resumed=state.status == "running")
            bulk = stack.enter_context(
                Bulk(
                    self._database,
                    self._vault,
                    firm=self._firm,
                    actor=self._actor,
                    origin=f"import/{import_id}",
                    permissions=ALL_PERMISSIONS,
                    ports={"blobs": self._blobs},
                    helpers=HELPERS,
                )
            )
            names = Names(self._c, self._vault, self._firm)
            members = Members(self._c, self._vault, self._firm)
            guessed = isinstance(file, ImportFile) and file.map.guessed
            before = self._carried(import_id)

            async def begin(w: Work) -> None:
                await start_import(
                    w,
                    import_id,
                    kind=kind,
                    form=file.form,
                    source=named[:200],
                    size=size,
                    sha256=sha256,
                    file_name=path.name[:255].encode(errors="replace").decode(),
                    map=toml,
                    guessed=guessed,
                    options={k: v[:200] for k, v in options.items()},
                )
                if report.resumed:
                    await resume_import(w, import_id, rows=before)

            run_alone(bulk, begin)
            pace = _Pace("reading", progress)
            defect: FileDefect | None = None
            try:
                carrier = self._carrier(file, kind, names, members, named, project or named, pace, source)
                for step in carrier.prepare():
                    run_alone(bulk, step)
            except FileDefect as e:
                defect = e
            if defect is None:
                rest = _Rows(
                    self,
                    file,
                    carrier,
                    names,
                    import_id,
                    toml,
                    report,
                    stop or threading.Event(),
                    _Pace("importing", progress),
                    overwrite=overwrite,
                )
                rest.run(bulk)
                defect = rest.defect
                report.status = "stopped" if rest.stopped else "finished"
            report.notes = (*file.notes, *members.notes(), *(carrier.notes if defect is None and hasattr(carrier, "notes") else ()))
            report.events = self._events(import_id)
            if defect is not None:
                reason = str(defect)
                report.status, report.reason = "failed", reason
                run_alone(bulk, lambda w: fail_import(w, import_id, reason=reason, rows=report.rows))
            elif report.status == "finished":

                async def end(w: Work) -> None:
                    await finish_import(
                        w,
                        import_id,
                        created=report.created,
                        changed=report.changed,
                        unchanged=report.unchanged,
                        rejected=report.rejected,
                        issues=report.issues,
                        events=report.events,
                        notes=tuple(n.encode(errors="replace").decode() for n in report.notes),
                    )

                run_alone(bulk, end)
            report.seconds = time.monotonic() - began
            return report

    def _open(self, stack: ExitStack, path: Path, kind: Kind, map: ImportMap | None, log: bool | None) -> Any:
        if kind == "documents":
            return stack.enter_context(DocumentCarrier.open(path))
        if path.is_dir():
            raise FileDefect(
                "This is a folder", f"{kind} are read from a file", "Name the file, or use `chancery import documents`"
            )
        if kind == "dependencies":
            return DependencyFile(path)
        return stack.enter_context(open_import(path, kind, map=map, log=log, limits=self._limits))

    def _carrier(
        self,
        file: Any,
        kind: Kind,
        names: Names,
        members: Members,
        source: str,
        project: str,
        pace: "_Pace",
        shown: str | None,
    ) -> Carrier:
        match kind:
            case "contacts":
                return ContactCarrier(names, members, source, file)
            case "consents":
                return ConsentCarrier(names, source, self._c, self._firm)
            case "deals":
                return DealCarrier(names, members, source, file, self._c, self._firm, lambda rows: pace.say(rows, file), shown)
            case "tasks":
                return TaskCarrier(names, members, source, file, shown)
            case "dependencies":
                return DependencyCarrier(names, source, project, file, shown)
            case "documents":
                return DocumentCarrier(names, source, self._blobs, self._firm)

    def _id(self, said: str, stack: ExitStack) -> tuple[UUID, Import]:
        """The import that this run is: the interrupted one of the same file and options, else a new one; locked while it runs."""
        for n in range(1, MOST_RUNS):
            id = self._vault.derive_id(self._firm, "import-run", said, str(n))
            state = self._state(id)
            if state.status in {None, "running"}:
                lock = lock_of(id)
                if not (self._c.execute("SELECT pg_try_advisory_lock(%s)", (lock,)).fetchone() or (False,))[0]:
                    raise AlreadyRunning
                stack.callback(self._unlock, lock)
                return id, self._state(id)
        raise FileDefect("This file was imported too often", f"{MOST_RUNS:,} times", "Rename the source with --source")

    def _unlock(self, lock: int) -> None:
        with suppress(psycopg.Error):  # a broken connection holds no lock any more
            self._c.execute("SELECT pg_advisory_unlock(%s)", (lock,))

    def _state(self, id: UUID) -> Import:
        with Bulk(self._database, self._vault, firm=self._firm, actor=self._actor) as bulk:
            found: list[Import] = []

            async def read(w: Work) -> None:
                found.append((await w.find(IMPORT, id)).state)

            run_alone(bulk, read)
            return found[-1]

    def _carried(self, import_id: UUID) -> int:
        row = self._c.execute(
            "SELECT count(*) FROM chancery.import_rows WHERE firm_id = %s AND import_id = %s", (self._firm, import_id)
        ).fetchone()
        return int(row[0]) if row else 0

    def _events(self, import_id: UUID) -> int:
        row = self._c.execute(
            "SELECT count(*) FROM record.events WHERE firm_id = %(f)s AND firm_position >= coalesce((SELECT min(firm_position)"
            " FROM record.events WHERE firm_id = %(f)s AND stream_id = %(i)s), 0) AND position(%(o)s::bytea IN public) > 0",
            {"f": self._firm, "i": import_id, "o": origin_bytes(import_id)},
        ).fetchone()
        return int(row[0]) if row else 0


def lock_of(import_id: UUID) -> int:
    """The advisory lock that an import holds while it runs or is undone."""
    return int.from_bytes(import_id.bytes[:8], "big", signed=True)


def origin_bytes(import_id: UUID) -> bytes:
    """What stands in the leaf of every event of an import, and in no other: a quotation mark inside a value is escaped."""
    return f'"origin":"import/{import_id}"'.encode()


class _Rows:
    """The rows of a file on their way, and the count of them."""

    def __init__(
        self,
        importer: Importer,
        file: Any,
        carrier: Carrier,
        names: Names,
        import_id: UUID,
        toml: str,
        report: Report,
        stop: threading.Event,
        pace: "_Pace",
        *,
        overwrite: bool,
    ) -> None:
        self._overwrite = overwrite
        self._edited = Edited(importer._c, importer._vault, importer._firm)  # noqa: SLF001
        self._file = file
        self._carrier = carrier
        self._names = names
        self._store = importer._rows  # noqa: SLF001 - one mechanism in two classes
        self._vault = importer._vault  # noqa: SLF001
        self._firm = importer._firm  # noqa: SLF001
        self._import_id = import_id
        self._map = hashlib.sha256(toml.encode(errors="replace")).digest()
        self._report = report
        self._stop = stop
        self._pace = pace
        self._kept: list[KeptRow] = []
        self._resumed = report.resumed
        self.defect: FileDefect | None = None
        self.stopped = False

    def run(self, bulk: Bulk) -> None:
        for outcome in bulk.run(self._tasks()):
            row: _Row = outcome.task.label
            if outcome.failed is not None:
                # what can't be written for a reason of its own is that row's; anything else stops the import where it stands
                why = " ".join((type(outcome.failed).__doc__ or "The row could not be written.").split())
                self._keep(row.mapped, "rejected", [*row.mapped.errors, refusal(row.mapped.line, "", "", why)])
            elif outcome.refused is not None:
                why = _sentence(outcome.refused)
                erased = isinstance(outcome.refused, ErasedPerson)  # of them nothing is kept, the row least of all
                mapped = replace(row.mapped, source={}, errors=()) if erased else row.mapped
                self._keep(mapped, "rejected", [*mapped.errors, refusal(mapped.line, "", "", why)])
            else:
                issues = row.carrying.issues
                if outcome.replayed:
                    issues = [RowError(i["line"], i["field"], "", i["reason"]) for i in outcome.answer["issues"]]
                self._keep(row.mapped, outcome.answer["outcome"], [*row.mapped.errors, *issues], row)
        self._flush()
        self._pace.say(self._report.rows, self._file, at_once=True)

    def _tasks(self) -> Iterator[Task]:
        rows = self._source()
        while chunk := list(islice(rows, CHUNK)):
            if self._stop.is_set():
                self.stopped = True
                return
            if self._resumed:
                chunk = self._not_yet(chunk)
            self._names.fetch(k for m in chunk if m.record is not None for k in self._carrier.names(m))
            placed: list[tuple[Mapped[Any], Carry]] = []
            for m in chunk:
                if m.record is None:
                    self._keep(m, "rejected", m.errors)
                    continue
                try:
                    placed.append((m, self._carrier.place(m)))
                except Refused as e:
                    self._keep(m, "rejected", [*m.errors, refusal(m.line, "", "", _sentence(e))])
            self._names.flush()
            priors = self._store.latest([c.source_key for _, c in placed])
            again = [(c.stream.type, c.id) for _, c in placed if (p := priors.get(c.source_key)) is not None and not p.undone]
            edited = {} if self._overwrite else self._edited.of(again)
            for m, c in placed:
                digest = self._vault.mac(
                    self._firm, "import-row", self._map + c.rests_on.encode(errors="replace") + json_of(m.source)
                )
                prior = priors.get(c.source_key)
                if prior is not None and prior.digest == digest and not prior.undone and not self._overwrite:
                    self._keep(m, "unchanged", m.errors, _Row(m, c, digest, Carrying(m.line)))
                    continue
                row = _Row(m, c, digest, Carrying(m.line, prior, edited=edited.get(c.id, frozenset())))
                yield Task(run=self._runner(row), key=f"import/{self._import_id}/{m.number}", said=digest, reads=c.reads, label=row)
            self._pace.say(self._report.rows, self._file)

    def _runner(self, row: _Row) -> Callable[[Work], Awaitable[Mapping[str, object]]]:
        async def run(w: Work) -> Mapping[str, object]:
            carrying = Carrying(row.carrying.line, row.carrying.prior, edited=row.carrying.edited)
            try:
                outcome = await row.carry.run(w, carrying)
            except ValidationError as bad:
                first = bad.errors(include_url=False, include_context=False, include_input=False)[0]
                raise RowUnusable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
            row.carrying = carrying
            return {"outcome": outcome, "issues": [{"line": e.line, "field": e.field, "reason": e.reason} for e in carrying.issues]}

        return run

    def _source(self) -> Iterator[Mapped[Any]]:
        """The rows; a defect of the file ends them, so that what is under way still lands."""
        try:
            yield from self._file
        except FileDefect as e:
            self.defect = e

    def _not_yet(self, chunk: list[Mapped[Any]]) -> list[Mapped[Any]]:
        """Those rows that an earlier run of this import has not kept; the others are counted as they were."""
        done = self._store.carried(self._import_id, chunk[0].number, chunk[-1].number)
        for outcome, issues in done.values():
            self._report.count(outcome, issues)
        return [m for m in chunk if m.number not in done]

    def _keep(self, m: Mapped[Any], outcome: Outcome, issues: Sequence[RowError], row: _Row | None = None) -> None:
        self._report.count(outcome, len(issues))
        self._report.remark(issues)
        self._kept.append(
            KeptRow(
                number=m.number,
                line=m.line,
                outcome=outcome,
                source=m.source,
                issues=issues,
                subject=row.carry.subject if row else self._import_id,
                stream_type=row.carry.stream.type if row else None,
                stream_id=row.carry.id if row else None,
                source_key=row.carry.source_key if row else None,
                digest=row.digest if row else None,
            )
        )
        if len(self._kept) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        self._store.add(self._import_id, self._kept, now())
        self._kept.clear()


class _Pace:
    """Says how far it is, some times a second."""

    def __init__(self, phase: Phase, progress: Callable[[Progress], None] | None) -> None:
        self._phase = phase
        self._progress = progress
        self._began = self._said = time.monotonic()

    def say(self, rows: int, file: Any, *, at_once: bool = False) -> None:
        at = time.monotonic()
        if self._progress is None or (at - self._said < EACH and not at_once):
            return
        self._said = at
        read, total = file.progress().read, file.progress().total
        spent = max(at - self._began, 1e-6)
        left = spent * (total - read) / read if read else None
        self._progress(Progress(phase=self._phase, rows=rows, read=read, total=total, rate=rows / spent, left=left))


@contextmanager
def _collected_seldom() -> Iterator[None]:
    """Millions of short-lived values and a large memory of live ones: the default pace of the collector costs a fifth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def run_alone(bulk: Bulk, step: Callable[[Work], Awaitable[None]]) -> None:
    """One command by itself; a refusal is raised."""

    async def run(w: Work) -> Mapping[str, object]:
        await step(w)
        return {}

    for outcome in bulk.run([Task(run=run)]):
        if outcome.refused is not None:
            raise outcome.refused
        if outcome.failed is not None:
            raise outcome.failed


def _sentence(refused: Refused) -> str:
    """Why a row was refused, with what the refusal is about."""
    about = "; ".join(f"{k}: {', '.join(map(str, v)) if isinstance(v, list | tuple) else v}" for k, v in refused.about.items())
    return (f"{refused.why} ({about})" if about else refused.why)[:4_000]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_TAIL = re.compile(r"(?:[\s._-]+v?\d[\d\s._:t-]*|\s*\(\d+\))$")


def source_name(path: Path) -> str:
    """What the file is an export of, going by its name: `contacts-2024-05-01 (2).csv.gz` and `contacts.csv` are both `contacts`."""
    stem = path.name.lower() if path.is_dir() else re.sub(r"(\.[a-z0-9]{1,12}){1,2}$", "", path.name.lower())
    while (shorter := _TAIL.sub("", stem)) != stem and shorter:
        stem = shorter
    return stem.strip(" ._-") or path.name.lower()
