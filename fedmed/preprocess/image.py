"""One image on a square grid of known physical size, and on a scale of its own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def resample(
    pixels: NDArray[np.generic],
    spacing_mm: tuple[float, float],
    size: int,
    field_of_view_mm: float | None = None,
) -> NDArray[np.float32]:
    """`pixels` (H, W) on a square grid `(size, size)` float32 of side `field_of_view_mm`, centres aligned.

    `spacing_mm` is (between rows, between columns), DICOM PS3.3 10.7.1.3. Where the grid is coarser than the image, a
    pixel is the exact mean over its area, so that shrinking does not alias; where it is finer, it is interpolated
    linearly. Beyond the image lies the image's minimum (air). Without a field of view the whole image fits, its aspect
    kept.

    Raises ValueError for an image that is not two-dimensional, and for a size, spacing or field that is not positive.
    """
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise ValueError(f"an image of shape {pixels.shape} cannot be resampled; it must be (H, W)")
    rows, columns = pixels.shape
    field = max(rows * spacing_mm[0], columns * spacing_mm[1]) if field_of_view_mm is None else field_of_view_mm
    if size < 1 or not all(math.isfinite(length) and length > 0 for length in (*spacing_mm, field)):
        raise ValueError(f"size {size}, spacing {spacing_mm} mm and field of view {field} mm must be positive")
    values = np.asarray(pixels, dtype=np.float64)
    air = values.min()
    down = along_rows(values - air, spacing_mm[0], size, field)
    across = along_rows(down.T, spacing_mm[1], size, field)
    return np.asarray(across.T + air, dtype=np.float32)


def along_rows(values: NDArray[np.float64], spacing: float, size: int, field: float) -> NDArray[np.float64]:
    """`(n, m)` sampled along its first axis: `(size, m)`, 0 beyond the image; `field` and `spacing` in mm.

    Gathers instead of a matrix product: as fast, and no BLAS threads that fight over a busy machine's cores.
    """
    step = field / size / spacing  # in input pixels, as everything below
    if step >= 1:
        return _area_means(values, step, size)
    return _interpolated(values, step, size)


def _area_means(values: NDArray[np.float64], step: float, size: int) -> NDArray[np.float64]:
    """Differences of the running integral between the edges of the output pixels."""
    count = len(values)
    edges = np.clip((np.arange(size + 1) - size / 2) * step + count / 2, 0, count)
    low = np.minimum(edges.astype(np.int64), count - 1)
    before = np.cumsum(values, axis=0) - values
    integral = before[low] + (edges - low)[:, None] * values[low]
    return np.asarray(np.diff(integral, axis=0) / step)


def _interpolated(values: NDArray[np.float64], step: float, size: int) -> NDArray[np.float64]:
    count = len(values)
    centres = (np.arange(size) - (size - 1) / 2) * step + (count - 1) / 2
    inside = np.clip(centres, 0, count - 1)
    low = np.minimum(inside.astype(np.int64), max(count - 2, 0))
    high = np.minimum(low + 1, count - 1)
    share = (inside - low)[:, None]
    covered = np.abs(centres - (count - 1) / 2) <= count / 2
    return np.asarray((values[low] * (1 - share) + values[high] * share) * covered[:, None])


def standardise(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Each image of `(..., H, W)` with mean 0 and standard deviation 1, float32; a constant image becomes zeros."""
    values = np.asarray(images, dtype=np.float64)
    centred = values - values.mean(axis=(-2, -1), keepdims=True)
    deviation = centred.std(axis=(-2, -1), keepdims=True)
    # Below float32's resolution of the values themselves, what is left of a constant image is rounding.
    flat = deviation <= 1e-7 * np.abs(values).max(axis=(-2, -1), keepdims=True)
    return np.asarray(np.where(flat, 0.0, centred / np.where(flat, 1.0, deviation)), dtype=np.float32)
