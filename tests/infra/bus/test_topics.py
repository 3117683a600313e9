"""Topics have the names and shapes they should, and say what differs when they have not."""

import pytest

from infra.bus.topics import Names, murmur2, partition_of


def test_names_carry_the_prefix() -> None:
    names = Names("firm-a")
    assert (names.control, names.events(3), names.dead_letters) == ("firm-a.relay", "firm-a.events.3", "firm-a.dead-letters")
    assert [names.generation(t) for t in ("firm-a.events.12", "firm-a.events.x", "firm-b.events.1", "firm-a.relay")] == [
        12,
        None,
        None,
        None,
    ]


@pytest.mark.invariant("BUS5")
@pytest.mark.parametrize(
    ("key", "hash"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_is_hashed_as_javas_clients_hash_it(key: bytes, hash: int) -> None:
    assert murmur2(key) == hash & 0xFFFF_FFFF
    assert partition_of(key, 12) == (hash & 0x7FFF_FFFF) % 12
