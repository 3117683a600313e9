"""The Merkle tree of RFC 6962 (SHA-256): hashes, roots, inclusion and consistency proofs, and their verification.

LG1  A proof is accepted only if it has exactly the hashes it must have, and they give exactly the root that is trusted.
LG2  Consistency from size 0 is refused, whatever the root: an empty log vouches for nothing.

A subtree is named by its level and place: (l, n) spans the leaves n*2^l to (n+1)*2^l. Whoever makes proofs gets the hashes of complete
subtrees from a function, so that the same code works over tiles, a database or a list.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from infra.proofs.errors import NotProved

_sha256 = hashlib.sha256

EMPTY = _sha256(b"").digest()

Subtree = tuple[int, int]
Node = Callable[[int, int], bytes]
"""The hash of a complete subtree, by level and place."""

Span = tuple[int, int]
"""The leaves from one place up to, not including, another."""


def leaf_hash(leaf: bytes) -> bytes:
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root of a complete tree over 2^k hashes."""
    level = hashes
    while len(level) > 1:
        level = [_sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def subtrees(begin: int, end: int) -> Iterator[Subtree]:
    """The complete subtrees that span these leaves, largest first. `begin` is a multiple of the first one's size."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        yield level, begin >> level
        begin += 1 << level


def span_hash(span: Span, node: Node) -> bytes:
    """MTH(D[begin:end]) of RFC 6962, section 2.1, for a span that such a tree has."""
    begin, end = span
    if begin == end:
        return EMPTY
    parts = [node(level, place) for level, place in subtrees(begin, end)]
    hash = parts.pop()
    while parts:
        hash = node_hash(parts.pop(), hash)
    return hash


def root(size: int, node: Node) -> bytes:
    return span_hash((0, size), node)


def _split(size: int) -> int:
    """The largest power of two smaller than the size."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_spans(index: int, size: int) -> list[Span]:
    """What the inclusion proof of a leaf consists of (RFC 6962, section 2.1.1), from the leaf's sibling to the root's child."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    spans = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    spans.reverse()
    return spans


def consistency_spans(old: int, new: int) -> list[Span]:
    """What the proof consists of that the tree of the first size is the beginning of the other (RFC 6962, section 2.1.2)."""
    if not 0 < old <= new:
        raise ValueError(f"there is no consistency proof from {old} to {new}")
    spans = []
    begin, end = 0, new
    whole = True  # the subtree that is left is one of the old tree's own, whose root the verifier has
    while old < end:
        middle = begin + _split(end - begin)
        if old <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
            whole = False
    if not whole:
        spans.append((begin, end))
    spans.reverse()
    return spans


def nodes_of(spans: Iterable[Span]) -> list[Subtree]:
    """The complete subtrees whose hashes these spans are made of."""
    return [s for span in spans for s in subtrees(*span)]


# --- verification


def root_of_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root of the tree of that size in which the leaf (its hash) stands at that place, if the proof is true."""
    if not 0 <= index < size:
        raise NotProved(f"leaf {index} is not in a tree of {size}")
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(proof) != inner + border:
        raise NotProved(f"the inclusion proof has {len(proof)} hashes; for leaf {index} of {size} it must have {inner + border}")
    hash = leaf
    for level, sibling in enumerate(proof[:inner]):
        hash = node_hash(sibling, hash) if index >> level & 1 else node_hash(hash, sibling)
    for sibling in proof[inner:]:
        hash = node_hash(sibling, hash)
    return hash


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Refuse unless the leaf (its hash) is at that place in the tree of that size and root."""
    if root_of_inclusion(index, size, leaf, proof) != root:
        raise NotProved(f"the inclusion proof of leaf {index} does not lead to the root of the tree of {size}")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Refuse unless the tree of the old size and root is the beginning of the tree of the new size and root."""
    if old <= 0:
        raise NotProved("consistency from size 0 proves nothing")
    if old > new:
        raise NotProved(f"a tree of {new} can't begin with one of {old}")
    if old == new:
        if proof:
            raise NotProved("a consistency proof between equal sizes has no hashes")
        if old_root != new_root:
            raise NotProved(f"two different roots for the same size {old}")
        return
    inner = ((old - 1) ^ (new - 1)).bit_length()
    border = ((old - 1) >> inner).bit_count()
    shift = (old & -old).bit_length() - 1  # trailing zeroes
    inner -= shift
    start = 0 if old == 1 << shift else 1
    if len(proof) != start + inner + border:
        raise NotProved(f"the consistency proof has {len(proof)} hashes; from {old} to {new} it must have {start + inner + border}")
    seed = proof[0] if start else old_root
    rest = proof[start:]
    mask = (old - 1) >> shift
    first = second = seed
    for level, sibling in enumerate(rest[:inner]):
        if mask >> level & 1:
            first = node_hash(sibling, first)
            second = node_hash(sibling, second)
        else:
            second = node_hash(second, sibling)
    for sibling in rest[inner:]:
        first = node_hash(sibling, first)
        second = node_hash(sibling, second)
    if first != old_root:
        raise NotProved(f"the consistency proof does not lead to the root of the tree of {old}")
    if second != new_root:
        raise NotProved(f"the consistency proof does not lead to the root of the tree of {new}")
