"""Class probabilities of whole images from a network that sees windows of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fedmed.config.scenario import Patches
from fedmed.learning.patches import padded
from fedmed.learning.prediction import channels_last, probabilities_of

WINDOWS_AT_ONCE = 8
SIGMA = 0.125  # of a window's side, as in nnU-Net and MONAI
LEAST_WEIGHT = 1e-3  # a voxel that only a window's corner sees has a value, too


def predict_case(model: nn.Module, image: Tensor, patches: Patches | None, device: torch.device) -> Tensor:
    """Probabilities `(K, [D,] H, W)` float32 on the CPU of one image `(C, [D,] H, W)`; K = 2 for a binary task.

    Windows of a patch's size (the whole image if None) share at least `overlap` of their side with the next, the last is
    flush with the end; where several see a voxel, their probabilities are averaged with Gaussian weights (Isensee et al.
    2021, online methods). An image smaller than a window is padded with zeros behind.
    """
    grid = image.shape[1:]
    size, overlap = (patches.size, patches.overlap) if patches else (tuple(grid), 0.0)
    image = padded(image, size)
    weight = gaussian(size)
    windows = windows_of(image.shape[1:], size, overlap)
    total, weights = torch.zeros(0), torch.zeros(image.shape[1:])
    model.to(device).eval()
    with torch.inference_mode():
        for first in range(0, len(windows), WINDOWS_AT_ONCE):
            some = windows[first : first + WINDOWS_AT_ONCE]
            batch = torch.stack([image[(slice(None), *window)] for window in some])
            found = probabilities_of(model(channels_last(batch.to(device))).float().cpu())
            total = total if len(total) else torch.zeros(found.shape[1], *image.shape[1:])
            for window, one in zip(some, found, strict=True):
                total[(slice(None), *window)] += one * weight
                weights[window] += weight
        whole = total / weights
    return whole[(slice(None), *(slice(0, side) for side in grid))].clone()


def windows_of(grid: Sequence[int], size: Sequence[int], overlap: float) -> list[tuple[slice, ...]]:
    """The windows that cover `grid`, none of whose sides is shorter than the window's, in C order."""
    starts = []
    for have, want in zip(grid, size, strict=True):
        step = max(1, int(want * (1 - overlap)))
        starts.append(sorted({*range(0, have - want, step), have - want}))
    return [
        tuple(slice(start, start + want) for start, want in zip(corner, size, strict=True))
        for corner in itertools.product(*starts)
    ]


def gaussian(size: Sequence[int]) -> Tensor:
    """Weights of a window's voxels, 1 at its very centre."""
    weight = torch.ones(())
    for side in size:
        at = (torch.arange(side) - (side - 1) / 2) / max(side * SIGMA, 1e-6)
        weight = weight[..., None] * torch.exp(-0.5 * at * at)
    return weight.clamp_min(LEAST_WEIGHT)
