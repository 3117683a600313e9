"""Taking an import back: by new events, and only what nobody has touched since.

U1  What the import created and nobody else has changed since is archived (notes and relations are removed, fields retired).
U2  What was there before the import and was amended by it is put back, row by row, the last first; all that a row did, or none of it.
    What somebody changed later is kept, and listed with the later event.
U3  An undo that was interrupted goes on where it stood when it is begun again; a second undo is refused.
U4  Of consents, those that the import gave and that still stand on it are declared invalid from their beginning; what has changed since
    stays, and so does every no: no undo turns a refusal or a withdrawal into something else.
U5  The kept rows stay, marked; the same file can be imported again and takes its records out of the archive.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg

from commands.imports import finish_undo, start_undo
from commands.kernel import Actor, Work
from commands.undo import ChangedSince, Done, plan
from domain import consent, contacts, deals, documents, fields, folders, notes, organisations, pipelines, projects, relations, tasks
from domain.consent import CONSENT
from domain.consent.words import Capture, Link, RecordId
from domain.contacts import CONTACT
from domain.deals import DEAL
from domain.documents import DOCUMENT
from domain.fields import FIELD
from domain.folders import FOLDER
from domain.imports import IMPORT, ImportIsUndone, ImportRuns
from domain.kernel import FirmId, NotFound, Refused, Stream
from domain.members import ALL_PERMISSIONS
from domain.notes import NOTE
from domain.organisations import ORGANISATION
from domain.pipelines import DEFAULT, PIPELINE
from domain.projects import PROJECT
from domain.relations import RELATION
from domain.tasks import TASK
from infra.database import Database, letting_go
from infra.imports.run import lock_of, origin_bytes, run_alone
from infra.record.bulk import Bulk, Task
from infra.record.reader import SELECT_STREAM, EventRow, decode, fetch_keys
from infra.record.vault import Vault
from projections.kernel import Recorded

PAGE = 1_000
LISTED = 1_000

TAKE_BACK: Mapping[str, tuple[Stream[Any, Any], Callable[[Any, str], Sequence[Any]]]] = {
    "contact": (CONTACT, lambda s, why: contacts.archive(s, reason=why)),
    "organisation": (ORGANISATION, lambda s, why: organisations.archive(s, reason=why)),
    "relation": (RELATION, lambda s, why: relations.remove(s, reason=why)),
    "note": (NOTE, lambda s, _why: notes.remove(s)),
    "deal": (DEAL, lambda s, why: deals.archive(s, reason=why)),
    "task": (TASK, lambda s, _why: tasks.archive(s)),
    "project": (PROJECT, lambda s, _why: projects.archive(s)),
    "document": (DOCUMENT, lambda s, why: documents.archive(s, reason=why)),
    "folder": (FOLDER, lambda s, why: folders.archive(s, reason=why)),
    "field": (FIELD, lambda s, why: fields.retire(s, reason=why)),
    "pipeline": (PIPELINE, lambda s, why: pipelines.archive(s, reason=why)),
}
ASIDE = frozenset(("import", "pipeline_default", "folder_tree", "consent"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A record that stays as it is, and why: the later event, when there is one."""

    stream_type: str
    stream_id: UUID
    why: str
    event: str | None = None
    by: str | None = None
    at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class UndoReport:
    """What an undo takes back, puts back to what it was, and keeps, by kind of record; `kept` lists the first thousand."""

    import_id: UUID
    done: bool = False
    taken_back: Counter[str] = field(default_factory=Counter)
    put_back: Counter[str] = field(default_factory=Counter)
    kept_counts: Counter[str] = field(default_factory=Counter)
    kept: list[Kept] = field(default_factory=list)

    def keep(self, k: Kept) -> None:
        self.kept_counts[k.stream_type] += 1
        if len(self.kept) < LISTED:
            self.kept.append(k)


def undo(
    database: Database,
    vault: Vault,
    *,
    firm: FirmId,
    actor: Actor,
    import_id: UUID,
    reason: str | None = None,
    preview: bool = False,
) -> UndoReport:
    """Take an import back, or say what that would do. Raises NotFound, ImportRuns, ImportIsUndone."""
    with (
        database.connect("record") as c,
        letting_go(c),
        database.connect("record") as looking,
        Bulk(
            database,
            vault,
            firm=firm,
            actor=actor,
            origin=f"import/{import_id}/undo",
            permissions=ALL_PERMISSIONS,
            ports={"past": (past := _Past(looking, vault))},
        ) as bulk,
    ):
        return _Undo(c, bulk, firm, import_id, past).run(reason, preview=preview)


class ConsentStays(Refused):
    """Nothing that the import gave stands on it any more, or what it recorded was a no, which stays."""


class OnlyLooking(Refused):
    """Nothing is recorded by looking."""


class _Past:
    """The record as `commands.undo` looks back on it, read at once: what a bulk run awaits may not wait."""

    def __init__(self, connection: psycopg.Connection[Any], vault: Vault) -> None:
        self._c = connection
        self._vault = vault
        self.done: dict[UUID, Sequence[Done]] = {}

    async def of_command(self, _firm: UUID, command_id: UUID) -> Sequence[Done]:
        return self.done.get(command_id, ())

    async def stream(self, firm: UUID, type: str, id: UUID) -> Sequence[Recorded]:
        rows = [EventRow(*r) for r in self._c.execute(SELECT_STREAM, (firm, id, type, 0), binary=True).fetchall()]
        keys = fetch_keys(self._c, self._vault, rows)
        return [decode(row, self._vault, keys) for row in rows]


def _kept(stream_type: str, id: UUID, refused: Refused) -> Kept:
    """A refusal of an undo, as the report says it."""
    about = refused.about
    at = about.get("occurred_at")
    return Kept(
        stream_type=stream_type,
        stream_id=id,
        why="it was changed since" if isinstance(refused, ChangedSince) else str(about.get("because") or refused.why),
        event=str(about["event"]) if "event_id" in about and "actor" in about else None,
        by=str(about["actor"]) if "actor" in about else None,
        at=datetime.fromisoformat(at) if isinstance(at, str) else None,
    )


class _Undo:
    def __init__(self, c: psycopg.Connection[Any], bulk: Bulk, firm: FirmId, import_id: UUID, past: _Past) -> None:
        self._c = c
        self._past = past
        self._bulk = bulk
        self._firm = firm
        self._id = import_id
        self._report = UndoReport(import_id=import_id)
        self._mine = (origin_bytes(import_id), f'"origin":"import/{import_id}/undo"'.encode())

    def run(self, reason: str | None, *, preview: bool) -> UndoReport:
        found: list[Any] = []

        async def look(w: Work) -> None:
            found.append(await w.load(IMPORT, self._id))

        run_alone(self._bulk, look)
        if found[-1].state.status == "undone":
            raise ImportIsUndone
        lock = lock_of(self._id)
        if not (self._c.execute("SELECT pg_try_advisory_lock(%s)", (lock,)).fetchone() or (False,))[0]:
            raise ImportRuns
        span = self._c.execute(
            "SELECT min(firm_position), (SELECT firm_position FROM record.firm_heads WHERE firm_id = %(f)s) FROM record.events"
            " WHERE firm_id = %(f)s AND stream_id = %(i)s",
            {"f": self._firm, "i": self._id},
        ).fetchone()
        if span is None or span[0] is None:
            raise NotFound(kind="imports", id=str(self._id))
        first, end = span
        if not preview:
            run_alone(self._bulk, lambda w: start_undo(w, self._id, reason=reason))
        why = reason or "The import was undone"
        self._put_back(first, end, why, preview=preview)
        self._consents(first, end, preview=preview)
        # pipelines come last: one stays where a deal stays in it
        for late in (False, True):
            for created in self._created(first, end, late=late):
                if preview:
                    self._report.taken_back.update(t for t, _ in created)
                else:
                    self._take_back(created, why)
        if not preview:
            taken, kept = (self._report.taken_back + self._report.put_back).total(), self._report.kept_counts.total()
            run_alone(self._bulk, lambda w: finish_undo(w, self._id, taken_back=taken, kept=kept))
            self._report.done = True
        return self._report

    def _put_back(self, first: int, end: int, why: str, *, preview: bool) -> None:
        """Undo what rows did to records that were there before."""
        for commands in self._amending(first, end):
            tasks = []
            for command, done in commands:
                self._past.done[command] = [d for d, _ in done]
                label = next((d.stream_type, d.stream_id) for d, before in done if before)
                key = None if preview else f"import/{self._id}/undo/{command}"
                tasks.append(Task(run=self._putting_back(command, why, preview=preview), key=key, label=label))
            back: list[UUID] = []
            stay: list[tuple[UUID, str]] = []
            for outcome in self._bulk.run(tasks):
                stream_type, id = outcome.task.label
                if outcome.failed is not None:
                    raise outcome.failed
                if outcome.refused is None or isinstance(outcome.refused, OnlyLooking):
                    self._report.put_back[stream_type] += 1
                    back.append(id)
                else:
                    kept = _kept(stream_type, id, outcome.refused)
                    self._report.keep(kept)
                    stay.append((id, f"{kept.why}: {kept.event}" if kept.event else kept.why))
            self._past.done.clear()
            if not preview:
                self._mark(back, stay)

    def _consents(self, first: int, end: int, *, preview: bool) -> None:
        """Declare invalid what the import gave and what still stands on it; the rest stays, and is listed."""
        after = first - 1
        while True:
            rows = self._c.execute(
                "SELECT stream_id, max(firm_position), array_agg(convert_from(public, 'UTF8')::jsonb #>> '{data,record_id}') FROM record.events"
                " WHERE firm_id = %s AND firm_position >= %s AND firm_position <= %s AND stream_type = 'consent'"
                " AND position(%s::bytea IN public) > 0 GROUP BY stream_id HAVING max(firm_position) > %s ORDER BY 2 LIMIT %s",
                (self._firm, first, end, self._mine[0], after, PAGE),
            ).fetchall()
            if not rows:
                return
            after = rows[-1][1]
            back: list[UUID] = []
            stay: list[tuple[UUID, str]] = []
            tasks = (
                Task(
                    run=self._ending(id, frozenset(acts), preview=preview),
                    key=None if preview else f"import/{self._id}/undo/consent/{id}",
                    reads=[(CONSENT, id)],
                    label=id,
                )
                for id, _, acts in rows
            )
            for outcome in self._bulk.run(tasks):
                id = outcome.task.label
                if outcome.failed is not None:
                    raise outcome.failed
                if outcome.refused is None or isinstance(outcome.refused, OnlyLooking):
                    self._report.put_back["consent"] += 1
                    back.append(id)
                else:
                    self._report.keep(_kept("consent", id, outcome.refused))
                    stay.append((id, outcome.refused.why))
            if not preview:
                self._mark(back, stay)

    def _ending(self, id: UUID, acts: frozenset[str], *, preview: bool) -> Callable[[Work], Awaitable[Mapping[str, object]]]:
        async def run(w: Work) -> Mapping[str, object]:
            chain = await w.load(CONSENT, id)
            standing = [
                (channel, s.grant)
                for key, channel in chain.state.marks
                if (s := chain.state.at(key, channel, w.now)).valid and s.grant is not None and str(s.grant.record_id) in acts
            ]
            if not standing:
                raise ConsentStays
            if preview:
                raise OnlyLooking
            for channel, grant in standing:
                capture = Capture(
                    controller=w.firm, actor=w.actor.kind, collection_method="import", capture_source="undo of an import"
                )
                link = Link(at=w.now, capture=capture, record_id=RecordId(w.new_id()), prev=chain.leaf_hash)
                for e in consent.invalidate(chain.state, link, purposes=(grant.purpose,), channel=channel):
                    w.record(chain, [e], occurred_at=e.effective_from)
            return {}

        return run

    def _putting_back(self, command: UUID, why: str, *, preview: bool) -> Callable[[Work], Awaitable[Mapping[str, object]]]:
        async def run(w: Work) -> Mapping[str, object]:
            await plan(w, command, reason=why)
            if preview:
                raise OnlyLooking
            return {}

        return run

    def _amending(self, first: int, end: int) -> Iterator[list[tuple[UUID, list[tuple[Done, bool]]]]]:
        """The commands of the import that changed records it had not created, the last first, some at a time; of each all events,
        in order, and whether each was such a change."""
        before = end + 1
        open_: list[Any] = []
        while True:
            rows = self._c.execute(
                "SELECT e.firm_position, e.command_id, e.stream_type, e.stream_id, e.stream_version, e.stream_version > 1"
                " AND e.stream_type <> ALL(%s) AND NOT EXISTS (SELECT 1 FROM record.events f WHERE f.firm_id = e.firm_id"
                " AND f.stream_id = e.stream_id AND f.stream_type = e.stream_type AND f.stream_version = 1"
                " AND position(%s::bytea IN f.public) > 0) FROM record.events e WHERE e.firm_id = %s AND e.firm_position < %s"
                " AND e.firm_position >= %s AND position(%s::bytea IN e.public) > 0 ORDER BY e.firm_position DESC LIMIT %s",
                (list(ASIDE), self._mine[0], self._firm, before, first, self._mine[0], PAGE),
            ).fetchall()
            if rows:
                before = rows[-1][0]
            open_ += rows
            whole: dict[UUID, list[tuple[Done, bool]]] = {}
            for _, command, type, id, version, amends in open_:
                whole.setdefault(command, []).insert(0, (Done(stream_type=type, stream_id=id, version=version), amends))
            last = open_[-1][1] if rows else None  # it may go on in the next page
            open_ = [r for r in open_ if r[1] == last]
            yield [(c, done) for c, done in whole.items() if c != last and any(amends for _, amends in done)]
            if not rows:
                return

    def _created(self, first: int, end: int, *, late: bool) -> Iterator[list[tuple[str, UUID]]]:
        """Records the import created and nobody else has changed since, page by page; the others go to the report."""
        after = first - 1
        while True:
            rows = self._c.execute(
                "SELECT firm_position, stream_type, stream_id, stream_version FROM record.events WHERE firm_id = %s"
                " AND firm_position > %s AND firm_position <= %s AND position(%s::bytea IN public) > 0 ORDER BY firm_position LIMIT %s",
                (self._firm, after, end, self._mine[0], PAGE),
            ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            wanted = [r for r in rows if r[1] not in ASIDE and (r[1] == "pipeline") == late]
            created = [(t, i) for _, t, i, v in wanted if v == 1]
            later = self._later([i for _, i in created])
            stays: set[UUID] = set(later)
            for t, i in created:
                if i in later:
                    self._report.keep(self._changed(t, i, *later[i]))
                elif t == "pipeline" and self._in_use(i):
                    self._report.keep(Kept(stream_type=t, stream_id=i, why="deals stand in it"))
                    stays.add(i)
            yield [(t, i) for t, i in created if i not in stays]

    def _later(self, ids: Sequence[UUID]) -> dict[UUID, tuple[int, str, datetime, bytes]]:
        """The last event of each stream that is not the import's; with 1 in front when its first event is not the import's either."""
        rows = self._c.execute(
            "SELECT DISTINCT ON (stream_id) stream_id, min(stream_version) OVER (PARTITION BY stream_id), type, occurred_at, public"
            " FROM record.events WHERE firm_id = %s AND stream_id = ANY(%s)"
            " AND position(%s::bytea IN public) = 0 AND position(%s::bytea IN public) = 0"
            " ORDER BY stream_id, stream_version DESC",
            (self._firm, list(ids), *self._mine),
        ).fetchall()
        return {i: (v, t, at, leaf) for i, v, t, at, leaf in rows}

    def _changed(self, stream_type: str, id: UUID, _first: int, type: str, at: datetime, leaf: bytes) -> Kept:
        by = orjson.loads(leaf)["actor"]
        return Kept(stream_type=stream_type, stream_id=id, why="it was changed since", event=type, by=by, at=at)

    def _in_use(self, pipeline: UUID) -> bool:
        """Whether a deal stands in the pipeline that this undo leaves."""
        row = self._c.execute(
            "SELECT 1 FROM views.deals d WHERE d.firm_id = %(f)s AND d.pipeline_id = %(p)s AND NOT d.archived AND NOT EXISTS"
            " (SELECT 1 FROM chancery.import_rows r WHERE r.firm_id = d.firm_id AND r.stream_id = d.id AND r.import_id = %(i)s) LIMIT 1",
            {"f": self._firm, "p": pipeline, "i": self._id},
        ).fetchone()
        return row is not None or any(k.stream_type == "deal" for k in self._report.kept)

    def _take_back(self, created: Sequence[tuple[str, UUID]], why: str) -> None:
        taken: list[UUID] = []
        refused: list[tuple[UUID, str]] = []
        for outcome in self._bulk.run(self._task(t, i, why) for t, i in created if t in TAKE_BACK):
            stream_type, id = outcome.task.label
            if outcome.failed is not None:
                raise outcome.failed
            if outcome.refused is not None:
                self._report.keep(Kept(stream_type=stream_type, stream_id=id, why=outcome.refused.why))
                refused.append((id, outcome.refused.why))
            else:
                self._report.taken_back[stream_type] += 1
                taken.append(id)
        said = ((k.stream_id, f"{k.why}: {k.event}" if k.event else k.why) for k in self._report.kept[-PAGE:])
        self._mark(taken, [*refused, *said], of_all=True)

    def _mark(self, undone: Sequence[UUID], kept: Sequence[tuple[UUID, str]], *, of_all: bool = False) -> None:
        """Say it in the kept rows: of this import, or of all that led to these records."""
        with self._c.transaction():
            self._c.execute(
                "UPDATE chancery.import_rows SET undone = true WHERE firm_id = %s AND stream_id = ANY(%s) AND NOT undone"
                " AND (%s OR import_id = %s)",
                (self._firm, list(undone), of_all, self._id),
            )
            for k in kept:
                self._c.execute(
                    "UPDATE chancery.import_rows SET kept_for = %s WHERE firm_id = %s AND import_id = %s AND stream_id = %s"
                    " AND kept_for IS NULL",
                    (k[1], self._firm, self._id, k[0]),
                )

    def _task(self, stream_type: str, id: UUID, why: str) -> Task:
        stream, decide = TAKE_BACK[stream_type]

        async def run(w: Work) -> Mapping[str, object]:
            entity = await w.load(stream, id)
            if stream_type == "pipeline" and entity.state.is_default:
                default = await w.find(DEFAULT, w.derive_id(DEFAULT.type))
                w.record(default, pipelines.choose_default(default.state, pipeline=None))
            w.record(entity, decide(entity.state, why))
            return {}

        return Task(run=run, reads=[(stream, id)], label=(stream_type, id))
