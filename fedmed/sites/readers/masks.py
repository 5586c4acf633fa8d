"""Sites as folders of images and their masks: each holds `manifest.csv` (path, mask, patient if known, split if fixed)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedmed.config.part import Part
from fedmed.errors import ConfigError, DataError
from fedmed.preprocess.centred import image_on_grid, mask_on_grid, steps_for
from fedmed.sites.cases import Cases, pool
from fedmed.sites.partition import refuse_site_names
from fedmed.sites.readers.folder import OPTIONAL, manifest, refuse_partial_columns, site_folders
from fedmed.sites.readers.nifti import Scan, is_nifti, read_nifti
from fedmed.sites.readers.pixels import kind_of, read_labels, read_picture
from fedmed.sites.readers.reader import MissingData, Reader
from fedmed.sites.readers.table import Faults, Table

FILES = ("path", "mask")
MAX_CLASSES = 256
SAME_PLACE_MM = 0.1
MAX_VOXELS = 512**3


class MasksOptions(Part):
    """What the images of all sites become, and what the labels in their masks mean."""

    size: tuple[int, ...] = Field((128, 128), min_length=2, max_length=3)
    """Voxels of every case: rows and columns of PNG, JPEG and DICOM, slices, rows and columns of NIfTI."""
    spacing_mm: tuple[float, ...] | None = Field(None, min_length=2, max_length=3)
    """Between those voxels (DICOM and NIfTI); each image whole when absent."""
    colour: bool = False
    """Three channels; PNG and JPEG only."""
    classes: tuple[str, ...] = Field(("background", "foreground"), min_length=2, max_length=MAX_CLASSES)
    """Names of the labels, the background first."""
    labels: tuple[int, ...] = ()
    """Values of the masks in the order of the classes, such as `[0, 255]`; 0, 1, 2, ... when empty."""
    empty: Literal["refuse", "keep"] = "refuse"
    """What becomes of a case in whose mask nothing is drawn."""


def read_masks(folder: Path | None, options: MasksOptions, seed: int) -> Cases:
    """Images `(N, [3,] H, W)` or volumes `(N, D, H, W)` float32 and masks; `site` is the folder's name.

    Every case is resampled onto one grid, its mask with it: cases of several shapes cannot be batched. Raises DataError,
    naming file and line, for what `read_folder` refuses and for a mask of another shape or place than its image, with
    labels that are no class, or with nothing drawn in it; ConfigError for options that do not fit together.
    """
    _check(options)
    if folder is None:
        raise MissingData("no data folder was given")
    tables = {site.name: manifest(site, FILES, OPTIONAL, FILES) for site in site_folders(folder)}
    refuse_site_names(tables)
    refuse_partial_columns(folder, tables)
    return pool([_site_cases(name, table, options) for name, table in tables.items()])


def _check(options: MasksOptions) -> None:
    if options.spacing_mm is not None and (len(options.spacing_mm) != len(options.size) or min(options.spacing_mm) <= 0):
        raise ConfigError(
            f"data.options.spacing_mm is {options.spacing_mm}; one positive length for each of size {options.size}"
        )
    if min(options.size) < 1 or np.prod(options.size, dtype=float) > MAX_VOXELS:
        raise ConfigError(f"data.options.size is {options.size}; its sides must be positive, {MAX_VOXELS} voxels at most")
    if options.labels and (len(set(options.labels)) != len(options.classes) or len(options.labels) != len(options.classes)):
        raise ConfigError(f"data.options.labels is {options.labels}; one value of its own for each of {options.classes}")
    if options.colour and len(options.size) == 3:
        raise ConfigError("data.options.colour is for images; volumes have one channel")


def _site_cases(name: str, table: Table, options: MasksOptions) -> Cases:
    faults, images, masks = Faults(table.path), [], []
    for line, *paths in zip(table.lines, *(table.column(column) for column in FILES), strict=True):
        try:
            image, mask = _case(table.path.parent / paths[0], table.path.parent / paths[1], options)
        except DataError as error:
            faults.add(line, str(error))
            continue
        images.append(image)
        masks.append(mask)
    faults.raise_any()
    columns = set(table.columns)
    return Cases(
        np.stack(images),
        np.stack(masks),
        options.classes,
        np.array(table.filled("patient"), dtype=np.str_) if "patient" in columns else None,
        np.full(len(table), name),
        table.split_column("split") if "split" in columns else None,
        spatial=3 if len(options.size) == 3 else 2,
    )


def _case(image: Path, mask: Path, options: MasksOptions) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The image `([3,] size)` and the class of each of its voxels `(size)`."""
    if is_nifti(image) != (len(options.size) == 3):
        raise DataError(f"{image}: data.options.size has {len(options.size)} sides; NIfTI volumes need three, images two")
    channels, labels, spacing = _volume(image, mask) if is_nifti(image) else _image(image, mask, options)
    if labels.shape != channels.shape[1:]:
        raise DataError(f"{mask}: has shape {labels.shape}, its image {channels.shape[1:]}; a mask lies on its image")
    classes = _classes(mask, labels, options)
    steps = steps_for(labels.shape, spacing, options.size, options.spacing_mm)
    moved = mask_on_grid(classes, spacing, options.size, steps)
    if options.empty == "refuse" and not moved.any():
        where = "has nothing drawn in it" if not classes.any() else "has nothing drawn on the grid of data.options"
        raise DataError(f"{mask}: {where}; mend it, drop the row, or set data.options.empty to keep")
    made = np.stack([image_on_grid(channel, spacing, options.size, steps) for channel in channels])
    return (made if options.colour else made[0]), moved


def _volume(image: Path, mask: Path) -> tuple[NDArray[np.generic], NDArray[np.generic], Sequence[float]]:
    if not is_nifti(mask):
        raise DataError(f"{mask}: the mask of a NIfTI volume is NIfTI, too")
    scan, drawn = read_nifti(image), read_nifti(mask)
    if scan.values.shape == drawn.values.shape and (apart := _apart_mm(scan, drawn)) > SAME_PLACE_MM:
        raise DataError(
            f"{mask}: lies up to {apart:.2f} mm beside its image; at most {SAME_PLACE_MM} mm are taken for the same"
        )
    return scan.values[None], drawn.values, scan.spacing_mm


def _apart_mm(one: Scan, other: Scan) -> float:
    """Largest distance between the same corners of two grids of one shape."""
    ends = np.array(np.meshgrid(*[(0, length - 1) for length in one.values.shape])).reshape(3, -1)
    corners = np.vstack([ends, np.ones(ends.shape[1])])
    return float(np.linalg.norm(((one.affine - other.affine) @ corners)[:3], axis=0).max())


def _image(
    image: Path, mask: Path, options: MasksOptions
) -> tuple[NDArray[np.generic], NDArray[np.generic], Sequence[float]]:
    if kind_of(image) != "dicom":
        if options.spacing_mm is not None:
            raise DataError(f"{image}: states no pixel spacing; leave data.options.spacing_mm out to use whole images")
        return read_picture(image, options.colour), read_labels(mask), (1.0, 1.0)
    from fedmed.dicom.single_frame import read_image

    if options.colour:
        raise DataError(f"{image}: is a grey DICOM image, but data.options.colour is true")
    found = read_image(image)
    if found.spacing_mm is None and options.spacing_mm is not None:
        raise DataError(f"{image}: states no pixel spacing; leave data.options.spacing_mm out to use whole images")
    return found.pixels[None], read_labels(mask), found.spacing_mm or (1.0, 1.0)


def _classes(path: Path, drawn: NDArray[np.generic], options: MasksOptions) -> NDArray[np.uint8]:
    """Class index of every voxel. Raises DataError for values that are no class."""
    values = options.labels or tuple(range(len(options.classes)))
    found = np.unique(drawn)
    if strange := [value for value in found.tolist() if value not in values]:
        raise DataError(f"{path}: holds the labels {strange[:8]}; data.options knows {list(values)} for {options.classes}")
    made = np.zeros(drawn.shape, np.uint8)
    for index, value in enumerate(values):
        made[drawn == value] = index
    return made


MASKS = Reader(read_masks, MasksOptions)
