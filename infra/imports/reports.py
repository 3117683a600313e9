"""What an import says of itself: how far it is, what it would do and what it did."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from domain.imports import Kind
from infra.imports.into.kernel import Outcome
from infra.imports.rows import RowError

EACH = 0.25  # seconds between two words of progress
Phase = Literal["reading", "importing"]


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


class Pace:
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
