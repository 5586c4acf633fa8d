"""When something is so and when it is not: spells that are drawn, hours of the day, and what happens once.

What is drawn hangs on the marks of a Poisson process (`Marks`), any stretch of which is had without the rest: a moment a
month away costs no more than the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedmed.twin import draws
from fedmed.twin.draws import Bits, Floats, Ints

Flags = NDArray[np.bool_]
DAY_S = 86_400.0
MOST = np.cumsum([math.exp(-1) / math.factorial(each) for each in range(5)])
"""How likely a Poisson variable of mean 1 is no more than 0, 1, ... 4."""


class Process(Protocol):
    """Something that is so at times."""

    def look(self, nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
        """Whether it is so for each of `nodes` at its moment of `at`, and until when that stays so (later than `at`)."""


@dataclass(frozen=True)
class Once:
    """From `begins` to `ends`."""

    begins: float
    ends: float

    def look(self, nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
        """See `Process`."""
        is_so = (self.begins <= at) & (at < self.ends)
        return is_so, np.where(at < self.begins, self.begins, np.where(is_so, self.ends, np.inf))


@dataclass(frozen=True)
class Outside:
    """Outside of the hours of a day; `opens` and `closes` are seconds since midnight, and so is `zero` at the time 0."""

    opens: float
    closes: float
    zero: float

    def look(self, nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
        """See `Process`."""
        length = (self.closes - self.opens) % DAY_S or DAY_S
        days = np.floor((at + self.zero - self.opens) / DAY_S)
        began = days * DAY_S + self.opens - self.zero
        is_out = at >= began + length
        until = np.where(is_out, began + DAY_S, began + length)
        return is_out, np.where(until > at, until, np.nextafter(at, np.inf))


@dataclass(frozen=True)
class Marks:
    """A Poisson process for each member, `apart` seconds from mark to mark in the mean, drawn slot by slot of that length.

    A slot has as many marks as a Poisson variable of mean 1 says, each anywhere in it; of more than five, which one
    slot in two thousand has, the rest is left out.
    """

    use: int
    apart: float

    def around(self, nodes: Ints, at: Floats, back: int) -> tuple[Floats, Bits, Floats]:
        """The last mark up to each moment (-inf: none in so many slots `back`), its 64 bits, and the next mark or slot."""
        slots = np.floor(at / self.apart)
        last, word, after = self._in_slot(nodes, slots, at)
        left = np.isinf(last).nonzero()[0]
        for turn in range(1, back + 1):
            if not left.size:
                break
            last[left], word[left], _ = self._in_slot(nodes[left], slots[left] - turn, at[left])
            left = left[np.isinf(last[left])]
        return last, word, np.where(after > at, after, np.nextafter(at, np.inf))

    def _in_slot(self, nodes: Ints, slots: Floats, at: Floats) -> tuple[Floats, Bits, Floats]:
        drawn = draws.bits(self.use, nodes, slots)
        count = np.searchsorted(MOST, draws.unit(drawn))
        last, word, after = np.full(len(nodes), -np.inf), np.zeros_like(drawn), (slots + 1) * self.apart
        for place in range(1, len(MOST) + 1):
            left = (count >= place).nonzero()[0]
            if not left.size:
                break
            words = draws.further(drawn[left], place)
            mark = (slots[left] + draws.unit(words)) * self.apart
            moment, before, beyond = at[left], last[left], after[left]
            is_newer = (mark <= moment) & (mark > before)
            word[left] = np.where(is_newer, words, word[left])
            last[left] = np.where(is_newer, mark, before)
            after[left] = np.where((mark > moment) & (mark < beyond), mark, beyond)
        return last, word, after


@dataclass(frozen=True)
class Absent:
    """Spells of presence and of absence, both exponential.

    At each mark it is drawn anew, and without memory, whether somebody is there: the two-state Markov chain, uniformised
    (Jensen 1953).
    """

    marks: Marks
    share: float
    """Of the time that it is not so."""

    @classmethod
    def of(cls, use: int, spell: float, share: float) -> Absent:
        """Presence for `share` of the time, in spells of mean `spell` seconds."""
        return cls(Marks(use, spell * (1 - share)), share)

    def look(self, nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
        """See `Process`."""
        _, word, until = self.marks.around(nodes, at, 64)
        return draws.unit(draws.further(word, 1)) >= self.share, until


@dataclass(frozen=True)
class Struck:
    """From each mark on for so many seconds."""

    marks: Marks
    lasts: float

    def look(self, nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
        """See `Process`."""
        back = min(64, 1 + int(self.lasts / self.marks.apart))
        last, _, until = self.marks.around(nodes, at, back)
        ends = last + self.lasts
        is_so = at < ends
        return is_so, np.where(is_so, np.minimum(until, ends), until)
