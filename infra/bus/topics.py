"""The topics of the bus: their names, how they are made and checked, and which of them is the live one.

BUS4  Events stand in a topic of a generation, `<prefix>.events.<n>`. A rebuild fills the next generation while this one serves, then swaps
      by one record in the control topic: whoever reads finds the live generation there, and nowhere else.
BUS5  Which partition a firm has follows from its id and the number of partitions alone, as Java's own clients choose it for the same key.
"""

import functools
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """What everything of one bus is called. Two Chanceries on one Kafka have different prefixes."""

    prefix: str

    @property
    def control(self) -> str:
        """The relay's own topic, compacted: which generation is live, and how far each is."""
        return f"{self.prefix}.relay"

    def events(self, generation: int) -> str:
        return f"{self.prefix}.events.{generation}"

    def generation(self, topic: str) -> int | None:
        """Of a topic of events; None for any other."""
        stem, _, number = topic.rpartition(".")
        return int(number) if stem == f"{self.prefix}.events" and number.isdecimal() else None

    @property
    def dead_letters(self) -> str:
        """What consumers could not handle, compacted: a tombstone takes a letter away once it was replayed or given up."""
        return f"{self.prefix}.dead-letters"

    @property
    def relay(self) -> str:
        """The relay's transactional id: of two relays, Kafka lets the one that began last write."""
        return f"{self.prefix}.relay"

    @property
    def rebuild(self) -> str:
        """The transactional id of whoever fills the next generation."""
        return f"{self.prefix}.relay.rebuild"

    def group(self, name: str) -> str:
        """The consumer group of a name."""
        return f"{self.prefix}.{name}"


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Java's clients choose it: murmur2, its sign bit dropped, modulo the partitions."""
    return (murmur2(key) & 0x7FFF_FFFF) % partitions


@functools.lru_cache(maxsize=100_000)
def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 (32 bits) with the seed that Kafka's clients use."""
    m, mask = 0x5BD1_E995, 0xFFFF_FFFF
    h = (0x9747_B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
