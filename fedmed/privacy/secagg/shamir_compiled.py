"""`shamir.split` as machine code: products by doubling, whose time depends on no secret."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy.secagg.compiled import jitted
from fedmed.privacy.secagg.shamir import Bytes

HIGH, LOW = np.uint64(0x8080808080808080), np.uint64(0xFEFEFEFEFEFEFEFE)
SEVEN, ONE, REST = np.uint64(7), np.uint64(1), np.uint64(0x1D)  # what is left of 0x11d


def _loop(coefficients: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Horner at the points 1 to len(out), eight bytes a word; `coefficients` from the highest, the secret last."""
    count = coefficients.shape[1]
    for place in range(out.shape[0]):
        for at in range(count):
            out[place, at] = np.uint64(0)
        for step in range(coefficients.shape[0]):
            for at in range(count):
                value, total = out[place, at], np.uint64(0)
                for bit in range(8):
                    if (place + 1) >> bit & 1:
                        total ^= value
                    value = ((value << ONE) & LOW) ^ (((value & HIGH) >> SEVEN) * REST)
                out[place, at] = total ^ coefficients[step, at]


_machine_code = jitted(_loop)


def split(secret: Bytes, holders: int, threshold: int, entropy: Callable[[int], bytes]) -> Bytes:
    """What `shamir.split` says, for the same entropy the same bytes."""
    if not 1 <= threshold <= holders <= 255:
        raise ValueError(f"threshold {threshold} of {holders} holders; allowed: 1 to holders, 255 holders at most")
    rows = np.zeros((threshold, -(-len(secret) // 8) * 8), np.uint8)
    rows[:-1, : len(secret)] = np.frombuffer(entropy((threshold - 1) * len(secret)), np.uint8).reshape(-1, len(secret))
    rows[-1, : len(secret)] = secret
    out = np.empty((holders, rows.shape[1] // 8), np.uint64)
    _machine_code(rows.view(np.uint64), out)
    return out.view(np.uint8)[:, : len(secret)]
