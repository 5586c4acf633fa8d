"""One grey single-frame DICOM image, in modality units, as the scanner's own table and spacing say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.instance import Instance, read_instance
from fedmed.dicom.limits import Limits
from fedmed.dicom.luts import bright_values
from fedmed.dicom.pixels import decode
from fedmed.dicom.reasons import NoImage, Reason, Status, Untrusted
from fedmed.dicom.sources import Source, of_file
from fedmed.dicom.walking import PIXELS
from fedmed.errors import DataError

MAX_PIXELS = 64 * 1024 * 1024
"""Rows x columns; the largest mammography detectors have about 30 million."""
MAX_BYTES = 1024**3
"""Size of a file that is opened at all."""


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
    """The image of the DICOM file at `path`; raises DataError as `image_of`."""
    return image_of(of_file(path, path.name, _limits()), str(path))


def image_of(source: Source, name: str) -> Image:
    """The image of a DICOM object, which errors call `name`.

    Raises DataError for what is no DICOM file, has no integer pixels, several frames or colour, more than `MAX_PIXELS`
    pixels, a compression that no installed codec reads, or anything that is not as the standard says.
    """
    try:
        instance = read_instance(source, _limits())
        _refuse_unusable(name, instance)
        values = bright_values(instance, decode(instance))
    except NoImage as error:
        if error.status is Status.NOT_DICOM:
            raise DataError(f"{name}: is not a DICOM file. {error.detail}") from error
        raise DataError(f"{name}: has no integer pixels (no Pixel Data attribute); only images can be read") from error
    except Untrusted as error:
        unread = error.reason in (Reason.UNREADABLE, Reason.TOO_LARGE)
        what = "it cannot be read" if unread else "its pixels cannot be decoded"
        raise DataError(f"{name}: {what}. {error}") from error
    if not np.isfinite(values).all():
        raise DataError(f"{name}: does not decode to finite numbers")
    header = instance.header
    return Image(values, header.planes[0].spacing_mm, header.modality, header.photometric)


def _limits() -> Limits:
    return Limits(file_bytes=MAX_BYTES, pixels_per_frame=MAX_PIXELS)


def _refuse_unusable(name: str, instance: Instance) -> None:
    """What a header may say and this reader does not take."""
    header = instance.header
    if instance.pixels.tag != PIXELS:
        raise DataError(f"{name}: has no integer pixels (no Pixel Data attribute); only those are read")
    if header.frames != 1:
        raise DataError(f"{name}: has {header.frames} frames; only single-frame images are read here")
    if header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{name}: is {header.photometric}; only grey images (MONOCHROME1, MONOCHROME2) are read")
