"""What is subtracted of two models, and the sum of squares beside it: NumPy's way and machine code for long tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy.secagg.rounding import COMPILED_FROM

Flat = NDArray[Any]
Subtracter = Callable[[Flat, Flat, Flat], float]
"""`(made, given, out)`, each `(n,)` of one type: made - given into `out`; returns the sum of its squares in float64."""
BLOCK = 65_536  # numbers handled at once: they stay in the second-level cache


def subtracter(size: int) -> Subtracter:
    """What subtracts models of `size` numbers."""
    return (_compiled() or subtract) if size >= COMPILED_FROM else subtract


@cache
def _compiled() -> Subtracter | None:
    try:
        from fedmed.outbound import subtraction_compiled
    except ImportError:
        return None
    return subtraction_compiled.subtract


def subtract(made: Flat, given: Flat, out: Flat) -> float:
    """Block by block."""
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused when it is written
        for start in range(0, len(out), BLOCK):
            part = slice(start, start + BLOCK)
            total += squares(np.subtract(made[part], given[part], out=out[part]))
    return total


def squares(flat: Flat) -> float:
    """The sum of squares in float64."""
    wide = flat.astype(np.float64, copy=False)
    return float(np.einsum("i,i", wide, wide))  # not BLAS, whose threads fight for cores that are taken
