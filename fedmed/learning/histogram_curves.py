"""Curves and thresholds from a histogram of scores `(2, bins)`; see histograms.py for what its rows and bins are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import ConfigError
from fedmed.learning.histograms import Histogram
from fedmed.learning.intervals import Figure, wilson

CALIBRATION_BINS = 10
MOST_ROC_POINTS = 200


@dataclass(frozen=True)
class OperatingPoint:
    """Cases with a score above `threshold` are called positive. The figures are exact, but optimistic: of the cases that the
    threshold was chosen on."""

    threshold: float
    """A multiple of 1 / bins; below 0 where every case has to be positive."""
    sensitivity: Figure
    specificity: Figure


def _above(h: Histogram) -> NDArray[np.int64]:
    """`(2, bins + 1)`: how many of each row lie above edge j, for each j."""
    return np.pad(np.cumsum(h[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))


def operating_point(
    h: Histogram, *, sensitivity: float | None = None, specificity: float | None = None
) -> OperatingPoint | None:
    """Where the wanted one of the two is reached, and the other is as large as it can be; None without cases of both kinds.

    Raises ConfigError unless exactly one is wanted, of 0 to 1.
    """
    wanted = [share for share in (sensitivity, specificity) if share is not None]
    if len(wanted) != 1 or not 0 <= wanted[0] <= 1:
        raise ConfigError(f"sensitivity {sensitivity} and specificity {specificity}: name one of them, of 0 to 1")
    above, (negatives, positives) = _above(h), h.sum(axis=1)
    if negatives == 0 or positives == 0:
        return None
    if sensitivity is not None:
        edge = int(np.flatnonzero(above[1] / positives >= sensitivity)[-1])
    else:
        edge = int(np.flatnonzero((negatives - above[0]) / negatives >= wanted[0])[0])
    false, true = (int(count) for count in above[:, edge])
    threshold = (edge or -1) / h.shape[1]
    return OperatingPoint(threshold, wilson(true, int(positives)), wilson(int(negatives) - false, int(negatives)))


def roc(h: Histogram) -> list[list[float]] | None:
    """Points `[fpr, tpr]` of the ROC curve, at most 200, each exact; None without cases of both kinds."""
    counts = h.sum(axis=1)
    if not counts.all():
        return None
    points = np.unique(_above(h), axis=1)
    keep = np.linspace(0, points.shape[1] - 1, min(MOST_ROC_POINTS, points.shape[1])).astype(np.int64)
    shares = points[:, keep] / counts[:, None]
    return [[round(float(fpr), 5), round(float(tpr), 5)] for fpr, tpr in shares.T]


def calibration(h: Histogram) -> list[list[float]]:
    """Points `[mean predicted, observed share, n]` of ten groups of scores, those without cases left out.

    A bin belongs to the group that holds its centre, and counts as its centre: a mean is off by at most 1 / (2·bins).
    """
    predicted, share, n = _groups(h)
    return [[round(float(a), 5), round(float(b), 5), int(c)] for a, b, c in zip(predicted, share, n, strict=True)]


def calibration_error(h: Histogram) -> tuple[float | None, float]:
    """Expected calibration error over these groups, and how far the exact one may be: 1 / (2·bins). None without cases.

    The mean distance of predicted and observed shares, weighted by cases (Naeini et al. 2015).
    """
    predicted, share, n = _groups(h)
    if len(n) == 0:
        return None, 0.0
    return float(np.average(np.abs(predicted - share), weights=n)), 0.5 / h.shape[1]


def _groups(h: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean predicted, observed share and n of each group with cases."""
    centres = (np.arange(h.shape[1]) + 0.5) / h.shape[1]
    group = (centres * CALIBRATION_BINS).astype(np.int64)
    counts = h.sum(axis=0)
    n = np.bincount(group, counts, CALIBRATION_BINS).astype(np.float64)
    some = n > 0
    predicted = np.bincount(group, counts * centres, CALIBRATION_BINS)[some] / n[some]
    return predicted, np.bincount(group, h[1], CALIBRATION_BINS)[some] / n[some], n[some]
