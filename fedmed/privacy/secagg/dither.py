"""Random bits for stochastic rounding: 16 a value, from a keystream like those of the masks, under a seed of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy import keystream
from fedmed.privacy.keystream import SEGMENT_BYTES, SPARE_BYTES, ZEROS

BLOCK = 1 << 16  # numbers at a time; with the values and lanes that go with them they stay in a core's cache
SIZE = 2 * BLOCK


def blocks(seed: bytes) -> Iterator[NDArray[np.uint16]]:
    """The numbers of `seed` (24 bytes) without end, `(BLOCK,)` at a time; each block overwrites the one before it.

    Raises ValueError for a seed of another length.
    """
    memory, zeros = bytearray(SIZE + SPARE_BYTES), memoryview(ZEROS)[:SIZE]
    numbers = np.frombuffer(memory, "<u2", BLOCK)
    numbers.flags.writeable = False
    target = memoryview(memory)
    for number in count():
        fill = keystream.segment(seed, number, keystream.fastest())
        for _ in range(SEGMENT_BYTES // SIZE):
            fill(zeros, target)
            yield numbers
