"""Stochastic rounding of one block as numba's machine code, without the GIL; the lanes are those of `rounding.rounded`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy.secagg.compiled import jitted
from fedmed.privacy.secagg.rounding import STEP, Lanes


def _loop(x: NDArray[Any], multiplier: float, limit: float, dither: NDArray[np.uint16], out: Lanes) -> int:
    bad = 0
    for i in range(x.size):
        good = abs(np.float64(x[i])) <= limit
        bad += not good
        value = np.float64(x[i]) if good else np.float64(0)
        # No fused multiply-add: numba allows none unless told to, and NumPy rounds after each step.
        out[i] = np.int32(np.floor(value * multiplier + (np.float64(dither[i]) + 0.5) * STEP))
    return bad


_machine_code = jitted(_loop)


def rounded(x: NDArray[Any], multiplier: float, limit: float, dither: NDArray[np.uint16], out: Lanes) -> int:
    """What `rounding.rounded` says; `x` contiguous."""
    if x.dtype not in (np.float32, np.float64) or not x.dtype.isnative:
        x = x.astype(np.float64)
    x = x.view()
    x.flags.writeable = False  # else numba would compile the loop once more for arrays over a file's bytes
    return int(_machine_code(x, multiplier, limit, dither, out))
