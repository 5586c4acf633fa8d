"""Masks on another grid: the class of the nearest voxel, never a mixture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TIE = 1e-6
"""Voxels: ties are broken alike whatever the last bit of an affine's inverse is."""


def nearest(labels: NDArray[np.uint8], to_voxel: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """`labels` `(D, H, W)` at output index `(k, j, i)`, read at `to_voxel @ (k, j, i, 1)`, `(3, 4)`; 0 beyond.

    Returns `shape` uint8, one output slice at a time, so that memory stays that of the result.
    """
    made = np.zeros(shape, np.uint8)
    j, i = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    size = np.array(labels.shape)[:, None, None]
    for k in range(shape[0]):
        at = np.tensordot(to_voxel[:, 1:3], np.stack([j, i]), axes=1) + (to_voxel[:, 0] * k + to_voxel[:, 3])[:, None, None]
        voxel = np.floor(at + 0.5 + TIE).astype(np.int64)
        inside = ((voxel >= 0) & (voxel < size)).all(axis=0)
        made[k][inside] = labels[tuple(voxel[:, inside])]
    return made
