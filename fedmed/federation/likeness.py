"""How far one site's images are from the others', and how they would have to be turned to be nearer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fingerprint import DIRECTIONS, PER_OCTAVE, Statistics

Floats = NDArray[np.float64]

ENOUGH = 100
"""Cases from which on a site counts hardly more for having more: a large site does not outvote the others."""


@dataclass(frozen=True)
class Share:
    """A histogram in shares, and by how much it varies by chance: the variance of a mean of that many cases."""

    values: Floats
    variance: float


def shares(statistics: Statistics, name: str) -> Share | None:
    """A histogram with sum 1; None where bins too small to tell hide more than half of the cases."""
    counts = statistics.histograms.get(name)
    if counts is None or not statistics.cases or counts.sum() * 2 < statistics.cases:
        return None
    return Share(np.asarray(counts / counts.sum(), np.float64), 1 / int(counts.sum()))


def brightness(statistics: Statistics) -> Share | None:
    """In which share of the cases each cell of the map is one of the brighter ones."""
    if statistics.brighter is None or not statistics.cases:
        return None
    return Share(np.asarray(statistics.brighter / statistics.cases, np.float64), 1 / statistics.cases)


def pooled(parts: Sequence[Share | None]) -> Share | None:
    """The mean of several sites, weighted as if sites differed by chance and by one part in `ENOUGH` of their own.

    (The weights of a random-effects mean: DerSimonian and Laird, Control. Clin. Trials 7:177, 1986.)
    """
    known = [part for part in parts if part is not None]
    if not known:
        return None
    weights = np.array([1 / (part.variance + 1 / ENOUGH) for part in known])
    weights /= weights.sum()
    values = np.tensordot(weights, np.array([part.values for part in known]), axes=1)
    return Share(values, float((weights**2 * [part.variance for part in known]).sum()))


def total_variation(one: Floats, other: Floats) -> float:
    """Half the sum of the differences of two histograms of sum 1: 0 for equal, 1 for disjoint ones."""
    return float(np.abs(one - other).sum() / 2)


def octaves(one: Floats, other: Floats) -> float:
    """How far one histogram of lengths has to be moved to be the other: the earth mover's distance, in factors of two."""
    return float(np.abs(np.cumsum(one - other)).sum() / PER_OCTAVE)


def cells_apart(one: Floats, other: Floats) -> float:
    """The mean difference of the cells of two maps: 0 for equal, up to 1."""
    return float(np.abs(one - other).mean())


def chance(one: Share, other: Share) -> float:
    """How much two sites may differ that draw from the same images, as a standard deviation of one share."""
    return math.sqrt(one.variance + other.variance)


@dataclass(frozen=True)
class Turn:
    """What may have befallen all images of a site; undone by the same or the opposite."""

    done: str
    """Said of the images."""
    undo: Callable[[Floats], Floats]
    """On the map."""
    sideways: bool = False
    """Whether changes across become changes down."""


TURNS = (
    Turn("lie sideways (turned by 90 degrees to the right)", lambda cells: np.rot90(cells), True),
    Turn("lie sideways (turned by 90 degrees to the left)", lambda cells: np.rot90(cells, -1), True),
    Turn("lie sideways (with rows and columns exchanged)", np.transpose, True),
    Turn("lie sideways (with rows and columns exchanged, upside down)", lambda cells: np.rot90(cells, 2).T, True),
    Turn("are turned by 180 degrees", lambda cells: np.rot90(cells, 2)),
    Turn("are mirrored left to right", np.fliplr),
    Turn("are mirrored top to bottom", np.flipud),
    Turn("have bright and dark exchanged", lambda cells: 1 - cells),
)


@dataclass(frozen=True)
class Suspicion:
    """The turn that explains best how a site's images differ."""

    turn: Turn
    as_they_are: float
    undone: float
    """Distance to the others once the turn is undone."""
    chance: float

    @property
    def gain(self) -> float:
        """How much nearer undoing it brings them."""
        return self.as_they_are - self.undone


def suspect(mine: tuple[Share, Share | None], others: tuple[Share, Share | None]) -> Suspicion:
    """The best of `TURNS` for maps and, where both tell, edges; the distance is the sum of both distances."""
    found = []
    for turn in TURNS:
        before, after = (cells_apart(cells, others[0].values) for cells in (mine[0].values, turn.undo(mine[0].values)))
        if turn.sideways and mine[1] is not None and others[1] is not None:
            before += total_variation(mine[1].values, others[1].values)
            after += total_variation(np.roll(mine[1].values, DIRECTIONS // 2), others[1].values)
        found.append(Suspicion(turn, before, after, chance(mine[0], others[0])))
    return max(found, key=lambda each: each.gain)
