"""How far one site's images are from the others': histograms in shares, means of several sites, distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fingerprint import PER_OCTAVE, Statistics

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


def directions(statistics: Statistics) -> Share | None:
    """Which share of the cases has its edges in each direction; bins too small to tell are taken to be alike."""
    counts = statistics.histograms.get("edges")
    if counts is None or not statistics.cases:
        return None
    hidden = max(0, statistics.cases - int(counts.sum()))
    filled = counts + (counts == 0) * (hidden / max(1, int((counts == 0).sum())))
    return Share(np.asarray(filled / filled.sum(), np.float64), 1 / statistics.cases) if filled.sum() else None


def brightness(statistics: Statistics) -> Share | None:
    """In which share of the cases each cell of the map is one of the brighter ones."""
    if statistics.brighter is None or not statistics.cases:
        return None
    return Share(np.asarray(statistics.brighter / statistics.cases, np.float64), 1 / statistics.cases)


class Pool:
    """The mean of several sites, less one, weighted as if sites differed by chance and by one part in `ENOUGH` of their own.

    (The weights of a random-effects mean: DerSimonian and Laird, Control. Clin. Trials 7:177, 1986.)
    """

    def __init__(self, parts: Mapping[str, Share | None]) -> None:
        """By name of the site; None for one that does not tell."""
        self._parts = {name: part for name, part in parts.items() if part is not None}
        weights = [_weight(part) for part in self._parts.values()]
        self._weight = sum(weights)
        self._sum = sum((w * part.values for w, part in zip(weights, self._parts.values(), strict=True)), np.float64(0))
        self._spread = sum(w**2 * part.variance for w, part in zip(weights, self._parts.values(), strict=True))

    def without(self, name: str) -> Share | None:
        """The mean of the others; None where none of them tells."""
        own = self._parts.get(name)
        if len(self._parts) - (own is not None) < 1:
            return None
        weight, values, spread = self._weight, self._sum, self._spread
        if own is not None:
            weight, values = weight - _weight(own), values - _weight(own) * own.values
            spread -= _weight(own) ** 2 * own.variance
        return Share(np.asarray(values / weight, np.float64), max(0.0, spread / weight**2))


def _weight(part: Share) -> float:
    return 1 / (part.variance + 1 / ENOUGH)


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
