"""Spherical lesions, placed in the patient in mm, and the voxels that they fill."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lesion:
    """A ball of one density."""

    centre_mm: tuple[float, float, float]
    """In the patient, LPS+."""
    radius_mm: float
    hu: float = 60.0
    """Its density; 60 is soft tissue that took up a contrast agent."""


def scatter(
    rng: np.random.Generator,
    count: int,
    low_mm: tuple[float, float, float],
    high_mm: tuple[float, float, float],
    radius_mm: tuple[float, float] = (6.0, 12.0),
) -> list[Lesion]:
    """`count` lesions that do not touch, their centres in the box from `low_mm` to `high_mm`; ValueError without room."""
    found: list[Lesion] = []
    for _ in range(200 * count):
        if len(found) == count:
            return found
        x, y, z = rng.uniform(low_mm, high_mm).tolist()
        one = Lesion((x, y, z), rng.uniform(*radius_mm))
        if all(math.dist(one.centre_mm, other.centre_mm) > one.radius_mm + other.radius_mm for other in found):
            found.append(one)
    if len(found) < count:
        raise ValueError(f"there is room for {len(found)} lesions between {low_mm} and {high_mm} mm, not for {count}")
    return found


def fill(
    voxels: NDArray[np.generic] | None, affine: NDArray[np.float64], shape: tuple[int, int, int], lesions: Iterable[Lesion]
) -> NDArray[np.bool_]:
    """The mask `(D, H, W)` of the voxels whose centre lies in a lesion; `voxels`, where given, are set to its density in HU.

    `affine` is `(4, 4)`: index `(d, h, w, 1)` -> patient mm. A later lesion lies over an earlier one.
    """
    mask = np.zeros(shape, bool)
    inverse = np.linalg.inv(affine)
    for lesion in lesions:
        # The ball's image in index space fits a box whose half edges are the lengths of the inverse's rows.
        middle = (inverse @ [*lesion.centre_mm, 1.0])[:3]
        reach = lesion.radius_mm * np.linalg.norm(inverse[:3, :3], axis=1)
        low = np.clip(np.ceil(middle - reach), 0, shape).astype(int)
        high = np.clip(np.floor(middle + reach) + 1, low, shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        index = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), axis=-1)
        offset = (index - middle) @ affine[:3, :3].T
        inside = (offset**2).sum(axis=-1) <= lesion.radius_mm**2
        mask[box] |= inside
        if voxels is not None:
            voxels[box][inside] = lesion.hu
    return mask
