from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.wire import merkle
from fedmed.wire.merkle import EMPTY, Tree, leaf_hash, node_hash, verify_consistency, verify_inclusion

# The test vectors of certificate-transparency (merkletree/merkle_tree_test.cc), which others share.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"  # leaves 2 and 3
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"  # 4 to 7
D = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"  # 1
E = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"  # 4
F = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"  # 6 and 7
INCLUSION = {
    (0, 1): (),
    (0, 8): (D, B, C),
    (5, 8): (E, F, ROOTS[4]),
    (2, 3): (ROOTS[2],),
    (1, 5): (ROOTS[1], B, E),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (D, B, C),
    (6, 8): ("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", F, ROOTS[4]),
    (2, 5): (B, E),
}


def tree_of(leaves, start=0):
    """A tree, or one that goes on from the peaks of another."""
    whole = Tree()
    whole.extend(leaves[:start])
    tree = Tree(start, whole.peaks())
    tree.extend(leaves[start:])
    return tree


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    return bytes(changed)


def mth(leaves):
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = max(power for power in (1 << bit for bit in range(20)) if power < len(leaves))
    return node_hash(mth(leaves[:split]), mth(leaves[split:]))


def test_the_published_roots():
    tree = Tree()
    for size, root in enumerate(ROOTS):
        assert tree.root().hex() == root
        assert tree.size == size
        tree.extend(LEAVES[size : size + 1])
    assert [tree_of(LEAVES).root(size).hex() for size in range(9)] == list(ROOTS)


@pytest.mark.parametrize(("place", "path"), INCLUSION.items())
def test_the_published_inclusion_proofs(place, path):
    index, size = place
    assert tuple(node.hex() for node in tree_of(LEAVES).inclusion(index, size)) == path
    nodes = tuple(map(bytes.fromhex, path))
    assert verify_inclusion(index, size, leaf_hash(LEAVES[index]), nodes, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("sizes", "path"), CONSISTENCY.items())
def test_the_published_consistency_proofs(sizes, path):
    old, new = sizes
    assert tuple(node.hex() for node in tree_of(LEAVES).consistency(old, new)) == path
    nodes = tuple(map(bytes.fromhex, path))
    assert verify_consistency(old, new, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]), nodes)


@given(st.integers(0, 70), st.data())
def test_roots_are_those_of_the_definition_wherever_the_tree_begins(size, data):
    leaves = [bytes([number]) for number in range(size)]
    start = data.draw(st.integers(0, size))
    tree = tree_of(leaves, start)
    at = data.draw(st.integers(start, size))
    assert tree.root(at) == mth(leaves[:at])
    assert merkle.root_of(tree.peaks(at)) == tree.root(at)


@given(st.integers(1, 130), st.data())
def test_every_inclusion_proof_verifies_and_no_altered_bit_does(count, data):
    leaves = [bytes([number]) for number in range(count)]
    start = data.draw(st.integers(0, count - 1))
    tree = tree_of(leaves, start)
    size = data.draw(st.integers(start + 1, count))
    index = data.draw(st.integers(start, size - 1))
    path, root, leaf = tree.inclusion(index, size), mth(leaves[:size]), leaf_hash(leaves[index])
    assert verify_inclusion(index, size, leaf, path, root)
    bit = data.draw(st.integers(0, 255))
    assert not verify_inclusion(index, size, flipped(leaf, bit), path, root)
    assert not verify_inclusion(index, size, leaf, path, flipped(root, bit))
    assert not verify_inclusion(index, size, leaf, (*path, root), root)
    for place in range(len(path)):
        wrong = (*path[:place], flipped(path[place], bit), *path[place + 1 :])
        assert not verify_inclusion(index, size, leaf, wrong, root)
        assert not verify_inclusion(index, size, leaf, path[:place] + path[place + 1 :], root)
    other = data.draw(st.integers(-1, size).filter(lambda number: number != index))
    assert not verify_inclusion(other, size, leaf, path, root)


@given(st.integers(1, 130), st.data())
def test_every_consistency_proof_verifies_and_no_altered_bit_does(count, data):
    leaves = [bytes([number]) for number in range(count)]
    start = data.draw(st.integers(0, count))
    tree = tree_of(leaves, start)
    new = data.draw(st.integers(max(start, 1), count))
    old = data.draw(st.integers(max(start, 1), new))
    path, before, after = tree.consistency(old, new), mth(leaves[:old]), mth(leaves[:new])
    assert verify_consistency(old, new, before, after, path)
    bit = data.draw(st.integers(0, 255))
    assert not verify_consistency(old, new, flipped(before, bit), after, path)
    assert not verify_consistency(old, new, before, flipped(after, bit), path)
    assert not verify_consistency(old, new, before, after, (*path, before))
    for place in range(len(path)):
        wrong = (*path[:place], flipped(path[place], bit), *path[place + 1 :])
        assert not verify_consistency(old, new, before, after, wrong)
        assert not verify_consistency(old, new, before, after, path[:place] + path[place + 1 :])


def test_an_empty_tree_begins_every_other():
    tree = tree_of(LEAVES)
    assert tree.consistency(0) == ()
    assert verify_consistency(0, 8, EMPTY, tree.root(), ())
    assert not verify_consistency(0, 8, tree.root(), tree.root(), ())
    assert not verify_consistency(0, 8, EMPTY, tree.root(), (EMPTY,))
    assert not verify_consistency(0, 0, EMPTY, tree.root(), ())


def test_nonsense_numbers_and_sizes_verify_nothing():
    root, leaf = bytes.fromhex(ROOTS[1]), leaf_hash(b"")
    assert verify_inclusion(0, 1, leaf, (), root)
    for index, size in ((1, 1), (-1, 1), (0, 0), (0, merkle.MOST + 1), (10**30, 10**30 + 1)):
        assert not verify_inclusion(index, size, leaf, (), root)
    assert not verify_inclusion(0, 2, leaf, (b"short",), root)
    for old, new in ((2, 1), (-1, 1), (1, 10**30), (1, 2), (2, 3)):
        assert not verify_consistency(old, new, root, root, ())
    assert not verify_consistency(2, 3, root, root, (b"short",))


def test_what_a_tree_does_not_have_it_does_not_prove():
    tree = tree_of(LEAVES, 5)
    for call in (
        lambda: tree.root(9),
        lambda: tree.root(4),
        lambda: tree.inclusion(4),
        lambda: tree.inclusion(8),
        lambda: tree.consistency(9),
        lambda: tree.consistency(-1),
        lambda: tree.consistency(3),
    ):
        with pytest.raises(LookupError):
            call()
    with pytest.raises(ValueError, match="2 peaks; a tree of 4 leaves has 1"):
        Tree(4, (EMPTY, EMPTY))
