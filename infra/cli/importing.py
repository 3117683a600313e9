"""How imports look in a terminal: how far one is, what it would do, what it did, and what taking it back did."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from infra.cli.console import err, out, print_json, show
from infra.imports.reports import Plan, Report
from infra.imports.reports import Progress as Far
from infra.imports.undo import UndoReport

LOUD = 5.0  # seconds between lines of progress where there is no terminal
RAW = 30  # rows a report shows in a terminal


@contextmanager
def progress_of(json: bool) -> Iterator[Callable[[Far], None]]:
    """A bar in a terminal; elsewhere a line every five seconds."""
    if json or not err.is_terminal:
        said = time.monotonic()

        def line(far: Far) -> None:
            nonlocal said
            if time.monotonic() - said >= LOUD:
                said = time.monotonic()
                left = "" if far.left is None else f", {far.left:,.0f} s left"
                print(f"{far.phase} {far.rows:,} rows, {far.rate:,.0f} a second{left}", file=sys.stderr, flush=True)  # noqa: T201 - progress

        yield line
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(far: Far) -> None:
            if far.phase not in tasks:
                for other in tasks.values():
                    bar.update(other, completed=1, total=1)
                tasks[far.phase] = bar.add_task(far.phase.capitalize(), total=far.total, rows=0, rate=0.0)
            bar.update(tasks[far.phase], completed=far.read, total=far.total, rows=far.rows, rate=far.rate)

        yield tell


def show_plan(plan: Plan, json: bool) -> None:
    if json:
        print_json(
            {
                "kind": plan.kind, "form": plan.form, "source": plan.source, "map": plan.map, "guessed": plan.guessed,
                "rows": plan.rows, "rejected": plan.rejected, "issues": plan.issues, "reasons": plan.reasons, "notes": plan.notes,
                "sample": plan.sample,
            }
        )  # fmt: skip
        return
    out.print(f"{plan.rows:,} {plan.kind} in form {plan.form}, source {plan.source!r}: nothing was written.", markup=False)
    for note in plan.notes:
        out.print(note, markup=False)
    if plan.fields:
        out.print("\nThe map" + (" that was guessed" if plan.guessed else ""))
        show([{"field": t, "from": s, "example": x} for t, s, x in plan.fields], ("field", "from", "example"), json=False)
    elif plan.map:
        out.print(plan.map, markup=False)
    show_reasons(plan.reasons)
    out.print(f"\n{plan.rows - plan.rejected:,} rows would be imported, {plan.rejected:,} rejected, {plan.issues:,} remarks.")


def show_report(report: Report, json: bool) -> None:
    counts = {n: getattr(report, n) for n in ("rows", "created", "changed", "unchanged", "rejected", "issues", "events")}
    if json:
        print_json(
            {
                "import_id": report.import_id, "status": report.status, "resumed": report.resumed, "kind": report.kind,
                "form": report.form, "source": report.source, **counts, "seconds": round(report.seconds, 3),
                "reason": report.reason, "notes": report.notes, "reasons": dict(report.reasons.most_common()),
            }
        )  # fmt: skip
        return
    show([counts], tuple(counts), json=False)
    show_reasons(dict(report.reasons.most_common()))
    for note in report.notes:
        out.print(note, markup=False)
    rate = report.events / report.seconds if report.seconds else 0.0
    out.print(f"\n{report.seconds:,.1f} seconds, {rate:,.0f} events a second. Import {report.import_id}.")
    if report.rejected or report.issues:
        out.print(f"`chancery import show {report.import_id}` shows each row with line, field, value and reason.")
    if report.status == "stopped":
        out.print("Stopped. Run the same command again to go on.", style="yellow")
    if report.reason:
        out.print(f"The file could not be read to its end. {report.reason}", style="red", markup=False)


def show_reasons(reasons: Mapping[str, int]) -> None:
    if reasons:
        out.print()
        show([{"rows": n, "remark": what} for what, n in list(reasons.items())[:20]], ("rows", "remark"), json=False)


def show_nothing_taken(found: Plan | Report) -> None:
    """What was the matter with a file of which no row could be used."""
    most = max(found.reasons.items(), key=lambda of: of[1], default=("", 0))[0]
    what = "would be imported" if isinstance(found, Plan) else "was imported"
    of = "the only one is" if found.rows == 1 else f"all {found.rows:,} are"
    err.print(f"No row {what}: {of} rejected" + (f", most often because of this: {most}." if most else "."), markup=False)


def show_undo(id: UUID, done: UndoReport, json: bool) -> None:
    kept = [{"record": f"{k.stream_type}/{k.stream_id}", "why": k.why, "event": k.event, "by": k.by, "at": k.at} for k in done.kept]
    if json:
        print_json(
            {
                "import_id": id,
                "done": done.done,
                "taken_back": done.taken_back,
                "put_back": done.put_back,
                "kept": done.kept_counts,
                "kept_records": kept,
            }
        )
        return
    kinds = sorted({*done.taken_back, *done.put_back, *done.kept_counts})
    counts = [
        {"kind": k, "taken_back": done.taken_back[k], "put_back": done.put_back[k], "kept": done.kept_counts[k]} for k in kinds
    ]
    show(counts, ("kind", "taken_back", "put_back", "kept"), json=False)
    later = [k for k in kept if k["event"]]
    if later:
        out.print("\nChanged since, and kept as they are:")
        for k in later[:RAW]:
            out.print(f"  {k['record']}  {k['event']} by {k['by']} at {k['at']:%Y-%m-%d %H:%M}", markup=False)
    for why, n in Counter(k["why"] for k in kept if not k["event"]).most_common():
        out.print(f"{n:,} more kept: {why}.", markup=False)
    if done.done:
        out.print("\nUndone. The same file can be imported again.")
    else:
        out.print("\nNothing was changed yet. What the import changed in records that were there before stays.")
