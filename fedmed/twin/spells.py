"""When something is so and when it is not: spells that are drawn, hours of the day, and what happens once.

What is drawn begins anew at the start of each window of time, whose length is `WINDOW` times that of a mean spell and a mean
pause together: a moment a month away costs no more than the first. A spell that a window cuts off goes on as what is drawn
for the next one, so spells are that much shorter than they would be for ever (a sixteenth at most).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedmed.twin import draws
from fedmed.twin.draws import Floats, Ints

Flags = NDArray[np.bool_]
WINDOW = 16
DAY_S = 86_400.0


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
class Drawn:
    """Pauses of mean `pause`, then spells of mean `spell`, both exponential; where `even` each spell is just so long."""

    use: int
    """Key of its draws."""
    pause: float
    spell: float
    even: bool = False

    def look(self, nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
        """See `Process`."""
        length = WINDOW * (self.pause + self.spell)
        window = np.floor(at / length)
        is_so = self._first(nodes, window)
        until = window * length
        ends = until + length
        left = np.arange(len(nodes))
        for turn in range(1_000_000):
            until[left] += self._lasting(nodes[left], window[left], turn, is_so[left])
            left = left[until[left] <= at[left]]
            if not left.size:
                break
            is_so[left] = ~is_so[left]
        until = np.minimum(until, ends)
        return is_so, np.where(until > at, until, np.nextafter(at, np.inf))

    def _first(self, nodes: Ints, window: Floats) -> Flags:
        if self.even:
            return np.zeros(len(nodes), dtype=bool)
        return draws.uniform(self.use ^ 1, nodes, window) < self.spell / (self.pause + self.spell)

    def _lasting(self, nodes: Ints, window: Floats, turn: int, is_so: Flags) -> Floats:
        drawn = draws.exponential(self.use, nodes, window, np.full(len(nodes), turn, dtype=np.int64))
        return np.where(is_so, self.spell * (1.0 if self.even else drawn), self.pause * drawn)
