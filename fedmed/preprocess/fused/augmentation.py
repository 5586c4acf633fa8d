"""What an augmentation does to each sample of a batch, drawn once from an injected generator and then only applied."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fused.arguments import Edge, Shape, checked_matrices

NUMBERED = 2**32
"""Voxels of a sample: the noise's counter has 32 bits for them."""
LABELS = "biu"
"""Kinds of label: bool, int, unsigned."""


@dataclass(frozen=True)
class AugmentRanges:
    """From what the parameters are drawn, uniformly between the two ends (or plus and minus the one end)."""

    flip: tuple[float, float, float] = (0.0, 0.0, 0.5)
    """Probability of a flip along d, h and w."""
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Largest turn about the d, h and w axis; in 2D only the first counts."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Magnification."""
    shear: float = 0.0
    """Largest shift of one axis per unit of another, for each pair of axes."""
    shift_mm: float = 0.0
    gamma: tuple[float, float] = (1.0, 1.0)
    contrast: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    """Largest offset, as a share of the range of values."""
    noise: tuple[float, float] = (0.0, 0.0)
    """Deviation of the noise, as a share of the range of values."""


@dataclass(frozen=True)
class AugmentParameters:
    """What happens to each of N samples; `augment` says in which order."""

    to_voxel: NDArray[np.float64]
    """`(N, 3, 4)`: output index `(k, j, i, 1)` -> input index `(d, h, w)`."""
    gamma: NDArray[np.float32]
    """`(N,)`, above 0."""
    contrast: NDArray[np.float32]
    """`(N,)`."""
    brightness: NDArray[np.float32]
    """`(N,)`, share of the range of values."""
    noise: NDArray[np.float32]
    """`(N,)`, share of the range of values; 0 for none."""
    key: NDArray[np.uint64]
    """`(N,)`: the noise is a function of this and the voxel's number."""


def draw(
    ranges: AugmentRanges,
    generator: np.random.Generator,
    n: int,
    shape: Shape,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> AugmentParameters:
    """Parameters for n samples of `shape` (D, H, W); 2D images have D = 1 and stay in their plane.

    Turning and shearing happen in mm about the centre, so that flat voxels do not distort them.
    """
    flat = shape[0] == 1
    matrices = np.stack([_matrix(ranges, generator, shape, np.asarray(spacing_mm), flat) for _ in range(n)])

    def between(low: float, high: float) -> NDArray[np.float32]:
        return generator.uniform(low, high, n).astype(np.float32)

    return AugmentParameters(
        matrices,
        gamma=between(*ranges.gamma),
        contrast=between(*ranges.contrast),
        brightness=between(-ranges.brightness, ranges.brightness),
        noise=between(*ranges.noise),
        key=generator.integers(0, 2**64, n, dtype=np.uint64),
    )


def _matrix(
    ranges: AugmentRanges, generator: np.random.Generator, shape: Shape, spacing: NDArray[np.float64], flat: bool
) -> NDArray[np.float64]:
    """One drawn to_voxel, (3, 4); the same numbers are drawn in 2D and 3D."""
    turns = np.radians(generator.uniform(-1, 1, 3) * ranges.rotation_deg)
    shear = generator.uniform(-ranges.shear, ranges.shear, 6)
    shift = generator.uniform(-ranges.shift_mm, ranges.shift_mm, 3)
    scale = generator.uniform(*ranges.scale)
    flips = np.where(generator.uniform(size=3) < ranges.flip, -1.0, 1.0)
    sheared = np.eye(3)
    sheared[~np.eye(3, dtype=bool)] = shear
    if flat:
        turns[1:], shift[0], flips[0] = 0.0, 0.0, 1.0
        sheared[0], sheared[:, 0] = (1, 0, 0), (1, 0, 0)
    magnified = np.full(3, 1 / scale)
    magnified[0] = 1.0 if flat else magnified[0]
    in_mm = _turned(turns) @ sheared @ np.diag(magnified * flips)
    matrix = in_mm * spacing[None, :] / spacing[:, None]
    centre = (np.array(shape) - 1) / 2
    return np.column_stack([matrix, centre - matrix @ centre + shift / spacing])


def _turned(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns about the axes d, h and w, one after the other."""
    whole = np.eye(3)
    for axis, angle in enumerate(angles):
        one, two = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = math.cos(angle)
        turn[one, two], turn[two, one] = -math.sin(angle), math.sin(angle)
        whole = whole @ turn
    return whole


def as_volumes(batch: Any, parameters: AugmentParameters, edge: Edge) -> Any:
    """`batch` as `(N, C, D, H, W)`; ValueError where it, or the parameters, cannot be right."""
    if batch.ndim not in (4, 5) or 0 in batch.shape:
        raise ValueError(f"got a batch of shape {batch.shape}; it must be (N, C, H, W) or (N, C, D, H, W), none of them 0")
    volumes = batch[:, :, None] if batch.ndim == 4 else batch
    n, shape = len(volumes), (volumes.shape[2], volumes.shape[3], volumes.shape[4])
    checked_matrices(parameters.to_voxel, n, shape)
    if edge not in ("border", "constant"):
        raise ValueError(f"got the edge {edge!r}; allowed: border, constant")
    if math.prod(volumes.shape[1:]) > NUMBERED:
        raise ValueError(f"got samples of shape {volumes.shape[1:]}; the noise numbers 2^32 voxels at most")
    tones = (parameters.gamma, parameters.contrast, parameters.brightness, parameters.noise)
    if any(len(tone) != n or not np.isfinite(tone).all() for tone in tones) or not (parameters.gamma > 0).all():
        raise ValueError(f"got tones that are not {n} finite numbers each, gamma above 0")
    if parameters.key.shape != (n,):
        raise ValueError(f"got keys of shape {parameters.key.shape}; they must be ({n},)")
    return volumes


def check_images(images: Any, values: tuple[float, float]) -> None:
    """ValueError unless the images are float32 and the range of their values has a width."""
    if images.dtype != np.float32:
        raise ValueError(f"got images of {images.dtype}; they must be float32")
    if not (math.isfinite(values[0]) and math.isfinite(values[1]) and values[1] > values[0]):
        raise ValueError(f"got the range of values {values}; it must be (low, high), finite, low below high")


def check_labels(labels: Any) -> None:
    """ValueError unless labels are whole numbers, in this machine's byte order."""
    if labels.dtype.kind not in LABELS or not labels.dtype.isnative:
        raise ValueError(f"got labels of {labels.dtype}; they must be whole numbers in this machine's byte order")


def bound(images: NDArray[np.float32], parameters: AugmentParameters, values: tuple[float, float], fill: float) -> float:
    """Largest difference from the twin that a back end working in float32 may show.

    Interpolation's 9 roundings of 2^-24; a gamma below 1 is steep near black, where an error e becomes e^gamma.
    """
    width = values[1] - values[0]
    largest = max(float(np.abs(images).max()), abs(fill), abs(values[0]), abs(values[1]))
    error = 9 * 2.0**-24 * largest
    steepest, flattest = float(parameters.gamma.max()), float(parameters.gamma.min())
    if (parameters.gamma != 1).any():
        share = error / width + 2.0**-22
        error = width * max(steepest * share, share**flattest, share) + 2.0**-22 * largest
    contrast = max(1.0, float(np.abs(parameters.contrast).max()))
    extra = largest + width * (float(np.abs(parameters.brightness).max()) + 5 * float(np.abs(parameters.noise).max()))
    return contrast * error + 4 * 2.0**-24 * contrast * extra
