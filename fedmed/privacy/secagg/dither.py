"""Random bits for stochastic rounding: 16 a value, from the keystream that masks are made of, under a seed of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY, PREFIX = 16, 8  # bytes of a seed: AES-128 key, first part of each nonce
SEED = KEY + PREFIX
SEGMENT = 4 << 20  # bytes under one nonce
BLOCK = 1 << 16  # numbers at a time; with the values and lanes that go with them they stay in a core's cache

_ZEROS = bytes(2 * BLOCK)
_SPARE = 16  # older versions of cryptography want room for one block of the cipher more


def blocks(seed: bytes) -> Iterator[NDArray[np.uint16]]:
    """The numbers of `seed` (24 bytes) without end, `(BLOCK,)` at a time; each block overwrites the one before it.

    Segment i is the keystream of AES-128-GCM under nonce `prefix || be32(i)`, read as little-endian words: the
    construction of the masks. Raises ValueError for a seed of another length.
    """
    if len(seed) != SEED:
        raise ValueError(f"a seed of {len(seed)} bytes; it must have {SEED}")
    cipher, prefix = algorithms.AES(seed[:KEY]), seed[KEY:]
    memory = bytearray(2 * BLOCK + _SPARE)
    numbers = np.frombuffer(memory, "<u2", BLOCK)
    numbers.flags.writeable = False
    segment = 0
    while True:
        stream = Cipher(cipher, modes.GCM(prefix + segment.to_bytes(4, "big"))).encryptor()
        for _ in range(SEGMENT // (2 * BLOCK)):
            stream.update_into(_ZEROS, memory)
            yield numbers
        segment += 1
