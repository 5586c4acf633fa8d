"""Augmentations by the fused kernels: flips, affine, tone and noise in one pass, masks moved alike, on a CPU or a GPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from fedmed.clock import generator as numpy_generator
from fedmed.preprocess.fused.augmentation import AugmentParameters, AugmentRanges, draw
from fedmed.preprocess.fused.backends import Backend, chosen

SCAN = AugmentRanges(
    flip=(0.0, 0.0, 0.0),
    rotation_deg=(15.0, 10.0, 10.0),
    scale=(0.9, 1.1),
    gamma=(0.8, 1.25),
    contrast=(0.85, 1.15),
    brightness=0.05,
    noise=(0.0, 0.03),
)
"""Mild, and no mirror images, for organs have a side. Up to half of nnU-Net's ranges (Isensee et al. 2021, Supplementary
Information: 30 degrees, scale 0.7 to 1.4, gamma 0.7 to 1.5), for it changes a fifth of its cases at most by each of them,
and here every case is changed by all. In 2D the first angle is the only one."""
RECIPES: dict[str, AugmentRanges] = {
    "fused-scan": SCAN,
    "fused-mirrored-scan": replace(SCAN, flip=(0.5, 0.5, 0.5)),
}
"""Rows by name, for images and volumes, with and without masks. Voxels are taken as cubes."""
TINY = 1e-6
"""Width of the range of values where all of them are equal."""


def images(ranges: AugmentRanges, x: Tensor, generator: torch.Generator) -> Tensor:
    """Images `(N, C, H, W)` or volumes `(N, C, D, H, W)` float32, on any device, changed; on the same device.

    Gamma, contrast, brightness and noise refer to the range of the batch's values. One number is drawn from `generator`,
    whatever the batch. Raises ValueError for other shapes and types.
    """
    return _changed(x, drawn(ranges, x, generator), chosen())


def masked(ranges: AugmentRanges, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """As `images`, and the masks `(N, [D,] H, W)` of whole numbers moved alike, each voxel from the nearest."""
    parameters, backend = drawn(ranges, x, generator), chosen()
    labels = backend.augment_labels(_given(y[:, None], backend), parameters, threads=torch.get_num_threads())
    return _changed(x, parameters, backend), _taken(labels, y)[:, 0]


def drawn(ranges: AugmentRanges, x: Tensor, generator: torch.Generator) -> AugmentParameters:
    """What happens to each case of a batch."""
    if x.ndim not in (4, 5):
        raise ValueError(f"got a batch of shape {list(x.shape)}; it must be (N, C, H, W) or (N, C, D, H, W)")
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    depth, height, width = (1, *x.shape[2:])[-3:]
    return draw(ranges, numpy_generator(seed, "augment"), len(x), (depth, height, width))


def values_of(x: Tensor) -> tuple[float, float]:
    """Lowest and highest value of a batch, apart in any case."""
    low, high = (float(end) for end in torch.aminmax(x))
    return low, max(high, low + max(TINY, abs(low) * TINY))


def _changed(x: Tensor, parameters: AugmentParameters, backend: Backend) -> Tensor:
    made = backend.augment(_given(x, backend), parameters, values=values_of(x), threads=torch.get_num_threads())
    return _taken(made, x)


def _given(x: Tensor, backend: Backend) -> Any:
    """`x` as an array of the back end, without a copy where it lies on the right device."""
    return backend.adopted(x if x.is_cuda and backend.NAME == "cupy" else x.cpu())


def _taken(made: Any, like: Tensor) -> Tensor:
    """An array of a back end as a tensor where `like` lies, without a copy if it is there."""
    return from_dlpack(made).to(like.device)
