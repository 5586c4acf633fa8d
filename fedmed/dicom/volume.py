"""A volume as the rest of fedmed sees it: stored voxels, how to read them, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Volume:
    """One series on one grid; `voxels[d] * slope[d] + intercept[d]` are modality units (HU for CT)."""

    voxels: NDArray[np.generic]
    """Stored values `(D, H, W)`, int16, uint16 or wider, slices in ascending order along the normal."""
    slope: NDArray[np.float32]
    """`(D,)`; negative where MONOCHROME1 was turned so that bright is bright."""
    intercept: NDArray[np.float32]
    """`(D,)`."""
    padding: tuple[int, int] | None
    """Stored values, first to last, that are no image."""
    affine: NDArray[np.float64]
    """`(4, 4)`: index `(d, h, w, 1)` -> patient `(x, y, z, 1)` in mm, LPS+; a gantry tilt stays in it as shear."""
    spacing_mm: tuple[float, float, float]
    """Between slices (along the normal), rows, columns; NaN where the file does not say, and then 1 in the affine."""
    modality: str
    study: str
    series: str
    accession: str
    patient: str
    pixel_sha256: str
    """Over `voxels` in C order, in this machine's byte order: the volume's name in caches. Empty where not asked for."""
    located: bool = True
    """False: the affine only scales one picture (a radiograph), whose place in the patient is unknown."""
