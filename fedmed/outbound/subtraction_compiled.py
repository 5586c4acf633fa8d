"""`subtraction.subtract` in one pass of machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.outbound import subtraction
from fedmed.privacy.secagg.compiled import jitted


def _loop(made: NDArray[Any], given: NDArray[Any], out: NDArray[Any]) -> float:
    total = np.float64(0)
    for i in range(out.size):
        out[i] = made[i] - given[i]
        wide = np.float64(out[i])
        total += wide * wide
    return float(total)


_machine_code = jitted(_loop, {"reassoc"})  # the sum's order; each difference is what it is


def subtract(made: NDArray[Any], given: NDArray[Any], out: NDArray[Any]) -> float:
    """See `subtraction.Subtracter`; halves and bytes in another order are left to NumPy."""
    if any(each.dtype not in (np.float32, np.float64) or not each.dtype.isnative for each in (made, given, out)):
        return subtraction.subtract(made, given, out)
    read = []
    for each in (made, given):
        view = each.view()
        view.flags.writeable = False  # else numba would compile the loop once more for arrays over a file's bytes
        read.append(view)
    return float(_machine_code(*read, out))
