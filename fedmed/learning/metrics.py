"""How well probabilities match classes, each figure with its 95 % interval; what is undefined is None, never 0.

Values come from torchmetrics, intervals from fedmed.learning.intervals.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from fedmed.learning.intervals import Figure, auc_figure, mean_of, wilson

CALIBRATION_BINS = 10
MAX_ROC_POINTS = 200


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
        "auc": auc_figure(binary_auc(score, y), positive, negative),
        "accuracy": wilson(hits + rejections, len(y)),
        "balanced_accuracy": mean_of([sensitivity, specificity]),
        "sensitivity": sensitivity,
        "specificity": specificity,
    }


def _multiclass(probabilities: Tensor, y: Tensor) -> dict[str, Figure]:
    decided = probabilities.argmax(1)
    present = [k for k in range(probabilities.shape[1]) if 0 < int((y == k).sum()) < len(y)]
    areas = []
    for k in present:
        count = int((y == k).sum())
        areas.append(auc_figure(binary_auc(probabilities[:, k], (y == k).long()), count, len(y) - count))
    recalls = [wilson(int(((decided == k) & (y == k)).sum()), int((y == k).sum())) for k in present]
    return {
        "auc": mean_of(areas),
        "accuracy": wilson(int((decided == y).sum()), len(y)),
        "balanced_accuracy": mean_of(recalls),
    }


def binary_auc(score: Tensor, y: Tensor) -> float | None:
    """Area under the ROC curve; None where only one class is present."""
    from torchmetrics.functional.classification import binary_auroc  # two seconds to load

    if len(torch.unique(y)) < 2:
        return None
    return float(binary_auroc(score.double(), y))


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
