"""Figures of a federation from histograms of scores, which clinics can sum without telling their own.

A class's histogram counts cases by score: row 0 those of other classes, row 1 its own. Bin b of `bins` holds the scores in
(b / bins, (b + 1) / bins], and bin 0 also 0 itself, so that "score > b / bins", as metrics.py decides, is a sum of bins.
What bins hide is stated beside each figure, and widens its interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedmed.errors import ConfigError, DataError, ProtocolRefused, UpdateRefused
from fedmed.learning.intervals import Figure, auc_figure, mean_of, wilson
from fedmed.learning.order import MOST_BINS
from fedmed.privacy.secagg.layout import Sum
from fedmed.privacy.secagg.questions import CORRECT, SCORES, Fields, score_fields

BINS = 1024
SLACK = 1e-6  # by which a softmax in float32 may leave 0 to 1

Histogram: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Binned(Figure):
    """A figure from bins: the exact one is at most `error` from the value, and its interval lies within this one."""

    error: float | None = None


def histogram(probabilities: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]], bins: int = BINS) -> Histogram:
    """Histograms `(K, 2, bins)` of `probabilities (N, K)`, each class against the rest; of two classes only class 1's.

    `y (N,)` holds classes 0 to K - 1. Raises UpdateRefused for scores that are no probabilities, as those of a model that
    diverged; DataError for a class that is none; ConfigError for bins that are not a power of two, whose edges would be
    rounded.
    """
    _check_bins(bins)
    classes = probabilities.shape[1]
    if len(y) and not (y.min() >= 0 and y.max() < classes):
        raise DataError(f"classes {y.min()} to {y.max()}; the task has classes 0 to {classes - 1}")
    scores = probabilities.astype(np.float64)
    if bad := int(np.count_nonzero(~(np.abs(scores - 0.5) <= 0.5 + SLACK))):
        raise UpdateRefused(f"{bad} of {scores.size} scores are not within 0 to 1: the model's weights are not usable here")
    places = np.clip(np.ceil(scores * bins) - 1, 0, bins - 1).astype(np.int64)
    shown = range(1, 2) if classes == 2 else range(classes)
    counts = [np.bincount(places[:, k] + bins * (y == k), minlength=2 * bins).reshape(2, bins) for k in shown]
    return np.stack(counts).astype(np.int64)


def _check_bins(bins: int) -> None:
    if not (2 <= bins <= MOST_BINS and bins & (bins - 1) == 0):
        raise ConfigError(f"histograms of {bins} bins; allowed are powers of two from 2 to {MOST_BINS}")


def layout_fields(classes: int, bins: int, most_cases: int) -> Fields:
    """The fields of a federated evaluation of clinics with up to `most_cases` cases each.

    `correct`, for more than two classes, counts the cases of each class that the largest probability decides rightly:
    histograms of one class against the rest cannot tell.
    """
    _check_bins(bins)
    if classes < 2:
        raise ConfigError(f"{classes} classes; scores need at least 2")
    return (
        score_fields(2 * bins, None, most_cases) if classes == 2 else score_fields(classes * 2 * bins, classes, most_cases)
    )


def put_scores(
    probabilities: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]], bins: int = BINS
) -> dict[str, ArrayLike]:
    """What a clinic puts into these fields; raises as `histogram` does."""
    put: dict[str, ArrayLike] = {SCORES: histogram(probabilities, y, bins)}
    if (classes := probabilities.shape[1]) > 2:
        put[CORRECT] = np.bincount(y[probabilities.argmax(1) == y], minlength=classes)
    return put


@dataclass(frozen=True)
class Scores:
    """Histograms of all clinics together."""

    histograms: Histogram
    """`(K, 2, bins)`, of two classes `(1, 2, bins)`."""
    correct: NDArray[np.int64] | None
    """`(K,)`: cases of each class decided rightly, of more than two classes."""

    @property
    def cases(self) -> int:
        """How many."""
        return int(self.histograms[0].sum())


def read_scores(total: Sum, classes: int, bins: int = BINS) -> Scores:
    """Those of a sum. Raises ProtocolRefused where counts contradict each other, as a clinic that cheats may have them."""
    found = total.array(SCORES).reshape(1 if classes == 2 else classes, 2, bins)
    if classes == 2:
        return Scores(found, None)
    correct, positives = total.array(CORRECT), found[:, 1].sum(axis=1)
    if len(set(found.sum(axis=(1, 2)).tolist())) > 1 or positives.sum() != found[0].sum() or (correct > positives).any():
        raise ProtocolRefused("the histograms of scores do not count the same cases: a clinic's are wrong; discard the sum")
    return Scores(found, correct)


def auc(h: Histogram) -> tuple[float | None, float]:
    """Area under the ROC curve of `h (2, bins)`, and how far the exact one may be; None where only one class is present.

    Pairs within a bin count half. In truth each counts 0 to 1, hence the bound: half of the share of such pairs.
    """
    negative, positive = h.astype(np.float64)
    pairs = float(positive.sum() * negative.sum())
    if pairs == 0:
        return None, 0.0
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2)) / pairs, float(positive @ negative) / 2 / pairs


def macro_auc(histograms: Histogram) -> tuple[float | None, float]:
    """Mean AUC of `histograms (K, 2, bins)` over the classes present, and how far the exact one may be."""
    found = [(area, bound) for area, bound in map(auc, histograms) if area is not None]
    if not found:
        return None, 0.0
    return sum(area for area, _ in found) / len(found), sum(bound for _, bound in found) / len(found)


def figures(scores: Scores, threshold: float) -> dict[str, dict[str, float | None]]:
    """What metrics.figures tells of the cases themselves, each figure with the `error` that bins leave.

    Two classes: class 1 is positive where its score is above `threshold`; exact where that is a multiple of 1 / bins.
    """
    if scores.cases == 0:
        return {}
    found = _multiclass(scores, scores.correct) if scores.correct is not None else _binary(scores.histograms[0], threshold)
    return {name: asdict(figure) for name, figure in found.items()}


def _binary(h: Histogram, threshold: float) -> dict[str, Binned]:
    negatives, positives = (int(count) for count in h.sum(axis=1))
    low, high = decided(h, threshold)
    sensitivity = _proportion(low[1], high[1], positives)
    specificity = _proportion(negatives - high[0], negatives - low[0], negatives)
    return {
        "auc": _area(h),
        "accuracy": _proportion(low[1] + negatives - high[0], high[1] + negatives - low[0], positives + negatives),
        "balanced_accuracy": _mean([sensitivity, specificity]),
        "sensitivity": sensitivity,
        "specificity": specificity,
    }


def _multiclass(scores: Scores, correct: NDArray[np.int64]) -> dict[str, Binned]:
    counts = scores.histograms[:, 1].sum(axis=1)
    present = [k for k, count in enumerate(counts) if 0 < count < scores.cases]
    return {
        "auc": _mean([_area(scores.histograms[k]) for k in present]),
        "accuracy": _proportion(int(correct.sum()), int(correct.sum()), scores.cases),
        "balanced_accuracy": _mean([_proportion(int(correct[k]), int(correct[k]), int(counts[k])) for k in present]),
    }


def decided(h: Histogram, threshold: float) -> tuple[list[int], list[int]]:
    """How many of `h (2, bins)` are above `threshold`, at least and at most: `[of other classes, of the class]` each.

    They differ by the bin that the threshold lies in; at 0 by bin 0, which holds 0 itself.
    """
    edge = threshold * h.shape[1]
    surely = max(1, math.ceil(edge))
    maybe = min(surely, math.floor(edge))
    return h[:, surely:].sum(axis=1).tolist(), h[:, maybe:].sum(axis=1).tolist()


def _proportion(low: int, high: int, trials: int) -> Binned:
    """`low` to `high` of `trials`."""
    least, most = wilson(low, trials), wilson(high, trials)
    if trials == 0:
        return Binned(None)
    return Binned((low + high) / 2 / trials, least.low, most.high, (high - low) / 2 / trials)


def _area(h: Histogram) -> Binned:
    area, error = auc(h)
    if area is None:
        return Binned(None)
    negatives, positives = (int(count) for count in h.sum(axis=1))
    low = auc_figure(max(0.0, area - error), positives, negatives).low
    return Binned(area, low, auc_figure(min(1.0, area + error), positives, negatives).high, error)


def _mean(parts: Sequence[Binned]) -> Binned:
    mean = mean_of(list(parts))
    if mean.value is None:
        return Binned(None)
    return Binned(mean.value, mean.low, mean.high, sum(part.error or 0.0 for part in parts) / len(parts))
