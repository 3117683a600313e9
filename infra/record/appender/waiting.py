"""Commands that wait to be written, bounded in number and in bytes."""

from collections import deque
from dataclasses import dataclass

from infra.record.appender.command import Append, Busy


@dataclass(frozen=True, slots=True)
class Limits:
    waiting: int
    bytes: int
    batch_commands: int
    batch_bytes: int


class Queue:
    """Commands that wait, bounded."""

    __slots__ = ("_bytes", "_limits", "waiting")

    def __init__(self, limits: Limits) -> None:
        self.waiting: deque[Append] = deque()
        self._bytes = 0
        self._limits = limits

    def put(self, append: Append) -> None:
        limits = self._limits
        if self.waiting and (len(self.waiting) >= limits.waiting or self._bytes + append.size > limits.bytes):
            raise Busy
        self.waiting.append(append)
        self._bytes += append.size

    def take(self) -> list[Append]:
        """The next batch."""
        waiting, limits = self.waiting, self._limits
        batch: list[Append] = []
        size = 0
        while waiting and len(batch) < limits.batch_commands and (not batch or size + waiting[0].size <= limits.batch_bytes):
            batch.append(waiting.popleft())
            size += batch[-1].size
        self._bytes -= size
        return batch
