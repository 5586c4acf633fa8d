"""Augmentations by name: a batch and a generator in, a batch of the same shape out."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Augment = Callable[[Tensor, torch.Generator], Tensor]


def none(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch as it is."""
    return x


def xray(x: Tensor, generator: torch.Generator) -> Tensor:
    """Radiographs `(N, C, H, W)`: small rotation, scale and shift, then gamma, contrast and brightness.

    No mirror image: the heart is on the left. Intensities are taken as 0 to 1 before the gamma.
    """
    return _intensity(_affine(x, generator), generator)


def _uniform(count: int, bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * bound


def _affine(x: Tensor, generator: torch.Generator) -> Tensor:
    n = len(x)
    angle, scale = _uniform(n, math.radians(10), generator), 1 + _uniform(n, 0.1, generator)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = torch.stack([_uniform(n, 0.15, generator), _uniform(n, 0.15, generator)], 1)
    matrix = torch.cat([torch.stack([cos, -sin, sin, cos], 1).view(n, 2, 2), shift[:, :, None]], 2).to(x)
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _intensity(x: Tensor, generator: torch.Generator) -> Tensor:
    n = len(x)
    gamma = torch.exp(_uniform(n, 0.3, generator)).view(n, 1, 1, 1).to(x)
    contrast = (1 + _uniform(n, 0.2, generator)).view(n, 1, 1, 1).to(x)
    brightness = _uniform(n, 0.1, generator).view(n, 1, 1, 1).to(x)
    return (x.clamp(0, 1) ** gamma - 0.5) * contrast + 0.5 + brightness


TABLE: dict[str, Augment] = {"none": none, "xray": xray}
