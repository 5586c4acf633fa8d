"""Random words to draws of one table: NumPy's search is the definition, numba's gives the same bits sooner."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy.dp.tables import GUIDE_BITS, Table

Search = Callable[[NDArray[np.uint64], Table], tuple[NDArray[np.int64], int]]
"""Words (n,) and a table: draws (n,), and how many words lie on a bound's upper bits, so that those do not decide."""
WORTH_COMPILING = 2**17
"""Draws from which on compiled code is used: its first call loads it for about half a second."""


def by_numpy(words: NDArray[np.uint64], table: Table) -> tuple[NDArray[np.int64], int]:
    """The lowest bit of a word is the sign, the other 63 are searched for among the bounds."""
    magnitudes = np.searchsorted(table.high, words >> np.uint64(1), side="right")
    return signed(magnitudes, words), len(undecided(words, table, magnitudes))


def undecided(words: NDArray[np.uint64], table: Table, magnitudes: NDArray[np.int64] | None = None) -> NDArray[np.intp]:
    """Where a word's upper 63 bits are those of a bound."""
    if magnitudes is None:
        magnitudes = np.searchsorted(table.high, words >> np.uint64(1), side="right")
    below = table.high[np.maximum(magnitudes - 1, 0)]
    return np.flatnonzero((magnitudes > 0) & (below == words >> np.uint64(1)))


def signed(magnitudes: NDArray[np.int64], words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """-0 is 0, so that P[0] is what the table says, and P[x] = P[-x] is half of it for the others."""
    return np.where(words & np.uint64(1), -magnitudes, magnitudes)


def search_for(count: int) -> Search:
    """The faster search of `count` draws that is here."""
    compiled = _compiled() if count >= WORTH_COMPILING else None
    return by_numpy if compiled is None else compiled


@functools.cache
def _compiled() -> Search | None:
    try:
        import numba
    except ImportError:
        return None
    try:
        loop = numba.njit(nogil=True, cache=True)(_loop)
    except RuntimeError:  # numba found no folder that can be written
        loop = numba.njit(nogil=True)(_loop)

    def by_numba(words: NDArray[np.uint64], table: Table) -> tuple[NDArray[np.int64], int]:
        draws = np.empty(len(words), np.int64)
        return draws, int(loop(words, table.high, table.guide, np.uint64(63 - GUIDE_BITS), draws))

    return by_numba


def _loop(words: Any, high: Any, guide: Any, shift: Any, draws: Any) -> int:
    """On from where the guide says to the first bound above; not constant in time, but on the clinic's own machine."""
    ties = 0
    for place in range(words.size):
        word = words[place]
        number = word >> np.uint64(1)
        at = guide[number >> shift]
        while high[at] <= number:
            at += 1
        if at > 0 and high[at - 1] == number:
            ties += 1
        draws[place] = -at if word & np.uint64(1) else at
    return ties
