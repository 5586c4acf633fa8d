"""What masked updates and evaluations say beside tensors: weights, losses, Dice and histograms of scores, to be summed.

A loss that is not finite or beyond `LOSS_BOUND` is undefined: its site adds nothing to the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from fedmed.learning.histograms import BINS, layout_fields, macro_auc, put_scores, read_scores
from fedmed.learning.kinds import Batch, judge_classes, judge_masks
from fedmed.learning.order import KindName, ModelSpec, Order
from fedmed.privacy.secagg.layout import Sum
from fedmed.privacy.secagg.metrics import put_metric, read_metric
from fedmed.privacy.secagg.questions import CASES, DICE, LOSS, LOSS_BOUND, WEIGHT, Fields, loss_fields, mask_fields


def read_update(total: Sum, own: Collection[str] = ()) -> dict[str, Any]:
    """`weight`, the sum by which the tensors' means are made; `loss` and each of `own`, the mean of the sites' or None."""
    return {WEIGHT: total.count(WEIGHT), **{name: read_metric(total, name) for name in (LOSS, *own)}}


def score_fields(spec: ModelSpec, most: int, bins: int = BINS) -> Fields:
    """The fields of an evaluation by sites with up to `most` validation cases each."""
    return *loss_fields(most), *ROWS[spec.kind].fields(spec, most, bins)


def put_score(model: nn.Module | None, data: Batch, order: Order, device: torch.device) -> dict[str, ArrayLike]:
    """What a site puts into these fields for its validation cases; zeros where it has none, and None for the model then.

    Raises UpdateRefused where the model's scores are no probabilities.
    """
    return ROWS[order.model.kind].put(model, data, order, device)


def read_score(total: Sum, spec: ModelSpec, bins: int = BINS) -> dict[str, Any]:
    """What sites found together: `cases`, `loss`, and the leading measure; None where it is undefined.

    Classification: `auc` of the histograms of all sites together, and `auc_error`, by which the exact one may be off.
    Segmentation: `dice`, the mean of the cases that have one. Raises ProtocolRefused where counts contradict each other.
    """
    return {LOSS: read_metric(total, LOSS), **ROWS[spec.kind].read(total, spec, bins)}


def _put_loss(loss: float, weight: int) -> dict[str, float | int]:
    return put_metric(LOSS, loss if abs(loss) <= LOSS_BOUND else None, weight)


def _class_fields(spec: ModelSpec, most: int, bins: int) -> Fields:
    return layout_fields(spec.classes, bins, most)


def _put_classes(model: nn.Module | None, data: Batch, order: Order, device: torch.device) -> dict[str, ArrayLike]:
    y, bins = data[1].numpy(), order.bins or BINS
    if model is None:
        return {**_put_loss(math.nan, 0), **put_scores(np.zeros((0, order.model.classes), np.float32), y, bins)}
    probabilities, loss = judge_classes(model, data, order, device)
    return {**_put_loss(loss, len(y)), **put_scores(probabilities.numpy(), y, bins)}


def _read_classes(total: Sum, spec: ModelSpec, bins: int) -> dict[str, Any]:
    scores = read_scores(total, spec.classes, bins)
    area, error = macro_auc(scores.histograms)
    return {CASES: scores.cases, "auc": area, "auc_error": None if area is None else error}


def _mask_fields(spec: ModelSpec, most: int, bins: int) -> Fields:
    return mask_fields(most)


def _put_masks(model: nn.Module | None, data: Batch, order: Order, device: torch.device) -> dict[str, ArrayLike]:
    if model is None:
        return {**_put_loss(math.nan, 0), CASES: 0, **put_metric(DICE, None, 0)}
    losses, dice = judge_masks(model, data, order, device)
    known = dice[np.isfinite(dice)]
    mean = float(known.mean()) if len(known) else None
    return {**_put_loss(float(losses.mean()), len(losses)), CASES: len(losses), **put_metric(DICE, mean, len(known))}


def _read_masks(total: Sum, spec: ModelSpec, bins: int) -> dict[str, Any]:
    return {CASES: total.count(CASES), DICE: read_metric(total, DICE)}


@dataclass(frozen=True)
class Row:
    """What differs between the kinds of task, beside `kinds.KINDS`."""

    fields: Callable[[ModelSpec, int, int], Fields]
    """`(spec, most, bins)` -> the fields beside the loss."""
    put: Callable[[nn.Module | None, Batch, Order, torch.device], dict[str, ArrayLike]]
    """What a site puts into all fields; None for the model where it has no cases."""
    read: Callable[[Sum, ModelSpec, int], dict[str, Any]]
    """`(sum, spec, bins)` -> what is told beside the loss."""


ROWS: dict[KindName, Row] = {
    "classification": Row(_class_fields, _put_classes, _read_classes),
    "segmentation": Row(_mask_fields, _put_masks, _read_masks),
}
