"""Intervals of 95 % in closed form, so that they need no random numbers: for proportions, areas under curves and means.

Wilson (1927) for proportions, Newcombe's method 5 (2006) for the AUC, the normal sum of half-widths for means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Figure:
    """A value in 0 to 1 with its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


UNDEFINED = Figure(None)


def wilson(successes: int, trials: int) -> Figure:
    """A proportion with Wilson's score interval (1927, JASA 22:209)."""
    if trials == 0:
        return UNDEFINED
    share, spread = successes / trials, Z * Z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    # at shares of 0 and 1 a bound is the share itself, which rounding may miss
    return Figure(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def auc_figure(area: float | None, positive: int, negative: int) -> Figure:
    """An AUC with the areas that it does not contradict: a score interval, not degenerate at 1 (Newcombe, method 5)."""
    if area is None:
        return UNDEFINED
    return Figure(area, _bound(area, 0.0, positive, negative), _bound(area, 1.0, positive, negative))


def _bound(area: float, end: float, positive: int, negative: int) -> float:
    """Between `area` and `end`: where the distance from `area` is z standard errors, by bisection."""
    near, far = area, end
    for _ in range(50):
        middle = (near + far) / 2
        if abs(middle - area) <= Z * _auc_standard_error(middle, positive, negative):
            near = middle
        else:
            far = middle
    return near


def _auc_standard_error(area: float, positive: int, negative: int) -> float:
    """Hanley & McNeil 1982 (Radiology 143:29) with Newcombe's symmetric sample size (2006, Stat Med 25:559)."""
    half = (positive + negative) / 2 - 1
    spread = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
    return math.sqrt(max(0.0, area * (1 - area) * spread / (positive * negative)))


def mean_of(parts: list[Figure]) -> Figure:
    """Mean of independent figures; undefined where one of them is."""
    if not parts or any(part.value is None for part in parts):
        return UNDEFINED
    value = sum(part.value or 0.0 for part in parts) / len(parts)
    halves = [((part.high or 0.0) - (part.low or 0.0)) / 2 for part in parts]
    half = math.sqrt(sum(half * half for half in halves)) / len(parts)
    return Figure(value, max(0.0, value - half), min(1.0, value + half))
