"""Random words of the noise: the AES-128-GCM keystream of one seed, in runs of 2^15 words.

The stream is that of the masks of secure aggregation: of a seed of 24 bytes the first 16 are the AES key and the last 8
begin the nonce, segment number `i` of 4 MiB is the GCM keystream under the nonce `prefix | be32(i)`, and its words are
little-endian. A seed is for one purpose alone: nobody else's stream may begin with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import CipherContext, algorithms
from cryptography.hazmat.primitives.ciphers.base import Cipher
from cryptography.hazmat.primitives.ciphers.modes import GCM
from numpy.typing import NDArray

SEED_BYTES = 24
KEY_BYTES = 16
RUN = 2**15
"""Words in a run: 256 KiB, which stay in a core's own cache."""
RUNS_A_SEGMENT = 16
SEGMENTS = 2**31
"""Segments of the stream itself; numbers from here on are its second halves (`second_half`)."""
_SLACK = 16  # update_into wants room for one more block than it writes
_ZEROS = bytes(8 * RUN)


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
    stream = _stream(seed, number)
    block = bytearray(8 * RUN + _SLACK)
    words = np.frombuffer(block, "<u8", RUN)
    for _ in range(RUNS_A_SEGMENT):
        stream.update_into(_ZEROS, block)
        yield words.astype(np.uint64, copy=False)


def _stream(seed: bytes, segment: int) -> CipherContext:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed of {len(seed)} bytes; noise needs {SEED_BYTES}: an AES-128 key and 8 bytes of the nonce")
    nonce = seed[KEY_BYTES:] + segment.to_bytes(4, "big")
    return Cipher(algorithms.AES(seed[:KEY_BYTES]), GCM(nonce)).encryptor()
