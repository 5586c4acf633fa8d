"""The fused augmentations against PyTorch doing equal work with grid_sample and a tone curve.

    python benchmarks/augment.py [--json]

A batch of 8 patches of 16 x 48 x 48 and one of 32 images of 224 x 224, with masks: turn and scale, nearest for the masks,
gamma, contrast, brightness, and noise. Both arms are given the same drawn parameters: matrices, tones and deviations of the
noise, so that images and masks are compared (without noise, which each draws in its own way). PyTorch's arm is
affine_grid, grid_sample twice, tones, and randn; drawing the parameters is not counted in either arm, and counted in the
third, which is what training calls. Arms run in turn, one thread each, and CPU seconds count.
"""

from __future__ import annotations

import argparse
import dataclasses
from statistics import median
from typing import Any

import numpy as np
import torch
from form import Row, make_row, show
from torch import Tensor
from torch.nn import functional

from fedmed.learning import augment, fused
from fedmed.preprocess.fused import compiled
from fedmed.preprocess.fused.augmentation import AugmentParameters
from kernels import Arms, in_turn

BATCHES = {"8 patches of 16 x 48 x 48": (8, 1, 16, 48, 48), "32 images of 224 x 224": (32, 1, 224, 224)}
TURNS = 15
APART = 1e-4
"""Of the range of values: grid_sample computes coordinates in float32, ours are double."""
MOVED = 1e-3
"""Share of the masks' voxels that may differ, where a coordinate lies between two."""

Pair = tuple[Tensor, Tensor]


def batch(shape: tuple[int, ...]) -> Pair:
    """Smooth images and masks of balls."""
    generator = torch.Generator().manual_seed(1)
    axes = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in shape[2:]), indexing="ij")
    centres = torch.rand(shape[0], len(axes), generator=generator) - 0.5
    squares = [torch.stack([(axis - at) ** 2 for axis, at in zip(axes, row, strict=True)]).sum(0) for row in centres]
    x = torch.exp(-4 * torch.stack(squares))[:, None]
    return x, (x[:, 0] > 0.5).to(torch.uint8)


def by_torch(x: Tensor, y: Tensor, parameters: AugmentParameters, values: tuple[float, float]) -> Pair:
    """Equal work in PyTorch's own operations."""
    grid = functional.affine_grid(theta(parameters, x), list(x.shape), align_corners=True)
    sampled = functional.grid_sample(x, grid, "bilinear", padding_mode="border", align_corners=True)
    moved = functional.grid_sample(y[:, None].float(), grid, "nearest", padding_mode="border", align_corners=True)
    low, width = values[0], values[1] - values[0]
    gamma, contrast, brightness, noise = (
        torch.from_numpy(getattr(parameters, name)).view(-1, *[1] * (x.ndim - 1))
        for name in ("gamma", "contrast", "brightness", "noise")
    )
    toned = low + width * ((sampled - low) / width).clamp(0, 1) ** gamma
    middle = low + width / 2
    toned = middle + contrast * (toned - middle) + brightness * width
    if parameters.noise.any():
        toned = toned + noise * width * torch.randn(x.shape)
    return toned, moved[:, 0].to(y.dtype)


def theta(parameters: AugmentParameters, x: Tensor) -> Tensor:
    """to_voxel as affine_grid wants it: axes from the last, from -1 at the first voxel's middle to 1 at the last's."""
    axes = x.ndim - 2
    matrix = parameters.to_voxel[:, 3 - axes :, 3 - axes :]
    half = (np.array(x.shape[2:]) - 1) / 2
    turned = matrix[:, :, :axes] * half[None, None, :] / half[None, :, None]
    shift = (matrix[:, :, axes] + matrix[:, :, :axes] @ half - half) / half
    whole = np.concatenate([turned[:, ::-1, ::-1], shift[:, ::-1, None]], axis=2)
    return torch.from_numpy(np.ascontiguousarray(whole)).float()


def by_kernels(x: Tensor, y: Tensor, parameters: AugmentParameters, values: tuple[float, float]) -> Pair:
    """The compiled back end."""
    made = compiled.augment(x.numpy(), parameters, values=values)
    return torch.from_numpy(made), torch.from_numpy(compiled.augment_labels(y[:, None].numpy(), parameters)[:, 0])


def measured(name: str, shape: tuple[int, ...]) -> list[Row]:
    """Both arms and what training calls, on one batch."""
    x, y = batch(shape)
    parameters, values = fused.drawn(fused.SCAN, x, torch.Generator().manual_seed(2)), fused.values_of(x)
    trained: Any = augment.MASKED["fused-scan"]
    former: Any = augment.MASKED["scan"]
    generator = torch.Generator().manual_seed(3)
    arms: Arms = {
        "fused": lambda: by_kernels(x, y, parameters, values),
        "PyTorch, equal work": lambda: by_torch(x, y, parameters, values),
        "fused-scan, drawing included": lambda: trained(x, y, generator),
        "scan, drawing included, no noise": lambda: former(x, y, generator),
    }
    seconds = in_turn(arms, TURNS)
    rows = [
        make_row(f"{name}, {arm}", min(each) * 1e3, f"CPU ms, min (median {median(each) * 1e3:.2f})")
        for arm, each in seconds.items()
    ]
    share = min(seconds["PyTorch, equal work"]) / min(seconds["fused"])
    quiet = dataclasses.replace(parameters, noise=np.zeros_like(parameters.noise))
    (ours, mask), (theirs, moved) = by_kernels(x, y, quiet, values), by_torch(x, y, quiet, values)
    apart, differing = float((ours - theirs).abs().max()), float((mask != moved).float().mean())
    return [
        *rows,
        make_row(f"{name}, PyTorch against fused", share, "times its CPU seconds"),
        make_row(f"{name}, images apart", apart, "of the range", f"<= {APART:g}", apart <= APART),
        make_row(f"{name}, masks apart", differing, "of the voxels", f"<= {MOVED:g}", differing <= MOVED),
    ]


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    show("augment", [row for name, shape in BATCHES.items() for row in measured(name, shape)], options.json)


if __name__ == "__main__":
    main()
