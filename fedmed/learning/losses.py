"""What training makes small: cross-entropy over cases, and cross-entropy with Dice over voxels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SMOOTH = 1.0  # voxels: a patch without foreground has a loss and a gradient, too


def loss_of(logits: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy as a mean weighted by class: `(N, 1)` logits are one binary logit, `(N, K)` one logit a class."""
    if logits.shape[1] > 1:
        return functional.cross_entropy(logits, y, weights)
    each = functional.binary_cross_entropy_with_logits(logits[:, 0], y.float(), reduction="none")
    return (each * weights[y]).sum() / weights[y].sum()


def mask_loss(logits: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice loss of masks `y (N, [D,] H, W)`, logits `(N, 1 or K, [D,] H, W)`.

    The Dice loss is V-Net's (Milletari et al. 2016, section 3) in nnU-Net's form (Isensee et al. 2021, online methods):
    sums over the whole batch, no squares in the denominator, its mean over the foreground classes added to the
    cross-entropy. `weights` of the classes act in the cross-entropy alone; Dice already counts each class alike.
    """
    classes = y.long()
    return loss_of(logits, classes, weights) + dice_loss(_foreground(logits), _truth(classes, max(2, logits.shape[1])))


def dice_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """1 - soft Dice, mean over the classes of `(N, foreground classes, [D,] H, W)`."""
    axes = (0, *range(2, truth.ndim))
    hits = (probabilities * truth).sum(axes)
    both = probabilities.sum(axes) + truth.sum(axes)
    return 1 - ((2 * hits + SMOOTH) / (both + SMOOTH)).mean()


def _foreground(logits: Tensor) -> Tensor:
    return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, 1)[:, 1:]


def _truth(classes: Tensor, count: int) -> Tensor:
    return torch.stack([(classes == k).float() for k in range(1, count)], 1)
