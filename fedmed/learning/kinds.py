"""What differs between the kinds of task: one class a case, or one class a voxel. Everything else is common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedmed.config.scenario import Training
from fedmed.learning import augment, fused, overlap
from fedmed.learning.losses import loss_of, mask_loss
from fedmed.learning.metrics import binary_auc, figures
from fedmed.learning.order import Order
from fedmed.learning.overlap import Values
from fedmed.learning.patches import Sampler
from fedmed.learning.prediction import device_of, predict
from fedmed.learning.windows import predict_case

Batch = tuple[Tensor, Tensor]
LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Kind:
    """One row of the table."""

    batches: Callable[[Batch, Order, torch.Generator], Iterator[Batch]]
    """`(cases, order, generator)` -> the augmented batches of one round."""
    examples: Callable[[Batch, Tensor, Order, torch.Generator], Batch]
    """`(cases, rows, order, generator)` -> these rows, augmented each by itself."""
    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    """`(logits, y, class weights)` -> scalar."""
    validate: Callable[[nn.Module, Batch, Order, torch.device], dict[str, float]]
    """Loss and the leading measure on validation cases; NaN where undefined."""
    leading: str
    """The measure that validation follows."""
    augments: Mapping[str, Any]
    """Augmentations by name."""


def case_batches(data: Batch, order: Order, generator: torch.Generator) -> Iterator[Batch]:
    """Whole cases, each augmented."""
    for rows in _rows(len(data[1]), order.training, generator):
        yield case_examples(data, rows, order, generator)


def case_examples(data: Batch, rows: Tensor, order: Order, generator: torch.Generator) -> Batch:
    """The cases of `rows`, each augmented."""
    images, labels = _placed((data[0].index_select(0, rows), data[1].index_select(0, rows)), order)
    return augment.TABLE[order.augment](images, generator), labels


def mask_batches(data: Batch, order: Order, generator: torch.Generator) -> Iterator[Batch]:
    """Patches of images and masks, or whole ones, each pair augmented alike; every case `per_case` times a pass."""
    patches, count = order.patches, len(data[1])
    sampler = Sampler(*data, patches, generator) if patches else None
    per_case = patches.per_case if patches else 1
    for picks in _rows(count * per_case, order.training, generator):
        yield mask_examples(data, picks % count, order, generator, sampler)


def mask_examples(
    data: Batch, rows: Tensor, order: Order, generator: torch.Generator, sampler: Sampler | None = None
) -> Batch:
    """One patch of each of `rows`, or the whole image, augmented with its mask; `sampler` remembers places of foreground."""
    if sampler is None and order.patches is not None:
        sampler = Sampler(*data, order.patches, generator)
    batch = sampler.batch(rows) if sampler else (data[0][rows], data[1][rows])
    return augment.MASKED[order.augment](*_placed(batch, order), generator)


def _placed(batch: Batch, order: Order) -> Batch:
    """The batch where it is augmented: by the kernels on the model's device, by PyTorch on the CPU.

    PyTorch's own figures differ between CPU and GPU, and those that were published with it were augmented on the CPU.
    """
    if order.augment not in fused.RECIPES:
        return batch
    device = device_of(order.device)
    return batch[0].to(device), batch[1].to(device)


def steps_of(count: int, order: Order) -> int:
    """Optimiser steps that an order asks of a site with `count` cases."""
    training, per_case = order.training, order.patches.per_case if order.patches else 1
    return (
        training.steps
        if training.steps is not None
        else -(-count * per_case // training.batch_size) * (training.epochs or 1)
    )


def _rows(count: int, training: Training, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of each batch: a fresh permutation a pass, the last batch short, until the epochs or steps are done."""
    per_pass = -(-count // training.batch_size)
    steps = training.steps if training.steps is not None else per_pass * (training.epochs or 1)
    while steps > 0:
        rows = torch.randperm(count, generator=generator)
        yield from torch.split(rows, training.batch_size)[:steps]
        steps -= per_pass


def judge_classes(model: nn.Module, data: Batch, order: Order, device: torch.device) -> tuple[Tensor, float]:
    """Probabilities `(N, K)` of one case or more, and their loss, NaN where the classes present weigh nothing."""
    x, y = data
    probabilities = predict(model, x, device)
    return probabilities, float(loss_of(_logits(probabilities), y, torch.tensor(order.class_weights)))


def _logits(probabilities: Tensor) -> Tensor:
    scores = torch.log(probabilities.clamp_min(LEAST_PROBABILITY))
    return (scores[:, 1:] - scores[:, :1]) if probabilities.shape[1] == 2 else scores


def validate_classes(model: nn.Module, data: Batch, order: Order, device: torch.device) -> dict[str, float]:
    """Loss and AUC; the AUC is NaN where only one class is present."""
    probabilities, loss = judge_classes(model, data, order, device)
    if probabilities.shape[1] == 2:
        area = binary_auc(probabilities[:, 1], data[1])
    else:
        area = figures(probabilities, data[1], 0.5)["auc"]["value"]
    return {"loss": loss, "auc": math.nan if area is None else area}


def judge_masks(model: nn.Module, data: Batch, order: Order, device: torch.device) -> tuple[Values, Values]:
    """Loss `(N,)` and Dice `(N,)` of each case, one after the other; the Dice is NaN where a mask is empty and found so."""
    weights, losses, tallies = torch.tensor(order.class_weights), [], []
    for image, mask in zip(*data, strict=True):
        probabilities = predict_case(model, image, order.patches, device)
        losses.append(float(mask_loss(_logits(probabilities[None]), mask[None], weights)))
        tallies.append(overlap.tally(overlap.decide(probabilities, order.threshold), mask, len(probabilities)))
    return np.array(losses), overlap.mean_over_classes(overlap.per_case(np.stack(tallies))["dice"])


def validate_masks(model: nn.Module, data: Batch, order: Order, device: torch.device) -> dict[str, float]:
    """Mean loss and mean Dice of the cases; the Dice is NaN where every mask is empty and found so."""
    losses, dice = judge_masks(model, data, order, device)
    known = dice[np.isfinite(dice)]
    return {"loss": float(losses.mean()), "dice": float(known.mean()) if len(known) else math.nan}


KINDS: dict[str, Kind] = {
    "classification": Kind(case_batches, case_examples, loss_of, validate_classes, "auc", augment.TABLE),
    "segmentation": Kind(mask_batches, mask_examples, mask_loss, validate_masks, "dice", augment.MASKED),
}
