"""Masks of many vectors in one process: a keystream that two of them share is made once, added to one, taken off the other.

The vector AES of `vaes`, which this stands on. The vectors are gone through in blocks that stay in a core's cache together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fedmed.privacy.keystream import KEY_BYTES, SEED_BYTES, SEGMENT_BYTES
from fedmed.privacy.secagg import round_keys
from fedmed.privacy.secagg.compiled import jitted
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.vaes import PIECE_BLOCKS, PIECE_BYTES, Emitted, Streams, rows_for

CACHE_BYTES = 2**20
"""Of all vectors at once: about half of a core's second-level cache."""
MOST_PIECES = 64
SHARED, ADDED, TAKEN_OFF, KINDS = 0, 1, 2, 3
"""Keystreams added to one vector and taken off another, and those of one vector alone."""
Ints = NDArray[np.int64]


class Shared:
    """Who gets which keystream, of vectors whose streams are given in the same order."""

    def __init__(self, streams: Sequence[Streams]) -> None:
        """Raises ValueError for seeds of another length than 24 bytes."""
        halves: dict[bytes, tuple[int, int]] = {}
        seeds: list[bytes] = []
        places: list[tuple[int, int, int]] = []  # vector, which of the three kinds, the other vector
        for vector, some in enumerate(streams):
            for seed, sign in some:
                half = halves.pop(seed, None)
                if half is None:
                    halves[seed] = vector, sign
                    continue
                seeds.append(seed)
                if half[0] == vector or half[1] == sign:
                    halves[seed] = vector, sign
                    places.append((half[0], ADDED if half[1] > 0 else TAKEN_OFF, 0))
                else:
                    places.append((vector, SHARED, half[0]) if sign > 0 else (half[0], SHARED, vector))
        seeds += halves
        places += [(vector, ADDED if sign > 0 else TAKEN_OFF, 0) for vector, sign in halves.values()]
        if wrong := set(map(len, seeds)) - {SEED_BYTES}:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, got {min(wrong)}")
        octets = np.frombuffer(b"".join(seeds), np.uint8).reshape(-1, SEED_BYTES)
        self._sort(octets, np.array(places, np.int64).reshape(-1, 3), len(streams))

    def _sort(self, seeds: NDArray[np.uint8], places: Ints, vectors: int) -> None:
        """By vector and kind; `_spans (vectors, 4)` says where each kind begins, and where the last one ends."""
        rank = KINDS * places[:, 0] + places[:, 1]
        order = np.argsort(rank)
        borders = KINDS * np.arange(vectors)[:, None] + np.arange(KINDS + 1)
        self._spans = np.searchsorted(rank[order], borders).astype(np.int64)
        self._others, seeds = places[order, 2], seeds[order]
        self._keys, self._prefixes = round_keys.expanded(seeds[:, :KEY_BYTES]), seeds[:, KEY_BYTES:]

    def apply(self, vectors: Sequence[Lanes]) -> None:
        """Put the masks on the vectors, in place; of one kind and length, contiguous, in the machine's byte order."""
        octets = [vector.view(np.uint8) for vector in vectors]
        loop = _loop(8 * vectors[0].itemsize)
        for number, low in enumerate(range(0, len(octets[0]), SEGMENT_BYTES)):
            rows = rows_for(self._keys, self._prefixes, number)
            parts = [each[low : low + SEGMENT_BYTES] for each in octets]
            whole = len(parts[0]) // PIECE_BYTES
            self._run(loop, parts, rows, whole, 0)
            if rest := len(parts[0]) - whole * PIECE_BYTES:
                tails = np.zeros((len(parts), PIECE_BYTES), np.uint8)
                for tail, part in zip(tails, parts, strict=True):
                    tail[:rest] = part[whole * PIECE_BYTES :]
                self._run(loop, list(tails), rows, 1, whole)
                for tail, part in zip(tails, parts, strict=True):
                    part[whole * PIECE_BYTES :] = tail[:rest]

    def _run(self, loop: Any, parts: list[NDArray[np.uint8]], rows: NDArray[np.uint8], pieces: int, first: int) -> None:
        places = np.array([part.ctypes.data for part in parts], np.int64)
        together = max(1, min(MOST_PIECES, CACHE_BYTES // (PIECE_BYTES * len(parts))))
        loop(places, rows, places[self._others], self._spans, together, pieces, first)


@functools.cache
def _loop(bits: int) -> Any:
    return jitted(_loop_16 if bits == 16 else _loop_32)


_SIGNATURE = types.void(*[types.intp] * 9)


def _typed_16(
    _: Any, lanes: Any, rows: Any, others: Any, a: Any, b: Any, c: Any, d: Any, at: Any, block: Any
) -> tuple[Any, Callable[..., Any]]:
    """Addresses of a piece, of rows and of the other vectors, the spans' borders, where the piece is, its first block."""
    return _SIGNATURE, functools.partial(_piece, 16)


def _typed_32(
    _: Any, lanes: Any, rows: Any, others: Any, a: Any, b: Any, c: Any, d: Any, at: Any, block: Any
) -> tuple[Any, Callable[..., Any]]:
    """The same on lanes of 32 bits."""
    return _SIGNATURE, functools.partial(_piece, 32)


_piece_16, _piece_32 = intrinsic(_typed_16), intrinsic(_typed_32)


def _piece(bits: int, context: Any, builder: Any, _: Any, given: Any) -> Any:
    lanes, rows, others, *borders, at, block = given
    made = Emitted(builder, rows, block, bits)
    table = builder.inttoptr(others, ir.IntType(64).as_pointer())

    def taken_off(stream: Any, keystream: list[Any]) -> None:
        address = builder.add(builder.load(builder.gep(table, [stream])), at)
        made.store(made.combined(made.load(address), keystream, builder.sub), address)

    state = made.streams((borders[0], borders[1]), made.load(lanes), builder.add, taken_off)
    state = made.streams((borders[1], borders[2]), state, builder.add)
    made.store(made.streams((borders[2], borders[3]), state, builder.sub), lanes)
    return context.get_dummy_value()


def _loop_16(
    places: Ints, rows: NDArray[np.uint8], others: Ints, spans: Ints, together: int, pieces: int, first: int
) -> None:
    for low in range(0, pieces, together):
        for vector in range(len(places)):
            a, b, c, d = spans[vector, 0], spans[vector, 1], spans[vector, 2], spans[vector, 3]
            for piece in range(low, min(low + together, pieces)):
                at, block = piece * PIECE_BYTES, 2 + (first + piece) * PIECE_BLOCKS
                _piece_16(places[vector] + at, rows.ctypes.data, others.ctypes.data, a, b, c, d, at, block)


def _loop_32(
    places: Ints, rows: NDArray[np.uint8], others: Ints, spans: Ints, together: int, pieces: int, first: int
) -> None:
    for low in range(0, pieces, together):
        for vector in range(len(places)):
            a, b, c, d = spans[vector, 0], spans[vector, 1], spans[vector, 2], spans[vector, 3]
            for piece in range(low, min(low + together, pieces)):
                at, block = piece * PIECE_BYTES, 2 + (first + piece) * PIECE_BLOCKS
                _piece_32(places[vector] + at, rows.ctypes.data, others.ctypes.data, a, b, c, d, at, block)
