"""Masks: keystreams added to the lanes of a vector in place, mod 2^32 or 2^16, in chunks that stay in the cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy import keystream
from fedmed.privacy.keystream import CHUNK_BYTES, SEGMENT_BYTES, SPARE_BYTES, ZEROS, Way

Lanes = NDArray[np.uint32] | NDArray[np.uint16]
TOGETHER = 64  # streams open at once: their key schedules stay in the cache
CACHE_LINE = 64


@dataclass(frozen=True)
class Stream:
    """A mask: its 24-byte seed, and whether it is added (+1) or taken off (-1)."""

    seed: bytes = field(repr=False)
    sign: int


def apply(lanes: Lanes, streams: Sequence[Stream], threads: int | None = None) -> None:
    """Add all masks to `lanes` in place; the same bytes whatever the threads, which share the segments.

    `threads` is all cores where None; site processes of one core each pass 1.
    """
    if lanes.ndim != 1 or lanes.dtype.itemsize not in (2, 4) or lanes.dtype.kind != "u":
        raise ValueError(f"lanes are {lanes.dtype} {list(lanes.shape)}; allowed: uint16 or uint32, one axis")
    way, count = keystream.fastest(), -(-lanes.nbytes // SEGMENT_BYTES)
    hands = min(count, threads or os.cpu_count() or 1)
    if hands <= 1:
        _segments(lanes, streams, range(count), way)
        return
    with ThreadPoolExecutor(hands) as pool:  # the cipher and NumPy let go of the interpreter
        list(pool.map(lambda first: _segments(lanes, streams, range(first, count, hands), way), range(hands)))


def expand(size: int, dtype: Any, streams: Sequence[Stream], threads: int | None = None) -> Lanes:
    """The sum of all masks as a vector of `size` lanes, made while training runs: one addition is left then."""
    lanes: Lanes = np.zeros(size, dtype)
    apply(lanes, streams, threads)
    return lanes


def _segments(lanes: Lanes, streams: Sequence[Stream], numbers: Sequence[int], way: Way) -> None:
    scratch = _aligned(CHUNK_BYTES + SPARE_BYTES)
    words, view = scratch[:CHUNK_BYTES].view(lanes.dtype.newbyteorder("<")), scratch.data
    each, step = SEGMENT_BYTES // lanes.itemsize, CHUNK_BYTES // lanes.itemsize
    zeros = memoryview(ZEROS)
    for number in numbers:
        part = lanes[number * each : (number + 1) * each]
        for first in range(0, len(streams), TOGETHER):
            opened = [(keystream.segment(one.seed, number, way), one.sign) for one in streams[first : first + TOGETHER]]
            for low in range(0, len(part), step):
                chunk = part[low : low + step]
                for fill, sign in opened:
                    fill(zeros[: chunk.nbytes], view[: chunk.nbytes + SPARE_BYTES])
                    (np.add if sign > 0 else np.subtract)(chunk, words[: len(chunk)], out=chunk)


def _aligned(size: int) -> NDArray[np.uint8]:
    buffer = np.empty(size + CACHE_LINE, np.uint8)
    start = -buffer.ctypes.data % CACHE_LINE
    return buffer[start : start + size]
