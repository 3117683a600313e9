"""Which rows of a long way may have left memory."""

from typing import Final

from infra.projector.tables import Key

_MASK: Final = (1 << 26) - 1


def _places(key: Key) -> tuple[int, int]:
    h = hash((key[0].int, key[1].int))
    return h & _MASK, h >> 32 & _MASK


class WrittenOut:
    """Which keys may have been written out: never wrong about one that was, seldom about another. 8 MB, however many there are."""

    def __init__(self) -> None:
        self._bits: bytearray | None = None

    def add(self, key: Key) -> None:
        if self._bits is None:
            self._bits = bytearray(_MASK + 1 >> 3)
        for place in _places(key):
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, key: Key) -> bool:
        if self._bits is None:
            return False
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in _places(key))
