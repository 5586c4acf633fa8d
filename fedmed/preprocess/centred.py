"""Images, volumes and their masks on one grid, centres aligned: images by area or linearly, masks by the nearest voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.image import along_rows


def steps_for(
    shape: Sequence[int], spacing_mm: Sequence[float], size: Sequence[int], step_mm: Sequence[float] | None
) -> tuple[float, ...]:
    """Millimetres between the new grid's voxels: `step_mm`, or such that the whole image fits with its aspect kept."""
    if step_mm is not None:
        return tuple(step_mm)
    return (max(n * mm / want for n, mm, want in zip(shape, spacing_mm, size, strict=True)),) * len(size)


def image_on_grid(
    values: NDArray[np.generic], spacing_mm: Sequence[float], size: Sequence[int], step_mm: Sequence[float]
) -> NDArray[np.float32]:
    """`values` `([D,] H, W)` on `size` voxels, `step_mm` apart, float32; beyond the image lies its minimum (air).

    Axis by axis as `preprocess.image.resample`: exact means over area where the grid is coarser, linear where it is finer.
    """
    made = np.asarray(values, dtype=np.float64)
    air = made.min()
    made = made - air
    for axis, (mm, count, step) in enumerate(zip(spacing_mm, size, step_mm, strict=True)):
        first = np.moveaxis(made, axis, 0)
        sampled = along_rows(first.reshape(len(first), -1), mm, count, step * count)
        made = np.moveaxis(sampled.reshape(count, *first.shape[1:]), 0, axis)
    return np.ascontiguousarray(made + air, dtype=np.float32)


def mask_on_grid(
    mask: NDArray[np.uint8], spacing_mm: Sequence[float], size: Sequence[int], step_mm: Sequence[float]
) -> NDArray[np.uint8]:
    """`mask` `([D,] H, W)` at the same places, each of the nearest voxel; beyond the image is background (0)."""
    made = mask
    for axis, (mm, count, step) in enumerate(zip(spacing_mm, size, step_mm, strict=True)):
        length = made.shape[axis]
        at = (np.arange(count) - (count - 1) / 2) * step / mm + (length - 1) / 2
        nearest = np.floor(at + 0.5).astype(np.int64)
        inside = (nearest >= 0) & (nearest < length)
        taken = np.take(made, np.clip(nearest, 0, length - 1), axis)
        made = taken * inside.astype(np.uint8).reshape(-1, *[1] * (made.ndim - axis - 1))
    return np.ascontiguousarray(made)
