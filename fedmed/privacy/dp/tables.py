"""Tables of the discrete Gaussian: its cumulative distribution to 127 bits, and how few tables make any width.

The discrete Gaussian of width `sigma` has P[x] proportional to exp(-x^2 / (2 sigma^2)) over the integers (Canonne, Kamath,
Steinke: The Discrete Gaussian for Differential Privacy, NeurIPS 2020, definition 1).

**Narrow (sigma <= 1024): exact but for rounding.** The table holds floor(2^127 P[|x| <= j]), computed in integers of 384
bits; it ends with the j from which on that is 2^127 - 1, which is made 2^127. A draw compares 127 random bits with it and
takes the sign from one more. Every probability is off by less than 2^-126, the cut tail among them, so one draw is within
`entries * 2^-127` of the exact law in statistical distance: at most 2^-113.

**Wide: a sum of narrow ones.** x = step * y + z with y of width `s1` and z of width `s2` has, by completing the square,
exactly the probability C exp(-x^2 / (2 sigma^2)) * (1 + e(x)) with sigma^2 = step^2 s1^2 + s2^2 and, by Poisson summation,
|e(x)| <= 2 sum_{m>=1} exp(-2 pi^2 t^2 m^2), t = s1 s2 / sigma (Peikert: An Efficient and Parallel Gaussian Sampler for
Lattices, CRYPTO 2010, theorem 3.1). Here t >= 2, hence |e| < 2^-112 at *every* x, tails included: unlike a statistical
distance it costs no delta, and of epsilon at most 2^-110 a coordinate and level. y may be such a sum itself.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BITS = 127
ALL = 1 << BITS
GUIDE_BITS = 12
NARROW = 1024.0
"""Widest that has a table of its own."""
LOW = 512.0
"""Width of z in a sum."""
STEP = 221
"""t = LOW / STEP * sqrt(1 - LOW^2 / sigma^2) >= 2.006 for every sigma > NARROW."""
LEAST, MOST = 0.5, 2.0**40
_PRECISION = 384
_DIGITS = 140
_LOW_BITS = 64


@dataclass(frozen=True)
class Table:
    """Of one width: `bounds[j]` is floor(2^127 P[|x| <= j]); `high` (n,) uint64 has their upper 63 bits."""

    sigma: float
    bounds: tuple[int, ...]
    high: NDArray[np.uint64]
    guide: NDArray[np.int64]
    """(4096,): how many bounds are no greater than any number with these upper bits; where a search begins."""


@dataclass(frozen=True)
class Level:
    """One term of a sum: what came before is multiplied by `step`, then a draw of `table` is added."""

    step: int
    table: Table


def levels(sigma: float) -> tuple[Level, ...]:
    """The sum that has width `sigma`, the top first; its variance is within 2^-48 of it, and no smaller.

    Raises ValueError for a width that is not between 0.5 and 2^40.
    """
    if not LEAST <= sigma <= MOST:
        raise ValueError(f"noise of width {sigma} lattice units; from {LEAST} to 2^40 can be drawn")
    if sigma <= NARROW:
        return (Level(1, table(sigma)),)
    # Rounded up twice: less noise than was accounted for is the one error that must not happen.
    rest = math.nextafter(math.sqrt(math.nextafter(sigma * sigma - LOW * LOW, math.inf)) / STEP, math.inf)
    return (*levels(rest), Level(STEP, table(LOW)))


@lru_cache(maxsize=16)
def table(sigma: float) -> Table:
    """The table of a width of at most `NARROW`; the same on every machine, for it is computed in integers."""
    weights = _weights(sigma)
    total = weights[0] + 2 * sum(weights[1:])
    bounds, reached = [], 0
    for magnitude, weight in enumerate(weights):
        reached += weight if magnitude == 0 else 2 * weight
        bounds.append((reached << BITS) // total)
        if bounds[-1] >= ALL - 1:  # what is left of the tail is less than the rounding
            break
    bounds[-1] = ALL
    high = np.array([bound >> _LOW_BITS for bound in bounds], np.uint64)
    starts = np.arange(2**GUIDE_BITS, dtype=np.uint64) << np.uint64(BITS - _LOW_BITS - GUIDE_BITS)
    return Table(sigma, tuple(bounds), high, np.searchsorted(high, starts, side="right").astype(np.int64))


def _weights(sigma: float) -> list[int]:
    """exp(-m^2 / (2 sigma^2)) for m = 0, 1, ... in units of 2^-384, as far as they are not 0; m^2 = 1 + 3 + 5 + ..."""
    with decimal.localcontext(decimal.Context(prec=_DIGITS)):
        width = decimal.Decimal(sigma)
        first = int((-1 / (2 * width * width)).exp() * (1 << _PRECISION))
    factor, weight, weights = first, 1 << _PRECISION, []
    square = first * first >> _PRECISION
    while weight:
        weights.append(weight)
        weight = weight * factor >> _PRECISION
        factor = factor * square >> _PRECISION
    return weights
