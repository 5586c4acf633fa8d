"""Byte-wise Shamir shares over GF(2^8), polynomial 0x11d (Shamir 1979)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def _tables() -> tuple[Bytes, NDArray[np.int64]]:
    exp, log, value = np.zeros(512, np.uint8), np.zeros(256, np.int64), 1
    for power in range(255):
        exp[power] = exp[power + 255] = value
        log[value] = power
        value = (value << 1) ^ (0x11D if value & 0x80 else 0)
    return exp, log


EXP, LOG = _tables()
MUL = np.zeros((256, 256), np.uint8)
MUL[1:, 1:] = EXP[LOG[1:, None] + LOG[None, 1:]]


def split(secret: Bytes, holders: int, threshold: int, entropy: Callable[[int], bytes]) -> Bytes:
    """Shares `(holders, len(secret))` at the points 1 to `holders`; any `threshold` of them give the secret back."""
    if not 1 <= threshold <= holders <= 255:
        raise ValueError(f"threshold {threshold} of {holders} holders; allowed: 1 to holders, 255 holders at most")
    drawn = np.frombuffer(entropy((threshold - 1) * len(secret)), np.uint8).reshape(threshold - 1, len(secret))
    points = np.arange(1, holders + 1)
    total = np.zeros((holders, len(secret)), np.uint8)
    for coefficients in (*drawn, secret):  # Horner, the secret last
        total = MUL[points[:, None], total] ^ coefficients[None, :]
    return total


def combine(points: Sequence[int], shares: Bytes) -> Bytes:
    """The secret from shares `(threshold, B)` at `points`: Lagrange's polynomial at zero."""
    if len(set(points)) != len(points) or not all(1 <= point <= 255 for point in points) or len(points) != len(shares):
        raise ValueError(f"points {list(points)}; allowed: different ones from 1 to 255, one a share")
    products = MUL[weights(tuple(points))[:, None], shares]
    secret: Bytes = np.bitwise_xor.reduce(products, axis=0)
    return secret


@lru_cache(maxsize=64)
def weights(points: tuple[int, ...]) -> Bytes:
    """What the shares at these points are multiplied by, `(len(points),)`."""
    logs = [sum(int(LOG[other]) - int(LOG[other ^ each]) for other in points if other != each) for each in points]
    found: Bytes = EXP[np.array(logs) % 255]
    return found
