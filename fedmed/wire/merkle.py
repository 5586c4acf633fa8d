"""A Merkle tree that only grows: RFC 6962, 2.1, with SHA-256; proofs are checked as in RFC 9162, 2.1.3.2 and 2.1.4.2.

A leaf is hashed after a byte 0, two nodes after a byte 1, so that no leaf can be shown as a node. Hashes are 32 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import reduce

BYTES = 32
MOST = 1 << 48
"""Leaves that a tree may have; a larger number in a proof is nonsense."""
EMPTY = hashlib.sha256().digest()
"""The root of a tree without leaves."""
Path = tuple[bytes, ...]


def leaf_hash(data: bytes) -> bytes:
    """Of one entry of the list."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees side by side."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(peaks: Sequence[bytes]) -> bytes:
    """The root over the largest whole subtrees, left to right; `EMPTY` where there are none."""
    return reduce(lambda right, left: node_hash(left, right), reversed(peaks)) if peaks else EMPTY


class Tree:
    """Grows by a leaf in O(log n), proves in O(log n) hashes; keeps every whole subtree, 64 bytes a leaf."""

    def __init__(self, start: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """`peaks`: those of a tree of `start` leaves, which it goes on from without them. Raises ValueError."""
        if len(peaks) != start.bit_count():
            raise ValueError(f"{len(peaks)} peaks; a tree of {start} leaves has {start.bit_count()}")
        self.start = self.size = start
        rising = list(reversed(peaks))  # the smallest first
        self._levels: list[bytearray] = []
        self._first: list[int] = []
        for level in range(start.bit_length()):
            has_peak = start >> level & 1
            self._levels.append(bytearray(rising.pop(0) if has_peak else b""))
            self._first.append((start >> level) - has_peak)

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        number, level, node = self.size, 0, leaf
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
                self._first.append(0)
            self._levels[level] += node
            if not number & 1:
                break
            node = node_hash(bytes(self._levels[level][-2 * BYTES : -BYTES]), node)
            number, level = number >> 1, level + 1
        self.size += 1

    def extend(self, lines: Iterable[bytes]) -> None:
        """Add entries, which are hashed here."""
        for line in lines:
            self.append(leaf_hash(line))

    def peaks(self, size: int | None = None) -> Path:
        """The largest whole subtrees of the first `size` leaves, left to right. Raises LookupError."""
        size = self._within(size)
        bits = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
        return tuple(self._node(level, (size >> level) - 1) for level in bits)

    def root(self, size: int | None = None) -> bytes:
        """MTH of the first `size` leaves, of all when absent. Raises LookupError for leaves that it does not have."""
        return root_of(self.peaks(size))

    def inclusion(self, index: int, size: int | None = None) -> Path:
        """PATH(index, D[size]) of RFC 6962, 2.1.1. Raises LookupError."""
        size = self._within(size)
        if not self.start <= index < size:
            raise LookupError(f"leaf {index}; there are those from {self.start} to {size - 1}")
        path, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return tuple(reversed(path))

    def consistency(self, old: int, new: int | None = None) -> Path:
        """PROOF(old, D[new]) of RFC 6962, 2.1.2; empty where `old` is 0 or `new`. Raises LookupError."""
        new = self._within(new)
        if not 0 <= old <= new:
            raise LookupError(f"size {old}; allowed are those up to {new}")
        if old in (0, new):
            return ()
        path, low, high = [], 0, new
        while old != high:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        if low:
            path.append(self._range(low, high))
        return tuple(reversed(path))

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not self.start <= size <= self.size and size != 0:
            raise LookupError(f"size {size}; allowed are {self.start} to {self.size}")
        return size

    def _range(self, low: int, high: int) -> bytes:
        """MTH(D[low:high]); `low` is a multiple of the largest power of two below the length, as in all proofs."""
        count = high - low
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            return self._node(level, low >> level)
        middle = low + _split(count)
        return node_hash(self._range(low, middle), self._range(middle, high))

    def _node(self, level: int, index: int) -> bytes:
        place = (index - self._first[level]) * BYTES
        if place < 0:
            raise LookupError(f"what was before leaf {self.start} is known as a whole only")
        return bytes(self._levels[level][place : place + BYTES])


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf`, a hash, is at `index` of the tree of `size` leaves with this root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size <= MOST:
        return False
    fn, sn, found = index, size - 1, leaf
    for node in path:
        if sn == 0 or len(node) != BYTES:
            return False
        if fn & 1 or fn == sn:
            found = node_hash(node, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, node)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and found == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree of `new` leaves begins with the one of `old` (RFC 9162, 2.1.4.2); an empty one begins all."""
    if not 0 <= old <= new <= MOST or any(len(node) != BYTES for node in path):
        return False
    if old == 0:
        return not path and old_root == EMPTY and (new > 0 or new_root == EMPTY)
    if old == new:
        return not path and old_root == new_root
    nodes = list(path)
    if old & (old - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = nodes[0]
    for node in nodes[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(node, fr), node_hash(node, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, node)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == new_root


def _split(count: int) -> int:
    """The largest power of two less than `count`."""
    return 1 << (count - 1).bit_length() - 1
