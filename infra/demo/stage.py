"""The stage of the demo firm: a year that is told fortnight by fortnight, never beyond today, by stories that run side by side.

A story is an async generator that yields the time at which its next step is due. A step that would lie ahead of today is not told:
so work is under way at every stage, whatever the day. All chance comes from `chance`, by name, so that the order in which stories
are carried out changes nothing.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from commands.kernel import Actor, Command
from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS, OPERATOR
from infra.bootstrap import Chancery
from infra.record.execute import Answer

Story = AsyncGenerator[datetime, None]

SEED = 1485
YEAR = 378  # days: twenty-seven fortnights
FORTNIGHT = timedelta(days=14)
AT_ONCE = 48  # commands under way together
EVERYTHING = ALL_PERMISSIONS | {OPERATOR}


class Stage:
    """The firm while it is being made, and what its stories know of each other: ids by the names and numbers of this module."""

    def __init__(self, chancery: Chancery, firm: FirmId, today: datetime) -> None:
        self.firm = firm
        self.today = today
        self.start = today - timedelta(days=YEAR)
        self.ids: dict[tuple[str, object], UUID] = {}
        self._chancery = chancery
        self._free = asyncio.Semaphore(AT_ONCE)

    # --- time and chance

    def ago(self, days: float, hour: int = 10, minute: int = 0) -> datetime:
        """So many whole days before yesterday, at this hour (UTC)."""
        return self.today - timedelta(days=int(days) + 1) + timedelta(hours=hour, minutes=minute)

    def on(self, days: int) -> date:
        """The date so many days from today; negative ones are past."""
        return (self.today + timedelta(days=days)).date()

    def chance(self, *of: object) -> random.Random:
        """Chance of its own for whatever is named: the same every time."""
        return random.Random(f"{SEED}:{of}")  # noqa: S311 # nosec B311 - made-up people need no secrecy

    # --- acting

    def id(self, kind: str, name: object) -> UUID:
        return self.ids[(kind, name)]

    def actor(self, by: str) -> Actor:
        return Actor("member", str(self.id("member", by))) if ("member", by) in self.ids else Actor("system", "operator")

    async def do(self, command: Command, at: datetime, by: str = "ada") -> Answer:
        """Carry out a command as this member did it then."""
        if "occurred_at" in type(command).model_fields:
            command = command.model_copy(update={"occurred_at": at})
        async with self._free:
            return await self._chancery.executor.execute(
                command, firm=self.firm, actor=self.actor(by), permissions=EVERYTHING, occurred_at=at
            )

    async def make(self, kind: str, name: object, command: Command, at: datetime, by: str = "ada") -> UUID:
        """Carry out a command that creates something, and remember its id."""
        done = await self.do(command, at, by)
        id = self.ids[(kind, name)] = UUID(done.body["id"])
        return id

    async def keep(self, content: bytes) -> str:
        """Put bytes into the content store; answers their SHA-256."""
        async with self._free, self._chancery.blobs.writing(self.firm) as writer:
            await writer.write(content)
            return (await writer.commit()).sha256

    # --- telling

    async def tell(self, first: Sequence[Story], stories: Sequence[Story], shown: Callable[[float], None]) -> None:
        """Tell all stories to today. In each fortnight those of `first` come first, one by one; `shown` hears how much is told."""
        beginning = datetime.min.replace(tzinfo=self.today.tzinfo)
        house: list[tuple[datetime, Story] | None] = [(beginning, s) for s in first]
        others: list[tuple[datetime, Story] | None] = [(beginning, s) for s in stories]
        until = self.start
        while until < self.today:
            until = min(until + FORTNIGHT, self.today)
            house = [await _tell(at, until) for at in house]
            others = list(await asyncio.gather(*(_tell(at, until) for at in others)))
            shown(1 - (self.today - until) / timedelta(days=YEAR))
        for left in (*house, *others):
            if left is not None:
                await left[1].aclose()


async def _tell(due: tuple[datetime, Story] | None, until: datetime) -> tuple[datetime, Story] | None:
    while due is not None and due[0] < until:
        at = await anext(due[1], None)
        due = None if at is None else (at, due[1])
    return due
