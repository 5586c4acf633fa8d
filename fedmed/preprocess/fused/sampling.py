"""Where an output voxel reads: the definition's coordinates, corners and nearest voxels, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fused.arguments import TIE, Shape

Places = list[NDArray[np.float64]]


def coordinates(matrix: NDArray[np.float64], k: int, shape: Shape) -> Places:
    """Input coordinates (d, h, w) of output slice k, each `(oH, oW)`: `matrix` (3, 4) @ (k, j, i, 1)."""
    j, i = np.arange(shape[1], dtype=np.float64)[:, None], np.arange(shape[2], dtype=np.float64)[None, :]
    return [row[0] * k + row[1] * j + row[2] * i + row[3] for row in matrix]


def inside(places: Places, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether each place lies in the volume of `size`, or not more than half a voxel (and TIE) outside."""
    held = np.ones(places[0].shape, dtype=bool)
    for place, count in zip(places, size, strict=True):
        held &= (place >= -0.5 - TIE) & (place <= count - 0.5 + TIE)
    return held


def corners(places: Places, size: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """The eight voxels around each place, clamped into `size`: three indices and a weight, each `(oH, oW)`."""
    axes: list[list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = []
    for place, count in zip(places, size, strict=True):
        clamped = np.clip(place, 0, count - 1)
        low = clamped.astype(np.int64)
        share = clamped - low
        axes.append([(low, 1 - share), (np.minimum(low + 1, count - 1), share)])
    return [(d, h, w, a * b * c) for d, a in axes[0] for h, b in axes[1] for w, c in axes[2]]


def nearest(places: Places, size: tuple[int, ...]) -> tuple[NDArray[np.int64], ...]:
    """Index of the voxel nearest to each place, clamped into `size`; a tie (within TIE) goes up."""
    return tuple(
        np.clip(np.floor(place + 0.5 + TIE), 0, count - 1).astype(np.int64)
        for place, count in zip(places, size, strict=True)
    )
