"""Masks: keystreams added to the lanes of a vector in place, mod 2^32 or 2^16, in chunks that stay in the cache.

Long vectors under several masks go to a GPU where one is found right (`cuda`): the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import ConfigError, FederationError
from fedmed.privacy import keystream
from fedmed.privacy.keystream import CHUNK_BYTES, SEGMENT_BYTES, SPARE_BYTES, ZEROS, Way
from fedmed.privacy.secagg import cuda, sliced

Lanes = NDArray[np.uint32] | NDArray[np.uint16]
TOGETHER = 64  # streams open at once: their key schedules stay in the cache
CACHE_LINE = 64
WORTH_STREAMS, WORTH_BYTES = 4, 2**28
"""Below so many masks the vector's way to a GPU and back takes as long as its masks; below so many bytes of keystream (60 ms
of one core) CUDA's start does. Reckoned, not measured: no GPU so far."""
SAMPLE = 1024
"""Lanes of each part that the CPU masks too."""


@dataclass(frozen=True)
class Stream:
    """A mask: its 24-byte seed, and whether it is added (+1) or taken off (-1)."""

    seed: bytes = field(repr=False)
    sign: int


def apply(lanes: Lanes, streams: Sequence[Stream], threads: int | None = None) -> None:
    """Add all masks to `lanes` in place; the same bytes whatever the threads, which share the segments, and on a GPU.

    `threads` is all cores where None; site processes of one core each pass 1, and leave the GPU alone. FEDMED_MASKS=cpu or
    gpu decides instead. Raises ConfigError for any other word there, MissingPart where `gpu` is wished and none makes masks,
    FederationError where a GPU made others than the CPU: nothing may be sent then.
    """
    if lanes.ndim != 1 or lanes.dtype.itemsize not in (2, 4) or lanes.dtype.kind != "u":
        raise ValueError(f"lanes are {lanes.dtype} {list(lanes.shape)}; allowed: uint16 or uint32, one axis")
    way = keystream.fastest()
    if _to_gpu(lanes, streams, threads) and _by_gpu(lanes, streams, way):
        return
    count = -(-lanes.nbytes // SEGMENT_BYTES)
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


def _to_gpu(lanes: Lanes, streams: Sequence[Stream], threads: int | None) -> bool:
    wish = os.environ.get("FEDMED_MASKS")
    if wish not in (None, "cpu", "gpu"):
        raise ConfigError(f"FEDMED_MASKS: got {wish!r}, allowed: cpu, gpu, or leave it out to take the one that pays")
    if wish is not None:
        return wish == "gpu" and min(lanes.size, len(streams)) > 0
    pays = len(streams) >= WORTH_STREAMS and lanes.nbytes * len(streams) >= WORTH_BYTES
    return pays and threads is None and cuda.why_not() is None


def _by_gpu(lanes: Lanes, streams: Sequence[Stream], way: Way) -> bool:
    """As cuda.apply. Were a card to do nothing, an update would leave in the clear: the CPU masks samples of it, too."""
    each = sliced.PART_BYTES // lanes.itemsize
    samples = {first: lanes[first : first + SAMPLE].copy() for first in range(0, lanes.size, each)}
    if not cuda.apply(lanes, streams):
        return False
    for first, sample in samples.items():
        _segment(sample, streams, first * lanes.itemsize // SEGMENT_BYTES, way)
        if not np.array_equal(sample, lanes[first : first + SAMPLE]):
            raise FederationError(
                f"the GPU's masks from lane {first} on are not the CPU's; set FEDMED_MASKS=cpu and begin anew"
            )
    return True


def _segments(lanes: Lanes, streams: Sequence[Stream], numbers: Sequence[int], way: Way) -> None:
    each = SEGMENT_BYTES // lanes.itemsize
    for number in numbers:
        _segment(lanes[number * each : (number + 1) * each], streams, number, way)


def _segment(part: Lanes, streams: Sequence[Stream], number: int, way: Way) -> None:
    scratch = _aligned(CHUNK_BYTES + SPARE_BYTES)
    words, view = scratch[:CHUNK_BYTES].view(part.dtype.newbyteorder("<")), scratch.data
    step, zeros = CHUNK_BYTES // part.itemsize, memoryview(ZEROS)
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
