"""Writing many documents: bounded by count and bytes, less at a time when the server is pressed, each failure handled by itself.

What the server has no room for now (429, a full queue, a full disk) is sent again, alone, after a wait that grows and differs each time.
What it has already, or newer, is done. What it refuses for what it is, is given back.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from infra.search.elastic.client import BLOCKED, NOT_NOW, Blocked, Elastic, Refused, TooLarge, Unreachable

log = structlog.get_logger()

MOST_ITEMS = 500
MOST_BYTES = 4_000_000
LEAST_BYTES = 100_000
FIRST_WAIT = 0.05
LONGEST_WAIT = 5.0
PATIENCE = 30.0  # seconds without any progress before the engine counts as away


@dataclass(frozen=True, slots=True)
class Item:
    """One document: the line that says where it goes, and the document (None to delete)."""

    action: bytes
    document: bytes | None

    @property
    def size(self) -> int:
        return len(self.action) + len(self.document or b"") + 2


def item(
    verb: str,
    index: str,
    id: str,
    document: Any,
    *,
    version: int | None = None,
    if_seq_no: int | None = None,
    term: int | None = None,
) -> Item:
    about: dict[str, Any] = {"_index": index, "_id": id, "require_alias": True}
    if version is not None:
        about |= {"version": version, "version_type": "external"}
    if if_seq_no is not None:
        about |= {"if_seq_no": if_seq_no, "if_primary_term": term}
    return Item(orjson.dumps({verb: about}), None if document is None else orjson.dumps(document))


@dataclass(slots=True)
class Outcome:
    """What became of items, by their place: `older` had the same or a newer version there, `refused` says why by its kind."""

    older: list[int] = field(default_factory=list)
    refused: dict[int, tuple[int, str]] = field(default_factory=dict)
    times_pressed: int = 0


class Bulk:
    """Remembers how much the server takes at a time."""

    def __init__(
        self, elastic: Elastic, *, items: int = MOST_ITEMS, most_bytes: int = MOST_BYTES, patience: float = PATIENCE
    ) -> None:
        self._elastic = elastic
        self._most_items, self._most_bytes = items, most_bytes
        self.items = items
        self.bytes = most_bytes
        self._patience = patience

    def write(self, items: Sequence[Item], *, stopping: Callable[[], bool] = lambda: False) -> Outcome:
        """Write all of them. Unreachable when the server does not take them in time, or when told to stop: what it took it has."""
        outcome = Outcome()
        left = list(range(len(items)))
        wait, moved = FIRST_WAIT, time.monotonic()
        while left:
            chunk = self._chunk(items, left)
            again, blocked = self._send(items, chunk, outcome)
            rest = left[len(chunk) :]
            if len(again) < len(chunk):
                moved = time.monotonic()
            if not again:
                wait = FIRST_WAIT
                self._ease()
                left = rest
                continue
            outcome.times_pressed += 1
            left = again + rest
            if stopping() or time.monotonic() - moved > self._patience:
                raise (Blocked if blocked else Unreachable)(f"{len(left)} documents were not taken")
            if blocked:
                log.warning(
                    "search.blocked", engine="elasticsearch", why="indices are read-only: is its disk full?", left=len(left)
                )
                wait = max(wait, 0.5)
            time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 # nosec B311 - spreads retries; not a secret
            wait = min(wait * 2, LONGEST_WAIT)
        return outcome

    def _chunk(self, items: Sequence[Item], left: Sequence[int]) -> list[int]:
        size = 0
        chunk: list[int] = []
        for n in left[: self.items]:
            size += items[n].size
            if chunk and size > self.bytes:
                break
            chunk.append(n)
        return chunk

    def _send(self, items: Sequence[Item], chunk: list[int], outcome: Outcome) -> tuple[list[int], bool]:
        """Those to be sent again, and whether the server says that it may not write."""
        lines = [line for n in chunk for line in (items[n].action, items[n].document) if line is not None]
        try:
            answer = self._elastic.ask("POST", "/_bulk?filter_path=errors,items.*.status,items.*.error.type", lines)
        except TooLarge as e:
            if len(chunk) == 1:
                outcome.refused[chunk[0]] = (e.status, e.kind)
                return [], False
            self.bytes = max(sum(items[n].size for n in chunk) // 2, 1)
            self.items = max(1, len(chunk) // 2)
            return chunk, False
        except Unreachable as e:
            if not str(e).startswith("429"):
                raise
            self._press(chunk)
            return chunk, False
        if not answer.get("errors"):
            return [], False
        again: list[int] = []
        blocked = False
        for n, told in zip(chunk, answer["items"], strict=True):
            (result,) = told.values()
            status, kind = int(result["status"]), str(result.get("error", {}).get("type", "unknown"))
            if status == 409:
                outcome.older.append(n)
            elif kind == BLOCKED or status in NOT_NOW:
                again.append(n)
                blocked = blocked or kind == BLOCKED
            elif status >= 300:
                outcome.refused[n] = (status, kind)
        if again and not blocked:
            self._press(chunk)
        return again, blocked

    def _press(self, chunk: Sequence[int]) -> None:
        self.items = max(1, len(chunk) // 2)
        self.bytes = max(LEAST_BYTES, self.bytes // 2)

    def _ease(self) -> None:
        self.items = min(self._most_items, self.items + max(1, self.items // 8))
        self.bytes = min(self._most_bytes, self.bytes + self.bytes // 8 + 1)


def refused(outcome: Outcome) -> Refused | None:
    """The first refusal, if any."""
    for status, kind in outcome.refused.values():
        return Refused(status, kind)
    return None
