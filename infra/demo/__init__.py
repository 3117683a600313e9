"""The demo firm: a small lender with a year of work behind it, the same for everybody on the same day, apart from ids.

Everything in it is made up: its people live in towns that do not exist, their addresses end in domains reserved for examples and
their phone numbers are those that regulators keep for fiction. It is written through the ordinary commands.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from domain.kernel import FirmId
from infra.bootstrap import Chancery
from infra.cli.console import err
from infra.demo import consent, deals, firm, papers, people, visitors, work
from infra.demo.stage import Stage
from infra.ids import uuid7


async def make(chancery: Chancery, today: date | None = None) -> dict[str, str]:
    """Make the demo firm as it stands on that day (UTC); answers `{"firm_id", "api_key"}`, the key of its owner."""
    midnight = datetime.combine(today or datetime.now(UTC).date(), time(), UTC)
    stage = Stage(chancery, FirmId(uuid7()), midnight)
    key = await firm.begin(stage)
    with _progress() as shown:
        await stage.tell(
            [firm.story(stage), deals.pipelines(stage), papers.folders(stage), consent.rules(stage)],
            [*people.stories(stage), *deals.stories(stage), *papers.stories(stage), *work.stories(stage), *consent.stories(stage)],
            shown,
        )
    await asyncio.to_thread(visitors.carry, chancery, stage)
    return {"firm_id": str(stage.firm), "api_key": key}


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A bar in a terminal, nothing elsewhere."""
    bar = Progress(
        TextColumn("Making the demo firm"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=share)
