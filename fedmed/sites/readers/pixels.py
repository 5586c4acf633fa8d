"""One image file, PNG, JPEG or DICOM told apart by its first bytes, on the network's grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError, MissingPart
from fedmed.preprocess.image import resample, standardise

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 64 * 1024 * 1024
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True)
class Grid:
    """What every image of a site becomes."""

    size: int
    """Pixels on a side."""
    field_of_view_mm: float | None
    """Side of the square in the patient, DICOM only; the whole image when absent."""
    colour: bool
    standardise: bool


def read_pixels(path: Path, grid: Grid) -> NDArray[np.float32]:
    """The image at `path`, `(size, size)` or in colour `(3, size, size)`, float32; raises DataError naming the file."""
    return read_image(path, grid)[0]


def read_image(path: Path, grid: Grid) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """As `read_pixels`, and between the file's own rows and columns in mm, NaN where it does not say."""
    kind = kind_of(path)
    if kind == "dicom":
        channels, spacing, field = _dicom(path, grid)
    else:
        channels, spacing, field = read_picture(path, grid.colour), None, None
    resampled = np.stack([resample(channel, spacing or (1.0, 1.0), grid.size, field) for channel in channels])
    result = standardise(resampled) if grid.standardise else resampled
    return result if grid.colour else result[0], spacing or (math.nan, math.nan)


def kind_of(path: Path) -> str:
    """`png`, `jpeg` or `dicom`, by the first bytes; raises DataError for anything else."""
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if start[128:] == b"DICM":
        return "dicom"
    for signature, kind in SIGNATURES.items():
        if start.startswith(signature):
            return kind
    raise DataError(f"{path}: is neither PNG, JPEG nor DICOM by its first bytes")


def _dicom(path: Path, grid: Grid) -> tuple[NDArray[np.float32], tuple[float, float] | None, float | None]:
    from fedmed.dicom.single_frame import read_image

    if grid.colour:
        raise DataError(f"{path}: is a grey DICOM image, but data.options.colour is true")
    image = read_image(path)
    if image.spacing_mm is None and grid.field_of_view_mm is not None:
        raise DataError(f"{path}: states no pixel spacing; leave data.options.field_of_view_mm out to use whole images")
    return image.pixels[None], image.spacing_mm, grid.field_of_view_mm


def read_picture(path: Path, colour: bool) -> NDArray[np.float32]:
    """Channels `(1 or 3, H, W)` float32 in 0 to 1 of a PNG or JPEG; raises DataError naming the file."""
    return _decoded(path, lambda picture: _channels(picture, colour))


def read_labels(path: Path) -> NDArray[np.integer]:
    """The stored values `(H, W)` of a grey, palette or one-bit PNG: a mask; raises DataError naming the file."""
    if (kind := kind_of(path)) != "png":
        raise DataError(f"{path}: is {kind}; the mask of an image is a PNG, which keeps its labels as they are")
    return _decoded(path, lambda picture: _labels(path, picture))


def _labels(path: Path, picture: Picture) -> NDArray[np.integer]:
    if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
        raise DataError(f"{path}: is a picture of mode {picture.mode}; a mask has one channel of labels")
    values = np.asarray(picture)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _decoded(path: Path, convert: Callable[[Picture], NDArray[Any]]) -> NDArray[Any]:
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise MissingPart("PNG and JPEG need Pillow; install it with: pip install 'fedmed[fl]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise DataError(f"{path}: has {picture.width} x {picture.height} pixels; at most {MAX_PIXELS} are read")
                return convert(ImageOps.exif_transpose(picture))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: has too many pixels ({error})") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be decoded ({error})") from error


def _channels(picture: Picture, colour: bool) -> NDArray[np.float32]:
    if colour:
        return np.moveaxis(np.asarray(picture.convert("RGB"), dtype=np.float32), -1, 0) / np.float32(255)
    if picture.mode.startswith("I"):
        # 16-bit grey PNG; Pillow's own conversion to 8 bits clips instead of scaling.
        return np.asarray(picture, dtype=np.float32)[None] / np.float32(65535)
    return np.asarray(picture.convert("L"), dtype=np.float32)[None] / np.float32(255)
