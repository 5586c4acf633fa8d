"""Masks as keystreams, added to lanes in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

SEGMENT = 4 * 2**20
CHUNK = 2**18


@dataclass(frozen=True)
class Stream:
    """A mask: its 24-byte seed, and whether it is added (+1) or taken off (-1)."""

    seed: bytes = field(repr=False)
    sign: int


def apply(lanes: NDArray[Any], streams: Sequence[Stream], threads: int | None = None) -> None:
    """Add all masks to `lanes` in place."""
    step, size = CHUNK // lanes.itemsize, SEGMENT // lanes.itemsize
    zeros, scratch = bytes(CHUNK), np.empty(step, lanes.dtype)
    view = scratch.view(np.uint8).data
    for segment, start in enumerate(range(0, len(lanes), size)):
        contexts = [(_encryptor(each.seed, segment), each.sign) for each in streams]
        for low in range(start, min(start + size, len(lanes)), step):
            part = lanes[low : min(low + step, start + size)]
            count = part.nbytes
            for context, sign in contexts:
                context.update_into(zeros[:count], view[:count])
                (np.add if sign > 0 else np.subtract)(part, scratch[: len(part)], out=part)


def _encryptor(seed: bytes, segment: int) -> Any:
    return Cipher(algorithms.AES(seed[:16]), modes.GCM(seed[16:] + segment.to_bytes(4, "big"))).encryptor()
