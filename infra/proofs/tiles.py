"""Tiles as C2SP tlog-tiles lays them out: the hashes of every eighth level in pieces of 256, and the entries in bundles of 256.

LG3  A full tile never changes; a partial one is the beginning of its full one. So the stored tile at the right edge serves every
     narrower width that was ever signed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from infra.proofs.encoding import HASH_SIZE
from infra.proofs.errors import Malformed
from infra.proofs.tree import Node, Subtree, fold

HEIGHT = 8
WIDTH = 1 << HEIGHT
FULL = WIDTH * HASH_SIZE

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-5][0-9]?|6[0-3]?|[7-9])/(?P<place>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)

Coordinate = tuple[int, int]
"""A tile's level (0 holds the leaves' hashes) and its place in that level."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a path names: a tile, or with level None a bundle of entries. `width` is 256 for a full one."""

    level: int | None
    place: int
    width: int = WIDTH

    def __str__(self) -> str:
        groups = [f"{self.place % 1000:03}"]
        rest = self.place // 1000
        while rest:
            groups.append(f"x{rest % 1000:03}")
            rest //= 1000
        level = "entries" if self.level is None else str(self.level)
        return f"tile/{level}/{'/'.join(reversed(groups))}" + (f".p/{self.width}" if self.width < WIDTH else "")

    @classmethod
    def parse(cls, path: str) -> "Address":
        found = _PATH.fullmatch(path) if len(path) < 100 else None
        if found is None:
            raise Malformed("not the path of a tile")
        level = None if found["level"] == "entries" else int(found["level"])
        address = cls(level, int(re.sub(r"[x/]", "", found["place"])), int(found["width"] or WIDTH))
        if str(address) != path:  # a width of 256 or more, or a place with needless zeroes
            raise Malformed("not the path of a tile")
        return address


def widths(size: int) -> Iterator[tuple[int, int, int]]:
    """(level, number of full tiles, width of the partial one or 0) for a tree of that size."""
    level = 0
    while size:
        yield level, size // WIDTH, size % WIDTH
        size //= WIDTH
        level += 1


def addresses(size: int, *, since: int = 0) -> Iterator[Address]:
    """All tiles of a tree of that size, those that were full at the earlier size left out."""
    for level, full, partial in widths(size):
        for place in range((since >> HEIGHT * level) // WIDTH, full):
            yield Address(level, place)
        if partial:
            yield Address(level, full, partial)


def tile_of(subtree: Subtree) -> Coordinate:
    """The tile that holds, or whose hashes make, a complete subtree's hash."""
    level, place = subtree
    return level // HEIGHT, (place << level % HEIGHT) // WIDTH


def tiles_of(subtrees: Iterable[Subtree]) -> set[Coordinate]:
    return {tile_of(s) for s in subtrees}


def split(tile: bytes) -> list[bytes]:
    return [tile[at : at + HASH_SIZE] for at in range(0, len(tile), HASH_SIZE)]


def node_from(get: Callable[[int, int], bytes]) -> Node:
    """Hashes of complete subtrees out of tiles; `get` answers a tile by level and place, at least as wide as is needed."""

    def node(level: int, place: int) -> bytes:
        above, height = divmod(level, HEIGHT)
        first = place << height
        tile = get(above, first // WIDTH)
        begin = first % WIDTH * HASH_SIZE
        part = tile[begin : begin + (HASH_SIZE << height)]
        if len(part) != HASH_SIZE << height:
            raise LookupError(f"tile {above}/{first // WIDTH} is too narrow")
        return fold(split(part)) if height else part

    return node


class Growing:
    """The right edge of a tree: the partial tile of every level, from which the next hashes are made."""

    __slots__ = ("edges", "size")

    def __init__(self, size: int = 0, edges: Sequence[bytes] = ()) -> None:
        self.size = size
        self.edges = [bytearray(e) for e in edges]
        wanted = [partial for _, _, partial in widths(size)]
        if [len(e) for e in self.edges] != [w * HASH_SIZE for w in wanted]:
            raise ValueError("the edge does not fit the size of the tree")

    def copy(self) -> "Growing":
        return Growing(self.size, [bytes(e) for e in self.edges])

    def extend(self, leaf_hashes: Sequence[bytes]) -> dict[Coordinate, bytes]:
        """Append leaves by their hashes; the tiles that are new or have grown, as they then are."""
        changed: dict[Coordinate, bytes] = {}
        self._extend(0, self.size, leaf_hashes, changed)
        self.size += len(leaf_hashes)
        return changed

    def _extend(self, level: int, before: int, hashes: Sequence[bytes], changed: dict[Coordinate, bytes]) -> None:
        if level == len(self.edges):
            self.edges.append(bytearray())
        edge = self.edges[level]
        place = before // WIDTH
        above: list[bytes] = []
        at = 0
        while at < len(hashes):
            room = WIDTH - len(edge) // HASH_SIZE
            edge += b"".join(hashes[at : at + room])
            at += room
            if len(edge) == FULL:
                tile = bytes(edge)
                changed[level, place] = tile
                above.append(fold(split(tile)))
                edge.clear()
                place += 1
        if edge:
            changed[level, place] = bytes(edge)
        if above:
            self._extend(level + 1, before // WIDTH, above, changed)

    def node(self, level: int, place: int) -> bytes:
        """The hash of a complete subtree at the right edge: one of those that make the root."""

        def edge(above: int, tile: int) -> bytes:
            if tile != (self.size >> HEIGHT * above) // WIDTH:
                raise LookupError("not at the edge")
            return bytes(self.edges[above])

        return node_from(edge)(level, place)


def bundle(entries: Iterable[bytes]) -> bytes:
    """A bundle of entries: each with its length before it, two bytes, big-endian."""
    return b"".join(len(e).to_bytes(2, "big") + e for e in entries)
