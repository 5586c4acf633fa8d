"""Loops as machine code, by numba."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numba


def jitted(function: Callable[..., Any], fastmath: Collection[str] = ()) -> Any:
    """The function as machine code, compiled once for each kind of array, and kept on disk where a folder can be written.

    It runs without the GIL; every operation is rounded as NumPy rounds it, but for what `fastmath` allows LLVM.
    """
    options = {"nogil": True, "fastmath": set(fastmath)}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # numba found no folder that can be written
        return numba.njit(function, **options)
