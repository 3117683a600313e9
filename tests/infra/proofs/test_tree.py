"""The tree against the public vectors, against a plain reading of RFC 6962, and against every change of a proof."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.proofs.errors import NotProved
from infra.proofs.tiles import WIDTH, Address, Growing, addresses, bundle, node_from
from infra.proofs.tree import (
    EMPTY,
    fold,
    leaf_hash,
    root,
    root_of_inclusion,
    verify_consistency,
    verify_inclusion,
)
from tests.infra.proofs.logs import Frontier, Log, consistency_proof, inclusion_proof, unbundle

VECTORS = Path(__file__).parents[2] / "vectors"
CASES = sorted((VECTORS / "merkle-proofs").rglob("*.json"))


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.invariant("LG1", "LG2")
@pytest.mark.parametrize("path", CASES, ids=lambda p: str(p.relative_to(VECTORS)))
def test_the_public_vectors_hold(path: Path) -> None:
    case = json.loads(path.read_text())
    proof = [raw(h) for h in case["proof"] or []]

    def verify() -> None:
        if "size1" in case:
            verify_consistency(case["size1"], case["size2"], proof, raw(case["root1"]), raw(case["root2"]))
        else:
            verify_inclusion(case["leafIdx"], case["treeSize"], raw(case["leafHash"]), proof, raw(case["root"]))

    if case["wantErr"]:
        with pytest.raises(NotProved):
            verify()
    else:
        verify()


def test_the_reference_tree_has_the_roots_of_rfc_6962() -> None:
    tree = json.loads((VECTORS / "accumulated" / "rfc6962-reference-tree.json").read_text())
    growing, frontier = Growing(), Frontier()
    for size, wanted in enumerate(tree["roots_hex_by_size"]):
        assert frontier.root().hex() == root(size, growing.node).hex() == wanted
        for leaf in tree["leaves_hex"][size : size + 1]:
            growing.extend([leaf_hash(bytes.fromhex(leaf))])
            frontier.extend([bytes.fromhex(leaf)])


def plain_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 as its text says it."""
    if not hashes:
        return EMPTY
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + plain_root(hashes[:k]) + plain_root(hashes[k:])).digest()


def plain_path(m: int, hashes: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 as its text says it."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m < k:
        return [*plain_path(m, hashes[:k]), plain_root(hashes[k:])]
    return [*plain_path(m - k, hashes[k:]), plain_root(hashes[:k])]


def plain_subproof(m: int, hashes: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 as its text says it."""
    if m == len(hashes):
        return [] if whole else [plain_root(hashes)]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m <= k:
        return [*plain_subproof(m, hashes[:k], whole), plain_root(hashes[k:])]
    return [*plain_subproof(m - k, hashes[k:], False), plain_root(hashes[:k])]


def test_every_proof_of_every_small_tree_is_that_of_rfc_6962() -> None:
    hashes = [leaf_hash(bytes([n])) for n in range(40)]

    def node(level: int, place: int) -> bytes:
        return fold(hashes[place << level : (place + 1) << level])

    for size in range(1, 41):
        top = plain_root(hashes[:size])
        assert root(size, node) == top
        for n in range(size):
            proof = inclusion_proof(n, size, node)
            assert proof == plain_path(n, hashes[:size])
            verify_inclusion(n, size, hashes[n], proof, top)
            between = consistency_proof(n + 1, size, node)
            assert between == plain_subproof(n + 1, hashes[:size], True)
            verify_consistency(n + 1, size, between, plain_root(hashes[: n + 1]), top)


@pytest.mark.invariant("LG2")
def test_consistency_from_nothing_is_refused_whatever_the_root() -> None:
    log = Log.of(5)
    for old_root in (EMPTY, log.at().root, bytes(32)):
        for proof in ([], [EMPTY], log.since(3).hashes):
            with pytest.raises(NotProved):
                verify_consistency(0, 5, proof, old_root, log.at().root)
            with pytest.raises(NotProved):
                verify_consistency(0, 0, proof, old_root, EMPTY)
    with pytest.raises(ValueError, match="no consistency proof"):
        log.since(0)


SIZES = st.integers(1, 1200)


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.invariant("LG1")
def test_any_change_of_a_proof_is_found(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    log = Log.of(size)
    index = data.draw(st.integers(0, size - 1))
    top = log.at().root
    leaf = leaf_hash(log.leaves[index])
    proof = list(log.proof(index).hashes)
    verify_inclusion(index, size, leaf, proof, top)
    for changed in changes(data, proof):
        with pytest.raises(NotProved):
            verify_inclusion(index, size, leaf, changed, top)
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        with pytest.raises(NotProved):
            verify_inclusion(other, size, leaf, proof, top)
        with pytest.raises(NotProved):
            verify_inclusion(index, size, leaf_hash(log.leaves[other]), proof, top)
    old = data.draw(st.integers(1, size))
    since = list(log.since(old).hashes)
    before = log.at(old).root
    verify_consistency(old, size, since, before, top)
    for changed in changes(data, since):
        with pytest.raises(NotProved):
            verify_consistency(old, size, changed, before, top)
    if old != size:
        for wrong in ((old, size, top, top), (old, size, before, before), (old, size, before, bytes(32))):
            with pytest.raises(NotProved):
                verify_consistency(wrong[0], wrong[1], since, wrong[2], wrong[3])


def changes(data: st.DataObject, proof: list[bytes]) -> list[list[bytes]]:
    """The proof with one bit changed, with a hash too many, too few, twice, or two in the wrong order."""
    out = [[*proof, bytes(32)], [bytes(32), *proof], [*proof, leaf_hash(b"")]]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        bit = data.draw(st.integers(0, 255))
        flipped = (int.from_bytes(proof[at], "big") ^ 1 << bit).to_bytes(32, "big")
        out += [proof[:-1], proof[1:], [*proof[:at], proof[at], *proof[at:]], [*proof[:at], flipped, *proof[at + 1 :]]]
        if len(proof) > 1:
            out.append([*proof[1:], proof[0]])
    return out


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=8))
@pytest.mark.invariant("LG3")
def test_tiles_are_the_same_in_whatever_pieces_the_tree_grew(pieces: list[int]) -> None:
    leaves = [n.to_bytes(4, "big") for n in range(sum(pieces))]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    growing = Growing()
    tiles: dict[Any, bytes] = {}
    at = 0
    for piece in pieces:
        for where, tile in growing.extend(hashes[at : at + piece]).items():
            before = tiles.get(where, b"")
            assert tile.startswith(before)
            tiles[where] = tile
        at += piece
        again = Growing(growing.size, [bytes(e) for e in growing.edges])
        assert root(at, again.node) == root(at, growing.node)
    frontier = Frontier()
    frontier.extend(leaves)
    node = node_from(lambda level, n: tiles[level, n])
    assert root(at, node) == root(at, growing.node) == frontier.root()
    wanted = {(a.level, a.place): a.width for a in addresses(at)}
    assert {where: len(tile) // 32 for where, tile in tiles.items()} == wanted
    for n in (0, at // 2, at - 1):
        verify_inclusion(n, at, hashes[n], inclusion_proof(n, at, node), frontier.root())


def test_a_tree_of_seventy_thousand_has_the_tiles_the_specification_names() -> None:
    found = [str(a) for a in addresses(70_000)]
    assert found[:2] == ["tile/0/000", "tile/0/001"]
    assert found[272:] == ["tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert [str(a) for a in addresses(256)] == ["tile/0/000", "tile/1/000.p/1"]


@given(st.one_of(st.none(), st.integers(0, 63)), st.integers(0, 2**55), st.integers(1, WIDTH))
def test_a_tile_is_found_by_its_path(level: int | None, place: int, width: int) -> None:
    address = Address(level, place, width)
    assert Address.parse(str(address)) == address


def test_paths_are_those_of_the_specification() -> None:
    assert str(Address(3, 1_234_067)) == "tile/3/x001/x234/067"
    assert str(Address(None, 5, 7)) == "tile/entries/005.p/7"
    for bad in (
        "tile/0/5", "tile/00/005", "tile/64/000", "tile/0/x000/005", "tile/0/005.p/0", "tile/0/005.p/256", "tile/0/005.p/05",
        "tile/0/x005", "tile/entry/005", "tile/0/005/", "tile/0/../005", "tile/0/005\n", "", "tile/0/" + "x001/" * 40 + "001",
    ):  # fmt: skip
        with pytest.raises(NotProved):
            Address.parse(bad)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    assert unbundle(bundle(entries)) == entries
    if entries:
        with pytest.raises(NotProved):
            unbundle(bundle(entries)[:-1])


def test_a_root_without_a_leaf_can_not_be_proved_to_hold_one() -> None:
    with pytest.raises(NotProved):
        root_of_inclusion(0, 0, leaf_hash(b""), [])
