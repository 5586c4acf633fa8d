"""Random words of the noise: the keystream of one seed (`fedmed.privacy.keystream`), in runs of 2^15 words, little-endian.

A seed is for one purpose alone: nobody else's stream may begin with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy import keystream
from fedmed.privacy.keystream import CHUNK_BYTES, SEGMENT_BYTES, SPARE_BYTES, ZEROS

RUN = CHUNK_BYTES // 8
"""Words in a run, which stay in a core's own cache."""
RUNS_A_SEGMENT = SEGMENT_BYTES // CHUNK_BYTES
SEGMENTS = 2**31
"""Segments of the stream itself; numbers from here on are its second halves (`second_half`)."""


def runs(seed: bytes) -> Iterator[NDArray[np.uint64]]:
    """The stream's runs (2^15,) uint64, in order; each is overwritten by the next.

    Raises ValueError for a seed that is not 24 bytes, and at the end of the stream, after 2^50 words.
    """
    for segment in range(SEGMENTS):
        yield from _segment(seed, segment)
    raise ValueError(f"the stream of a seed ends after {SEGMENTS} segments of 4 MiB; take another seed")


def second_half(seed: bytes, run: int, places: NDArray[np.intp]) -> list[int]:
    """64 more bits of the words at `places` of a run: where the first 64 do not decide, which almost never happens."""
    segment, within = divmod(run, RUNS_A_SEGMENT)
    for number, words in enumerate(_segment(seed, SEGMENTS + segment)):
        if number == within:
            return [int(word) for word in words[places]]
    raise AssertionError("a run lies within its segment")


def _segment(seed: bytes, number: int) -> Iterator[NDArray[np.uint64]]:
    fill = keystream.segment(seed, number, keystream.fastest())
    block = bytearray(CHUNK_BYTES + SPARE_BYTES)
    words, target = np.frombuffer(block, "<u8", RUN), memoryview(block)
    for _ in range(RUNS_A_SEGMENT):
        fill(ZEROS, target)
        yield words.astype(np.uint64, copy=False)
