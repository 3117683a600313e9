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

import hashlib
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg

from commands.imports import fail_import, finish_import, resume_import, start_import
from commands.kernel import Actor, Work
from domain.imports import IMPORT, Import, Kind
from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.blobs import BlobStore
from infra.database import Database
from infra.imports import ImportFile, open_import
from infra.imports.into.consents import ConsentCarrier
from infra.imports.into.contacts import ContactCarrier
from infra.imports.into.deals import DealCarrier
from infra.imports.into.dependencies import DependencyCarrier, DependencyFile
from infra.imports.into.documents import DocumentCarrier
from infra.imports.into.kernel import Carrier, Names
from infra.imports.into.people import Members
from infra.imports.into.tasks import TaskCarrier
from infra.imports.keep import json_of
from infra.imports.maps import ImportMap
from infra.imports.reports import Pace, Plan, Progress, Report
from infra.imports.rows import FileDefect
from infra.imports.source import Limits
from infra.imports.underway import RowsUnderWay
from infra.record.bulk import HELPERS, Bulk, Task, paced
from infra.record.vault import Vault

SAMPLE = 5
MOST_RUNS = 100_000  # imports of one and the same file
UNSEEN: Mapping[Kind, tuple[str, ...]] = {
    "consents": (
        "Whether the firm has such contacts, purposes and notices, and whether somebody said no, is looked at when it is imported: such rows"
        " are rejected then.",
    )
}


class AlreadyRunning(Exception):
    """This file is being imported by another process. Wait for it, or stop it; then import the file again to go on."""


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
            pace = Pace("reading", progress)
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
                notes=(*file.notes, *UNSEEN.get(kind, ())),
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
            stack.enter_context(paced())
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
            pace = Pace("reading", progress)
            defect: FileDefect | None = None
            try:
                carrier = self._carrier(file, kind, names, members, named, project or named, pace, source)
                for step in carrier.prepare():
                    run_alone(bulk, step)
            except FileDefect as e:
                defect = e
            if defect is None:
                rest = RowsUnderWay(
                    self._c,
                    self._vault,
                    self._firm,
                    file,
                    carrier,
                    names,
                    import_id,
                    toml,
                    report,
                    stop or threading.Event(),
                    Pace("importing", progress),
                    overwrite=overwrite,
                )
                rest.run(bulk)
                defect = rest.defect
                report.status = "stopped" if rest.stopped else "finished"
            report.notes = (*file.notes, *members.notes(), *(carrier.notes if defect is None else ()))
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
        pace: Pace,
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
