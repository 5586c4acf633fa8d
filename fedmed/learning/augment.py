"""Augmentations by name: a batch and a generator in, a batch of the same shape out; masks move with their images."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from fedmed.learning import fused

Augment = Callable[[Tensor, torch.Generator], Tensor]
Masked = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""`(images (N, C, [D,] H, W) float32, masks (N, [D,] H, W) uint8, generator)` -> both, of the same shapes and types."""


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


def none_masked(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images and masks as they are."""
    return x, y


def scan(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images `(N, C, H, W)` or volumes `(N, C, D, H, W)`, standardised: as `scan_masked`."""
    return _tone(_sampled(x, _turns(x, generator), "bilinear"), generator)


def scan_masked(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotation up to 15 degrees about every axis, scale up to 15 %, then gamma, contrast and brightness of the image.

    No mirror image: organs have a side. Voxels are taken as cubes; masks are sampled at the nearest voxel.
    """
    turns = _turns(x, generator)
    moved = _sampled(y[:, None].to(x.dtype), turns, "nearest")[:, 0].to(y.dtype)
    return _tone(_sampled(x, turns, "bilinear"), generator), moved


def mirror_masked(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each axis mirrored in half of the cases: for what has no side, such as vessels."""
    for axis in range(2, x.ndim):
        chosen = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x.flip(axis), x)
        y = torch.where(chosen.view(-1, *[1] * (y.ndim - 1)), y.flip(axis - 1), y)
    return x, y


def mirrored_scan_masked(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """As `mirror_masked`, then as `scan_masked`."""
    return scan_masked(*mirror_masked(x, y, generator), generator)


def _turns(x: Tensor, generator: torch.Generator) -> Tensor:
    """A rotation and a scale of each case, as sampling grids `(N, [D,] H, W, 2 or 3)` for `grid_sample`."""
    n, sides = len(x), x.shape[2:]
    size = torch.tensor(sides[::-1], dtype=torch.float32)  # grid_sample counts axes from the last
    matrix = torch.eye(len(sides)).expand(n, -1, -1) * (1 + _uniform(n, 0.15, generator)).view(n, 1, 1)
    for first in range(len(sides)):
        for second in range(first + 1, len(sides)):
            matrix = matrix @ _rotation(_uniform(n, math.radians(15), generator), first, second, len(sides))
    # from voxels to the unit cube and back, so that a rotation stays one where sides differ
    matrix = matrix * size[None, None, :] / size[None, :, None]
    theta = torch.cat([matrix, torch.zeros(n, len(sides), 1)], 2).to(x)
    return functional.affine_grid(theta, [n, 1, *sides], align_corners=False)


def _rotation(angle: Tensor, first: int, second: int, axes: int) -> Tensor:
    """`(N, axes, axes)`: by `angle (N,)` in the plane of two axes."""
    matrix = torch.eye(axes).repeat(len(angle), 1, 1)
    matrix[:, first, first] = matrix[:, second, second] = torch.cos(angle)
    matrix[:, second, first] = torch.sin(angle)
    matrix[:, first, second] = -torch.sin(angle)
    return matrix


def _sampled(x: Tensor, grid: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(x, grid, mode, padding_mode="border", align_corners=False)


def _tone(x: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma between each image's own extremes (as nnU-Net), then contrast and brightness in standard deviations."""
    n, axes, shape = len(x), tuple(range(1, x.ndim)), (-1, *[1] * (x.ndim - 1))
    gamma = torch.exp(_uniform(n, 0.3, generator)).view(shape).to(x)
    contrast = (1 + _uniform(n, 0.2, generator)).view(shape).to(x)
    brightness = _uniform(n, 0.2, generator).view(shape).to(x)
    low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
    span = (high - low).clamp_min(1e-6)
    return (((x - low) / span) ** gamma * span + low) * contrast + brightness


TABLE: dict[str, Augment] = {
    "none": none,
    "xray": xray,
    "scan": scan,
    **{name: partial(fused.images, ranges) for name, ranges in fused.RECIPES.items()},
}
MASKED: dict[str, Masked] = {
    "none": none_masked,
    "mirror": mirror_masked,
    "scan": scan_masked,
    "mirrored-scan": mirrored_scan_masked,
    **{name: partial(fused.masked, ranges) for name, ranges in fused.RECIPES.items()},
}
