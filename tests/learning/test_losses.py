from __future__ import annotations

import importlib

import pytest
import torch
from torch.nn import functional

from fedmed.learning.losses import SMOOTH, dice_loss, loss_of, mask_loss


def some(classes: int, shape: tuple[int, ...] = (6, 5), count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(count, 1 if classes == 2 else classes, *shape, generator=generator)
    return logits, torch.randint(classes, (count, *shape), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("classes", "shape"), [(2, (6, 5)), (2, (3, 4, 5)), (4, (6, 5)), (3, (3, 4, 5))])
def test_it_is_cross_entropy_and_monais_batch_dice(classes, shape):
    logits, y = some(classes, shape)
    weights = torch.rand(classes, generator=torch.Generator().manual_seed(2)) + 0.5
    binary = {"sigmoid": True} if classes == 2 else {"softmax": True, "to_onehot_y": True, "include_background": False}
    losses = importlib.import_module("monai.losses")  # seconds, which every worker would spend that collects this file
    dice = losses.DiceLoss(batch=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH, **binary)(logits, y[:, None].long())
    expected = loss_of(logits, y.long(), weights) + dice
    torch.testing.assert_close(mask_loss(logits, y, weights), expected)


def test_binary_cross_entropy_is_the_mean_over_voxels():
    logits, y = some(2)
    expected = functional.binary_cross_entropy_with_logits(logits[:, 0], y.float())
    torch.testing.assert_close(loss_of(logits, y.long(), torch.ones(2)), expected)


def test_a_patch_without_foreground_has_a_finite_loss_and_gradient():
    logits = torch.zeros(2, 1, 4, 4, requires_grad=True)
    mask_loss(logits, torch.zeros(2, 4, 4, dtype=torch.uint8), torch.ones(2)).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad > 0).all()


def test_the_right_mask_costs_nothing():
    _, y = some(2)
    logits = (y[:, None].float() * 2 - 1) * 50
    assert float(mask_loss(logits, y, torch.ones(2))) == pytest.approx(0, abs=1e-5)
    assert float(dice_loss(y[:, None].float(), y[:, None].float())) == pytest.approx(0, abs=1e-6)
