"""NIfTI volumes as fedmed's own: slices first, axes along the patient's left, posterior and superior."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.limits import LIMITS, Limits
from fedmed.errors import DataError, MissingPart

SUFFIXES = (".nii", ".nii.gz")
# NIfTI-1 (R. Cox et al. 2004): world axes are right, anterior, superior; DICOM's are left, posterior, superior.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Scan:
    """One volume on its own grid."""

    values: NDArray[np.generic]
    """`(D, H, W)`: slices towards the head, rows towards the back, columns towards the left, as nearly as the grid lies."""
    affine: NDArray[np.float64]
    """`(4, 4)`: index `(d, h, w, 1)` -> patient `(x, y, z, 1)` in mm, LPS+."""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between slices, rows, columns."""
        d, h, w = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return d, h, w


def is_nifti(path: Path) -> bool:
    """By its name: NIfTI has no mark among its first bytes, and may be compressed."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path, limits: Limits = LIMITS) -> Scan:
    """The volume at `path`, turned (never resampled) so that its axes are those of `Scan`.

    Its size is checked by its header before anything is decompressed. Raises DataError naming the file where it is
    too large, no volume, or cannot be read; MissingPart without nibabel.
    """
    nibabel = _nibabel()
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image = nibabel.load(path)
        _check(path, image, nibabel, limits)
        turned = nibabel.as_closest_canonical(image)
        values, affine = np.asanyarray(turned.dataobj), np.asarray(turned.affine, dtype=np.float64)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, TypeError, OverflowError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as NIfTI ({error})") from error
    values = values.reshape(values.shape[:3])
    # canonical axes are (right, anterior, superior): two of them turned, the order reversed
    flipped = np.diag([-1.0, -1.0, 1.0, 1.0])
    flipped[:2, 3] = values.shape[0] - 1, values.shape[1] - 1
    own = RAS_TO_LPS @ affine @ flipped
    return Scan(np.ascontiguousarray(values[::-1, ::-1].transpose(2, 1, 0)), own[:, [2, 1, 0, 3]])


def write_nifti(path: Path, values: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Write `values` `(D, H, W)` on the grid of `affine` (LPS+, as `Scan`); raises MissingPart without nibabel."""
    _nibabel().Nifti1Image(values.transpose(2, 1, 0), RAS_TO_LPS @ affine[:, [2, 1, 0, 3]]).to_filename(path)


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingPart("NIfTI needs nibabel; install it with: pip install 'fedmed[imaging]'") from error
    return nibabel


def _check(path: Path, image: Any, nibabel: Any, limits: Limits) -> None:
    if not isinstance(image, nibabel.Nifti1Pair):
        raise DataError(f"{path}: is {type(image).__name__}, no NIfTI")
    shape, stored = image.shape, image.get_data_dtype()
    if len(shape) < 3 or min(shape) < 1 or any(length != 1 for length in shape[3:]) or stored.kind not in "iuf":
        raise DataError(f"{path}: has shape {shape} and type {stored}; expected one volume of numbers (three axes)")
    voxels, packed = math.prod(shape), path.stat().st_size
    # nibabel scales in float64, whatever is stored
    if voxels * 8 > limits.decoded_bytes or voxels * stored.itemsize > limits.expansion * packed:
        raise DataError(f"{path}: {packed} bytes would become {voxels} voxels; at most {limits.decoded_bytes // 8} are read")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise DataError(f"{path}: its affine cannot be a grid in space: {np.round(image.affine, 3).tolist()}")
