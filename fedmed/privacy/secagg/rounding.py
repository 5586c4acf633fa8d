"""Stochastic rounding of one block: NumPy's definition, and which back end rounds a vector."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Lanes: TypeAlias = NDArray[np.uint32] | NDArray[np.uint16]
Rounder: TypeAlias = Callable[[NDArray[np.floating[Any]], float, float, NDArray[np.uint16], Lanes], int]

COMPILED_FROM = 1_000_000  # values; below, loading machine code takes longer than it saves
STEP = 2.0**-16  # of the dither


def rounder(size: int, is_warm: bool = False) -> Rounder:
    """What rounds the blocks of a vector of `size` values: numba's loop, where it is installed, for long ones.

    `is_warm` where the process rounds many vectors: for short ones, too.
    """
    return (_compiled() or rounded) if is_warm or size >= COMPILED_FROM else rounded


@cache
def _compiled() -> Rounder | None:
    try:
        from fedmed.privacy.secagg import rounding_compiled
    except ImportError:
        return None
    return rounding_compiled.rounded


def rounded(x: NDArray[np.floating[Any]], multiplier: float, limit: float, dither: NDArray[np.uint16], out: Lanes) -> int:
    """Lanes of `x (n,)` into `out (n,)`: floor(x·multiplier + u), u = (dither + 1/2) / 2^16, in two's complement.

    Every step is one operation of float64, rounded once, so that any back end gets the same lanes. Returns how many values
    are not within ±`limit`, NaN included; their lanes are those of 0. `limit · multiplier` must be below 2^31 - 1.
    """
    values = x.astype(np.float64)
    good = np.abs(values) <= limit  # false for NaN
    count = int(np.count_nonzero(good))
    if count < len(values):
        values = np.where(good, values, 0.0)
    values *= multiplier
    values += (dither.astype(np.float64) + 0.5) * STEP
    np.floor(values, out=values)
    out[:] = values.astype(np.int32)  # wraps where a lane has 16 bits
    return len(values) - count
