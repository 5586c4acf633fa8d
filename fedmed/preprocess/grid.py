"""The grid that a volume is resampled onto, from affines: which output index reads at which input index.

An affine `(4, 4)` takes an index `(d, h, w, 1)` to the patient's `(x, y, z, 1)` in mm, LPS+ (fedmed/dicom/volume.py). A
gantry's tilt is a shear in it; the grids made here are orthogonal, so that resampling straightens it.

Resampling takes point samples, as MONAI's Spacing and SimpleITK's resampler do. Where a grid is coarser than the volume
this aliases: what is finer than two output voxels turns into what is not there. Below a factor of two, linear interpolation
damps it; for more (thumbnails, say) resample to half the spacing first and average, or use `image.resample`, whose pixels
are exact means over their areas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]

AXIAL = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]).T
"""Directions of the axes (k, j, i) as columns, LPS+: k to the head, j to the back, i to the left."""
DIGITS = 12
"""Decimals kept of a matrix: what inverting leaves of a 0 or of a 1/2 would hide that the axes are parallel."""


@dataclass(frozen=True)
class Grid:
    """Where output voxels lie."""

    affine: NDArray[np.float64]
    """`(4, 4)`: output index `(k, j, i, 1)` -> patient mm, LPS+."""
    shape: Shape
    """`(oD, oH, oW)`."""


def to_voxel(volume_affine: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """`(3, 4)`: output index `(k, j, i, 1)` -> input index `(d, h, w)`, for `resample`.

    Raises ValueError for an affine that cannot be inverted.
    """
    _check(volume_affine)
    matrix = np.linalg.inv(volume_affine) @ grid.affine
    return np.asarray(np.round(matrix[:3], DIGITS))


def patient_grid(
    affine: NDArray[np.float64],
    shape: Shape,
    spacing_mm: Triple,
    size: Shape | None = None,
    directions: NDArray[np.float64] = AXIAL,
) -> Grid:
    """A grid along the patient's axes (or any orthonormal `directions`, columns k, j, i), its centre the volume's.

    `shape` (D, H, W) and `affine` are the volume's; `spacing_mm` is along k, j, i. With a `size` the grid has that many
    voxels: what does not fit is cropped, what is missing lies outside. Without, it covers the whole field of view.
    Raises ValueError for sizes and spacings that are not positive, and for directions that are not orthonormal.
    """
    _check(affine)
    if not all(0 < length < np.inf for length in spacing_mm) or (size is not None and min(size) < 1):
        raise ValueError(f"got spacing {spacing_mm} mm and size {size}; all must be positive")
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-6):
        raise ValueError("got directions that are not of length 1 and at right angles to each other")
    reach = np.abs(directions.T @ affine[:3, :3]) @ np.array(shape)  # mm that the volume's box spans along k, j, i
    spacing = np.array(spacing_mm)
    counts = np.maximum(1, np.ceil(reach / spacing - 1e-6)).astype(int) if size is None else np.array(size)
    centre = affine @ [*((np.array(shape) - 1) / 2), 1.0]
    made = np.eye(4)
    made[:3, :3] = directions * spacing
    made[:3, 3] = centre[:3] - made[:3, :3] @ ((counts - 1) / 2)
    return Grid(made, (int(counts[0]), int(counts[1]), int(counts[2])))


def own_grid(affine: NDArray[np.float64], shape: Shape, spacing_mm: Triple, size: Shape | None = None) -> Grid:
    """As `patient_grid`, along the volume's own rows and columns, with slices at right angles to them.

    For a volume without a tilt the axes stay where they are, and the fast paths serve it; a tilted one is straightened.
    """
    return patient_grid(affine, shape, spacing_mm, size, own_directions(affine))


def nearest_axes_grid(affine: NDArray[np.float64], shape: Shape, spacing_mm: Triple, size: Shape | None = None) -> Grid:
    """As `own_grid`, axes exchanged and turned round so that each is the one nearest to the patient's.

    A sagittal or slightly oblique series becomes k to the head, j to the back, i to the left, without mixing its rows.
    """
    own = own_directions(affine)
    free, columns = [0, 1, 2], []
    for wanted in AXIAL.T:
        best = max(free, key=lambda axis: abs(float(wanted @ own[:, axis])))
        free.remove(best)
        columns.append(own[:, best] * (1.0 if wanted @ own[:, best] >= 0 else -1.0))
    return patient_grid(affine, shape, spacing_mm, size, np.stack(columns, axis=1))


def own_directions(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns (k, j, i): rows as they are, columns at right angles to them, and the normal of both.

    The normal points the way the slices go. Raises ValueError for an affine that cannot be inverted.
    """
    _check(affine)
    i = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    j = affine[:3, 1] - i * (i @ affine[:3, 1])
    j = j / np.linalg.norm(j)
    k = np.cross(i, j)
    return np.stack([k if k @ affine[:3, 0] >= 0 else -k, j, i], axis=1)


def spacing_of(affine: NDArray[np.float64]) -> Triple:
    """Between slices along the normal, rows, columns, in mm."""
    between = abs(float(own_directions(affine)[:, 0] @ affine[:3, 0]))
    return between, float(np.linalg.norm(affine[:3, 1])), float(np.linalg.norm(affine[:3, 2]))


def _check(affine: NDArray[np.float64]) -> None:
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError(f"got an affine of shape {affine.shape} that is not finite or has no inverse; it must be (4, 4)")
