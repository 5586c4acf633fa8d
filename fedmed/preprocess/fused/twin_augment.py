"""The definition of training's augmentations, in plain NumPy and float64; the other back ends equal it within `bound`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fused.arguments import Edge
from fedmed.preprocess.fused.augmentation import AugmentParameters, as_volumes, check_images, check_labels
from fedmed.preprocess.fused.noise import normal
from fedmed.preprocess.fused.sampling import coordinates, corners, inside, nearest


def augment(
    images: NDArray[np.float32],
    parameters: AugmentParameters,
    *,
    values: tuple[float, float] = (0.0, 1.0),
    edge: Edge = "border",
    fill: float = 0.0,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Images `(N, C, H, W)` or `(N, C, D, H, W)` float32, each changed as its parameters say; the same shape.

    In this order, each step in float64, with `values` the range (low, high) of the images' scale and width = high - low:

    1. trilinear sample at to_voxel @ (k, j, i, 1), as `resample` does it, outside likewise by `edge` and `fill`;
    2. where gamma is not 1: low + width * clamp((x - low) / width, 0, 1) ** gamma;
    3. contrast about the middle of the range, then brightness: middle + contrast * (x - middle) + brightness * width;
    4. noise: x + noise * width * normal(key, voxel), with the voxel's number within its sample in C order (noise.py);
    5. round to float32.

    Raises ValueError for shapes, types or numbers that cannot be right.
    """
    check_images(images, values)
    volumes = as_volumes(images, parameters, edge)
    result = np.empty(volumes.shape, np.float32)
    size = (volumes.shape[2], volumes.shape[3], volumes.shape[4])
    for n, volume in enumerate(volumes):
        for k in range(size[0]):
            places = coordinates(parameters.to_voxel[n], k, size)
            total = sum(weight * volume[:, d, h, w].astype(np.float64) for d, h, w, weight in corners(places, size))
            sampled = total if edge == "border" else np.where(inside(places, size), total, fill)
            toned = _toned(sampled, parameters, n, values)
            result[n, :, k] = toned + _noise(parameters, n, k, volume.shape) * (values[1] - values[0])
    return result.reshape(images.shape)


def _toned(
    x: NDArray[np.float64], parameters: AugmentParameters, n: int, values: tuple[float, float]
) -> NDArray[np.float64]:
    low, width = values[0], values[1] - values[0]
    if parameters.gamma[n] != 1:
        x = low + width * np.clip((x - low) / width, 0, 1) ** np.float64(parameters.gamma[n])
    middle = low + width / 2
    return middle + np.float64(parameters.contrast[n]) * (x - middle) + np.float64(parameters.brightness[n]) * width


def _noise(parameters: AugmentParameters, n: int, k: int, size: tuple[int, ...]) -> NDArray[np.float64]:
    """For slice k of sample n of `size` (C, D, H, W): `(C, H, W)`, a share of the range of values."""
    channels, depth, height, width = size
    if parameters.noise[n] == 0:
        return np.zeros((channels, height, width))
    first = (np.arange(channels, dtype=np.int64) * depth + k) * height * width
    voxels = (first[:, None] + np.arange(height * width)).astype(np.uint32)
    drawn = normal(int(parameters.key[n]), voxels) * np.float64(parameters.noise[n])
    return drawn.reshape(channels, height, width)


def augment_labels(
    labels: NDArray[np.generic], parameters: AugmentParameters, *, edge: Edge = "border", fill: int = 0, threads: int = 1
) -> NDArray[Any]:
    """Labels `(N, C, H, W)` or `(N, C, D, H, W)` of whole numbers, moved as `augment` moves their images.

    The nearest voxel, a tie (within TIE) going up; outside as in `resample`. Shape and type stay.
    Raises ValueError for shapes, types or numbers that cannot be right.
    """
    check_labels(labels)
    volumes = as_volumes(labels, parameters, edge)
    result = np.empty(volumes.shape, labels.dtype)
    size = (volumes.shape[2], volumes.shape[3], volumes.shape[4])
    for n, volume in enumerate(volumes):
        for k in range(size[0]):
            places = coordinates(parameters.to_voxel[n], k, size)
            d, h, w = nearest(places, size)
            moved = volume[:, d, h, w]
            result[n, :, k] = moved if edge == "border" else np.where(inside(places, size), moved, labels.dtype.type(fill))
    return result.reshape(labels.shape)
