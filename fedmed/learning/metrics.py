"""How well probabilities match classes, each figure with its 95 % interval; what is undefined is None, never 0.

Values come from torchmetrics. Intervals are closed forms, so that they need no random numbers: Wilson (1927) for
proportions, Newcombe's method 5 (2006) for the AUC, the normal sum of two Wilson half-widths for the balanced accuracy.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
CALIBRATION_BINS = 10
MAX_ROC_POINTS = 200


@dataclass(frozen=True)
class Figure:
    """A value in 0 to 1 with its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


UNDEFINED = Figure(None)


def figures(probabilities: Tensor, y: Tensor, threshold: float) -> dict[str, Any]:
    """AUC, accuracy, balanced accuracy, sensitivity and specificity of `probabilities (N, K)` for classes `y (N,)`.

    Two classes: class 1 is the positive one, decided at `threshold`. More classes: the largest probability decides, AUC is
    the macro mean of one against the rest over the classes present, sensitivity and specificity are left out.
    """
    if len(y) == 0:
        return {}
    found = _binary(probabilities[:, 1], y, threshold) if probabilities.shape[1] == 2 else _multiclass(probabilities, y)
    return {name: asdict(figure) for name, figure in found.items()}


def _binary(score: Tensor, y: Tensor, threshold: float) -> dict[str, Figure]:
    decided = (score > threshold).long()
    positive, negative = int((y == 1).sum()), int((y == 0).sum())
    hits, rejections = int(((decided == 1) & (y == 1)).sum()), int(((decided == 0) & (y == 0)).sum())
    sensitivity, specificity = wilson(hits, positive), wilson(rejections, negative)
    return {
        "auc": _auc_figure(binary_auc(score, y), positive, negative),
        "accuracy": wilson(hits + rejections, len(y)),
        "balanced_accuracy": _mean_of([sensitivity, specificity]),
        "sensitivity": sensitivity,
        "specificity": specificity,
    }


def _multiclass(probabilities: Tensor, y: Tensor) -> dict[str, Figure]:
    decided = probabilities.argmax(1)
    present = [k for k in range(probabilities.shape[1]) if 0 < int((y == k).sum()) < len(y)]
    areas = []
    for k in present:
        count = int((y == k).sum())
        areas.append(_auc_figure(binary_auc(probabilities[:, k], (y == k).long()), count, len(y) - count))
    recalls = [wilson(int(((decided == k) & (y == k)).sum()), int((y == k).sum())) for k in present]
    return {
        "auc": _mean_of(areas),
        "accuracy": wilson(int((decided == y).sum()), len(y)),
        "balanced_accuracy": _mean_of(recalls),
    }


def binary_auc(score: Tensor, y: Tensor) -> float | None:
    """Area under the ROC curve; None where only one class is present."""
    from torchmetrics.functional.classification import binary_auroc  # two seconds to load

    if len(torch.unique(y)) < 2:
        return None
    return float(binary_auroc(score.double(), y))


def wilson(successes: int, trials: int) -> Figure:
    """A proportion with Wilson's score interval (1927, JASA 22:209)."""
    if trials == 0:
        return UNDEFINED
    share, spread = successes / trials, Z * Z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    # at shares of 0 and 1 a bound is the share itself, which rounding may miss
    return Figure(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def _auc_figure(area: float | None, positive: int, negative: int) -> Figure:
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


def _mean_of(parts: list[Figure]) -> Figure:
    """Mean of independent figures; undefined where one of them is."""
    if not parts or any(part.value is None for part in parts):
        return UNDEFINED
    value = sum(part.value or 0.0 for part in parts) / len(parts)
    halves = [((part.high or 0.0) - (part.low or 0.0)) / 2 for part in parts]
    half = math.sqrt(sum(half * half for half in halves)) / len(parts)
    return Figure(value, max(0.0, value - half), min(1.0, value + half))


def curves(probabilities: Tensor, y: Tensor) -> dict[str, Any]:
    """Points of the ROC curve `[fpr, tpr]` and of the calibration curve `[mean predicted, observed share, n]` (binary)."""
    if probabilities.shape[1] != 2 or len(torch.unique(y)) < 2:
        return {"roc": None, "calibration": None}
    from torchmetrics.functional.classification import binary_roc

    fpr, tpr, _ = binary_roc(probabilities[:, 1].double(), y)
    keep = torch.linspace(0, len(fpr) - 1, min(MAX_ROC_POINTS, len(fpr))).long()
    return {
        "roc": [[round(float(a), 5), round(float(b), 5)] for a, b in zip(fpr[keep], tpr[keep], strict=True)],
        "calibration": _calibration(probabilities[:, 1], y),
    }


def _calibration(score: Tensor, y: Tensor) -> list[list[float]]:
    bins = (score * CALIBRATION_BINS).long().clamp(0, CALIBRATION_BINS - 1)
    points = []
    for k in range(CALIBRATION_BINS):
        inside = bins == k
        if (n := int(inside.sum())) > 0:
            points.append([round(float(score[inside].mean()), 5), round(float(y[inside].float().mean()), 5), n])
    return points
