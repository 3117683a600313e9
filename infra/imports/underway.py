"""The rows of a file on their way into the record, and what is kept of each."""

import hashlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg
from pydantic import ValidationError

from commands.kernel import Work
from domain.kernel import FirmId, Refused
from infra.imports.edited import Edited
from infra.imports.into.contacts import ErasedPerson
from infra.imports.into.kernel import Carrier, Carry, Carrying, Names, Outcome, RowUnusable
from infra.imports.keep import KeptRow, RowStore, json_of
from infra.imports.reports import Pace, Report
from infra.imports.rows import FileDefect, Mapped, RowError, refusal
from infra.plainly import reason
from infra.record.bulk import Bulk, Task
from infra.record.execute import now
from infra.record.vault import Vault

CHUNK = 500  # rows that are looked up, and kept, together


@dataclass(slots=True)
class _Row:
    """A row under way: where it goes, and what its last run said about it."""

    mapped: Mapped[Any]
    carry: Carry
    digest: bytes
    carrying: Carrying


class RowsUnderWay:
    """The rows of a file on their way, and the count of them."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        vault: Vault,
        firm: FirmId,
        file: Any,
        carrier: Carrier,
        names: Names,
        import_id: UUID,
        toml: str,
        report: Report,
        stop: threading.Event,
        pace: Pace,
        *,
        overwrite: bool,
    ) -> None:
        self._overwrite = overwrite
        self._edited = Edited(connection, vault, firm)
        self._file = file
        self._carrier = carrier
        self._names = names
        self._store = RowStore(connection, vault, firm)
        self._vault = vault
        self._firm = firm
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
                first = bad.errors(include_url=False, include_input=False)[0]
                raise RowUnusable(f"{'.'.join(map(str, first['loc']))}: {reason(first)}") from None
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


def _sentence(refused: Refused) -> str:
    """Why a row was refused, with what the refusal is about."""
    about = "; ".join(f"{k}: {', '.join(map(str, v)) if isinstance(v, list | tuple) else v}" for k, v in refused.about.items())
    return (f"{refused.why} ({about})" if about else refused.why)[:4_000]
