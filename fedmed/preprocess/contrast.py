"""Local contrast: what stands out of its surroundings, whatever the light there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARE = 16  # the surroundings' side is the image's longer one by this
LEAST = 0.02  # of full intensity: below it a deviation is noise, not contrast


def against_surroundings(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(..., H, W)` in 0 to 1 -> each pixel less the mean of a square around it, over the deviation there plus 0.02.

    The square's side is odd and a sixteenth of the longer side of the image, mirrored at its borders; sums are running
    sums in float64, image by image.
    """
    flat = images.reshape(-1, *images.shape[-2:])
    radius = min(max(1, max(flat.shape[1:]) // SHARE // 2), min(flat.shape[1:]) - 1)
    made = np.empty_like(flat)
    for number, image in enumerate(flat):
        values = image.astype(np.float64)
        mean = _box_mean(values, radius)
        deviation = np.sqrt(np.maximum(_box_mean(values * values, radius) - mean * mean, 0))
        made[number] = (values - mean) / (deviation + LEAST)
    return made.reshape(images.shape)


def _box_mean(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    side, (rows, columns) = 2 * radius + 1, values.shape
    sums = np.pad(np.pad(values, radius, mode="reflect").cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    right, left = sums[:, side : side + columns], sums[:, :columns]
    across = right - left
    mean: NDArray[np.float64] = (across[side : side + rows] - across[:rows]) / (side * side)
    return mean
