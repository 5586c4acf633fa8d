"""Loops as machine code, by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def jitted(function: Callable[..., Any]) -> Any:
    """The function as machine code, compiled once for each kind of array, and kept on disk where a folder can be written.

    It runs without the GIL; every operation is rounded as NumPy rounds it.
    """
    try:
        return numba.njit(function, cache=True, nogil=True)
    except RuntimeError:  # numba found no folder that can be written
        return numba.njit(function, nogil=True)
