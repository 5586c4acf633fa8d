"""Randomness by counter: what a member draws does not depend on who else is asked, nor in which order.

Each use of randomness is a key out of the run's seed (`clock.derive_seed`); its draw for a member is that key and the
member's number, mixed as in SplitMix64 (Steele, Lea, Flood 2014). One alone and a million at once get the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import derive_seed

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bits = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S12, _S27, _S30, _S31 = (np.uint64(each) for each in (12, 27, 30, 31))


def key(seed: int, *path: str | int) -> int:
    """Of one use of randomness in the world of `seed`."""
    return derive_seed(seed, "twin", *path)


def mixed(bits: Bits) -> Bits:
    """Each of the 64-bit words, so mixed that all of its bits depend on all that it had."""
    bits = (bits ^ (bits >> _S30)) * _FIRST
    bits = (bits ^ (bits >> _S27)) * _SECOND
    return bits ^ (bits >> _S31)


def bits(use: int, nodes: Ints, *more: Ints | Floats) -> Bits:
    """64 bits for each of `nodes` under the key `use`; `more` are further counters, such as a moment or a window of time."""
    made = mixed(np.asarray(nodes).astype(np.uint64) * _GOLDEN + np.uint64(use))
    for each in more:
        counter = each.view(np.uint64) if each.dtype == np.float64 else each.astype(np.uint64)
        made = mixed(made + _GOLDEN * mixed(counter + _GOLDEN))
    return made


def uniform(use: int, nodes: Ints, *more: Ints | Floats) -> Floats:
    """Of the open interval from 0 to 1."""
    return unit(bits(use, nodes, *more))


def unit(words: Bits) -> Floats:
    """Each word as a number of the open interval from 0 to 1."""
    return ((words >> _S12).astype(np.float64) + 0.5) * 2.0**-52


def further(words: Bits, place: int) -> Bits:
    """Other words that follow from these, one for each `place` above 0."""
    return mixed(words + np.uint64(place * 0xD1B54A32D192ED03 & (1 << 64) - 1))


def exponential(use: int, nodes: Ints, *more: Ints | Floats) -> Floats:
    """Of mean 1."""
    drawn: Floats = -np.log(uniform(use, nodes, *more))
    return drawn


def normal(use: int, nodes: Ints, *more: Ints | Floats) -> Floats:
    """Of mean 0 and deviation 1 (Box, Muller 1958)."""
    one = uniform(use, nodes, *more)
    other = uniform(use ^ 0x5DEECE66D, nodes, *more)
    drawn: Floats = np.sqrt(-2.0 * np.log(one)) * np.cos(2.0 * np.pi * other)
    return drawn


class Order:
    """All numbers below `count` in a random order, of which any part is had without the rest.

    A Feistel network over the next power of two; what falls outside goes through it again (Black, Rogaway 2002).
    """

    def __init__(self, use: int, count: int) -> None:
        self.count = count
        width = max(2, (count - 1).bit_length())
        self._low, self._high = np.uint64(width // 2), np.uint64(width - width // 2)
        self._keys = [use ^ (turn * 0x2545F4914F6CDD1D & (1 << 63) - 1) for turn in range(1, 7)]

    def at(self, places: Ints) -> Ints:
        """The numbers at these places of the order."""
        found = self._once(places.astype(np.uint64))
        while (outside := np.flatnonzero(found >= self.count)).size:
            found[outside] = self._once(found[outside])
        return found.astype(np.int64)

    def _once(self, numbers: Bits) -> Bits:
        one = np.uint64(1)
        low_mask, high_mask = (one << self._low) - one, (one << self._high) - one
        low, high = numbers & low_mask, numbers >> self._low
        for even, odd in zip(self._keys[::2], self._keys[1::2], strict=True):
            high ^= mixed(low + np.uint64(even)) & high_mask
            low ^= mixed(high + np.uint64(odd)) & low_mask
        return (high << self._low) | low
