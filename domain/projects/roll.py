"""An immutable mapping by UUID whose successors share what did not change.

A project of ten thousand tasks is folded event by event; copying one dict per event would make that quadratic. Entries lie in
256 buckets, and adding copies only the buckets it touches: about n/256 entries for one, n for n at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

V = TypeVar("V")

BUCKETS = 256


@dataclass(frozen=True, slots=True)
class Roll(Generic[V]):
    buckets: tuple[Mapping[UUID, V], ...] = ({},) * BUCKETS
    size: int = 0

    def __len__(self) -> int:
        return self.size

    def __contains__(self, id: UUID) -> bool:
        return id in self.buckets[hash(id) % BUCKETS]

    def __iter__(self) -> Iterator[UUID]:
        for bucket in self.buckets:
            yield from bucket

    def get(self, id: UUID) -> V | None:
        return self.buckets[hash(id) % BUCKETS].get(id)

    def values(self) -> Iterator[V]:
        for bucket in self.buckets:
            yield from bucket.values()

    def adding(self, entries: Iterable[tuple[UUID, V]]) -> "Roll[V]":
        touched: dict[int, dict[UUID, V]] = {}
        size = self.size
        for id, value in entries:
            at = hash(id) % BUCKETS
            bucket = touched.get(at)
            if bucket is None:
                bucket = touched[at] = dict(self.buckets[at])
            size += id not in bucket
            bucket[id] = value
        return self._with(touched, size)

    def without(self, ids: Iterable[UUID]) -> "Roll[V]":
        touched: dict[int, dict[UUID, V]] = {}
        size = self.size
        for id in ids:
            at = hash(id) % BUCKETS
            bucket = touched.get(at)
            if bucket is None:
                bucket = touched[at] = dict(self.buckets[at])
            size -= id in bucket
            bucket.pop(id, None)
        return self._with(touched, size)

    def _with(self, touched: Mapping[int, Mapping[UUID, V]], size: int) -> "Roll[V]":
        if not touched:
            return self
        return Roll(tuple(touched.get(at, bucket) for at, bucket in enumerate(self.buckets)), size)
