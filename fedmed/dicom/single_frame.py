"""One grey single-frame DICOM image, in modality units, as the scanner's own table and spacing say."""

from __future__ import annotations

import math
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_modality_lut

from fedmed.errors import DataError

MAX_PIXELS = 64 * 1024 * 1024
"""Rows x columns; the largest mammography detectors have about 30 million."""
MAX_BYTES = 1024**3
"""Size of a file that is opened at all."""

# What pydicom and its codecs raise for a file that is not as the standard says; anything else is our own fault.
UNREADABLE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    InvalidDicomError,
)


@dataclass(frozen=True)
class Image:
    """One grey image, bright where the scanner says MONOCHROME2."""

    pixels: NDArray[np.float32]
    """`(H, W)` float32 in modality units: after rescale slope and intercept, MONOCHROME1 already inverted."""
    spacing_mm: tuple[float, float] | None
    """Between rows, between columns; PixelSpacing, else ImagerPixelSpacing (at the detector), else unknown."""
    modality: str
    photometric: str
    """As the file said; `MONOCHROME1` was inverted."""


def read_image(path: Path) -> Image:
    """The image of the DICOM file at `path`.

    Raises DataError, naming the file, for what is no DICOM Part 10 file, has no pixels, several frames or colour, more
    than `MAX_PIXELS` pixels, or a compression that no installed codec reads.
    """
    with warnings.catch_warnings():
        # pydicom remarks on every odd attribute; what makes an image unusable is refused below.
        warnings.simplefilter("ignore", UserWarning)
        dataset = _open(path)
        try:
            _refuse_unusable(path, dataset)
            with np.errstate(over="ignore", invalid="ignore"):
                values = _modality_values(dataset)
            spacing = _spacing_mm(dataset)
        except UNREADABLE as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(f"{path}: its pixels cannot be decoded ({reason}); export it uncompressed") from error
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError(f"{path}: decodes to shape {values.shape}, or not to finite numbers; expected one grey image")
    return Image(values, spacing, str(dataset.get("Modality", "")), str(dataset.PhotometricInterpretation))


def _open(path: Path) -> FileDataset:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are opened")
        return pydicom.dcmread(path)
    except InvalidDicomError as error:
        raise DataError(f"{path}: is not a DICOM file (no 'DICM' at byte 128, PS3.10 section 7.1)") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as DICOM ({error})") from error


def _refuse_unusable(path: Path, dataset: FileDataset) -> None:
    """Everything that the header can tell, before any pixel is decoded."""
    if "PixelData" not in dataset:
        raise DataError(f"{path}: has no integer pixels (no Pixel Data attribute); only images can be read")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if not 0 < rows * columns <= MAX_PIXELS:
        raise DataError(f"{path}: has {rows} x {columns} pixels; between 1 and {MAX_PIXELS} are read")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise DataError(f"{path}: has {frames} frames; only single-frame images are read here")
    photometric = str(dataset.get("PhotometricInterpretation", "nothing"))
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise DataError(f"{path}: is {photometric}; only grey images (MONOCHROME1, MONOCHROME2) are read")


def _modality_values(dataset: FileDataset) -> NDArray[np.float32]:
    """Stored values -> modality units (PS3.3 C.11.1), MONOCHROME1 turned so that bright is bright."""
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0)) == 1
    stored = _without_foreign_bits(dataset.pixel_array, bits, int(dataset.get("HighBit", bits - 1)))
    values = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        # Mirrored at the middle of what the bits can hold, not of this image: equal values stay equal across images.
        span = np.array([-(1 << bits - 1), (1 << bits - 1) - 1] if signed else [0, (1 << bits) - 1])
        ends = np.asarray(apply_modality_lut(span.astype(np.int64), dataset), dtype=np.float64)
        values = ends.sum() - values
    return values.astype(np.float32)


def _without_foreign_bits(stored: NDArray[np.generic], bits: int, high_bit: int) -> NDArray[np.generic]:
    """Clears bits outside Bits Stored (old files keep overlays there) and extends the sign, PS3.5 section 8.1.1."""
    width = stored.dtype.itemsize * 8
    if not 1 <= bits <= width or high_bit != bits - 1:
        raise ValueError(f"High Bit {high_bit} must be Bits Stored {bits} less one, within {width} bits")
    cleared: NDArray[np.generic] = np.right_shift(np.left_shift(stored, width - bits), width - bits)
    return cleared


def _spacing_mm(dataset: FileDataset) -> tuple[float, float] | None:
    """PS3.3 10.7.1.3: first the distance between rows, then between columns."""
    found = dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")
    if not found:
        return None
    row, column = (float(length) for length in found)
    if not all(math.isfinite(length) and length > 0 for length in (row, column)):
        raise ValueError(f"its pixel spacing is {row} x {column} mm")
    return row, column
