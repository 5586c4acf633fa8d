"""Masks: keystreams added to the lanes of a vector in place, mod 2^32 or 2^16, in chunks that stay in the cache.

Long vectors go to the processor's vector AES (`vaes`), and under several masks to a GPU (`cuda`), where these are there and
were found right: the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import ConfigError, FederationError
from fedmed.privacy import keystream
from fedmed.privacy.keystream import CHUNK_BYTES, SEGMENT_BYTES, SPARE_BYTES, ZEROS, Way
from fedmed.privacy.secagg import cuda, sliced
from fedmed.privacy.secagg.rounding import COMPILED_FROM, Lanes

Adder = Callable[[Lanes, int], None]
"""Adds some masks' segment of this number to its lanes."""
Masker = Callable[[Lanes], None]
"""Puts a round's masks on its vector, in place."""
TOGETHER = 64  # streams open at once: their key schedules stay in the cache
CACHE_LINE = 64
WORTH_STREAMS, WORTH_BYTES = 4, 2**28
"""Below so many masks the vector's way to a GPU and back takes as long as its masks; below so many bytes of keystream (60 ms
of one core) CUDA's start does. Reckoned, not measured: no GPU so far."""
SAMPLE = 1024
"""Lanes of each part that the CPU masks too."""


class Stream(NamedTuple):
    """A mask: its 24-byte seed, which is never shown, and whether it is added (+1) or taken off (-1)."""

    seed: bytes
    sign: int

    def __repr__(self) -> str:
        return f"Stream(sign={self.sign})"


def apply(lanes: Lanes, streams: Sequence[Stream], threads: int | None = None, is_warm: bool = False) -> None:
    """Add all masks to `lanes` in place; the same bytes whatever the threads, which share the segments, and on a GPU.

    `is_warm` where the process masks many vectors: machine code, once loaded, pays for short ones as well.
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
    hands, add = min(count, threads or os.cpu_count() or 1), _adder(lanes, streams, way, is_warm)
    if hands <= 1:
        _segments(lanes, add, range(count))
        return
    with ThreadPoolExecutor(hands) as pool:  # ciphers and NumPy let go of the interpreter
        list(pool.map(lambda first: _segments(lanes, add, range(first, count, hands)), range(hands)))


def apply_all(vectors: Sequence[Lanes], streams: Sequence[Sequence[Stream]]) -> None:
    """`apply`, on one thread of a process that masks many vectors: to each its streams, which lie in the same order.

    Two that share a mask have its keystream made once, where the vector AES is there and all are of one kind and length.
    """
    kinds = {(each.dtype, each.shape, each.flags.c_contiguous and each.dtype.isnative) for each in vectors}
    plain = os.environ.get("FEDMED_MASKS") in (None, "cpu") and keystream.wish() is None and _vector_adder() is not None
    if plain and len(vectors) > 1 and len(kinds) == 1 and all(fits for _, _, fits in kinds):
        from fedmed.privacy.secagg import vaes_pairs

        vaes_pairs.Shared(streams).apply(vectors)
        return
    for lanes, some in zip(vectors, streams, strict=True):
        apply(lanes, some, 1, is_warm=True)


def ahead(size: int, dtype: Any, streams: Sequence[Stream], threads: int | None = None) -> Masker:
    """What will mask a vector of `size` lanes. The masks are made while training runs, and one addition is left then.

    With one thread they are made when the vector is there: the only core trains until then, and no second vector is held.
    """
    if threads == 1:
        return partial(apply, streams=streams, threads=1)
    pool = ThreadPoolExecutor(1, "fedmed-masks")
    made = pool.submit(expand, size, dtype, streams, threads)
    pool.shutdown(wait=False)

    def put_on(lanes: Lanes) -> None:
        np.add(lanes, made.result(), out=lanes)

    return put_on


def expand(size: int, dtype: Any, streams: Sequence[Stream], threads: int | None = None) -> Lanes:
    """The sum of all masks as a vector of `size` lanes."""
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
        _add(streams, way, sample, first * lanes.itemsize // SEGMENT_BYTES)
        if not np.array_equal(sample, lanes[first : first + SAMPLE]):
            raise FederationError(
                f"the GPU's masks from lane {first} on are not the CPU's; set FEDMED_MASKS=cpu and begin anew"
            )
    return True


def _adder(lanes: Lanes, streams: Sequence[Stream], way: Way, is_warm: bool) -> Adder:
    """The vector AES for vectors that are long enough to load machine code for, the library's cipher for all others."""
    fits = (is_warm or lanes.size >= COMPILED_FROM) and lanes.flags.c_contiguous and lanes.dtype.isnative
    if fits and streams and keystream.wish() is None and (vector := _vector_adder()) is not None:
        return vector(streams)
    return partial(_add, streams, way)


@cache
def _vector_adder() -> Callable[[Sequence[tuple[bytes, int]]], Adder] | None:
    try:
        from fedmed.privacy.secagg import vaes
    except ImportError:
        return None
    return vaes.Adder if vaes.why_not() is None else None


def _segments(lanes: Lanes, add: Adder, numbers: Sequence[int]) -> None:
    each = SEGMENT_BYTES // lanes.itemsize
    for number in numbers:
        add(lanes[number * each : (number + 1) * each], number)


def _add(streams: Sequence[Stream], way: Way, part: Lanes, number: int) -> None:
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
