"""How well masks match: Dice, IoU, sensitivity and precision per case, and their means with 95 % intervals.

Per case and foreground class, Dice = 2 TP / (2 TP + FP + FN) and IoU = TP / (TP + FP + FN). Where truth and prediction
are both empty the case says nothing about that class and is left out; where only the truth is empty, Dice and IoU are 0
and the sensitivity is left out. A case's figure is the mean over its classes, the set's figure the mean over its cases.

Intervals: Student's t on the cases' figures with the cluster-robust variance of a mean (Liang & Zeger 1986) and
clusters - 1 degrees of freedom, the cluster being the patient: two eyes of one child are not two independent cases.
They end at 0 and 1; with a single patient there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmed.learning.intervals import UNDEFINED, Figure, Z

HITS, FALSE, MISSED = range(3)
Counts = NDArray[np.int64]
Values = NDArray[np.float64]


def decide(probabilities: Tensor, threshold: float) -> Tensor:
    """Class of each voxel `([D,] H, W)` uint8 from `(K, [D,] H, W)`: at `threshold` for two classes, else the largest."""
    if len(probabilities) == 2:
        return (probabilities[1] > threshold).to(torch.uint8)
    return probabilities.argmax(0).to(torch.uint8)


def tally(decided: Tensor, truth: Tensor, classes: int) -> Counts:
    """Voxels hit, false and missed of each foreground class: `(classes - 1, 3)`."""
    pairs = torch.bincount(truth.reshape(-1).long() * classes + decided.reshape(-1).long(), minlength=classes * classes)
    table = pairs.reshape(classes, classes).numpy()
    hits = table.diagonal()
    return np.stack([hits, table.sum(0) - hits, table.sum(1) - hits], 1)[1:].astype(np.int64)


def per_case(tallies: Counts) -> dict[str, Values]:
    """Each measure of every case and class `(N, classes - 1)`; NaN where it is undefined."""
    hits, false, missed = (tallies[..., which].astype(np.float64) for which in (HITS, FALSE, MISSED))
    with np.errstate(invalid="ignore"):
        return {
            "dice": 2 * hits / (2 * hits + false + missed),
            "iou": hits / (hits + false + missed),
            "sensitivity": hits / (hits + missed),
            "precision": hits / (hits + false),
        }


def mask_figures(tallies: Counts, classes: Sequence[str], patients: Sequence[str] | None = None) -> dict[str, Any]:
    """Mean and interval of every measure, and with several foreground classes the Dice of each (`dice_NAME`)."""
    if len(tallies) == 0:
        return {}
    measured = per_case(tallies)
    found = {name: mean_figure(mean_over_classes(values), patients) for name, values in measured.items()}
    if len(classes) > 2:
        for index, name in enumerate(classes[1:]):
            found[f"dice_{name}"] = mean_figure(measured["dice"][:, index], patients)
    return {name: asdict(figure) for name, figure in found.items()}


def mean_over_classes(values: Values) -> Values:
    """`(N, classes - 1)` -> `(N,)`, over the classes that are defined; NaN where none is."""
    defined = np.isfinite(values)
    count = defined.sum(1)
    return np.where(count > 0, np.where(defined, values, 0.0).sum(1) / np.maximum(count, 1), np.nan)


def mean_figure(values: Values, patients: Sequence[str] | None = None) -> Figure:
    """Mean of the defined values and its interval, by patient."""
    known = np.isfinite(values)
    if not known.any():
        return UNDEFINED
    owners = np.arange(len(values)) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    values, owners = values[known], np.unique(owners[known], return_inverse=True)[1]
    mean, clusters = float(values.mean()), int(owners.max()) + 1
    if clusters < 2:
        return Figure(mean)
    sums = np.bincount(owners, values - mean)
    half = t_quantile(clusters - 1) * math.sqrt(clusters / (clusters - 1) * float(sums @ sums)) / len(values)
    return Figure(mean, max(0.0, mean - half), min(1.0, mean + half))


def t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t: exact for 1 and 2 degrees of freedom, else Cornish and Fisher's expansion.

    Abramowitz & Stegun 26.7.5; off by less than 0.01 at 3 degrees of freedom, and by less from there on.
    """
    if freedom == 1:
        return math.tan(math.pi * 0.475)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z, n = Z, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / n ** (power + 1) for power, term in enumerate(terms))
