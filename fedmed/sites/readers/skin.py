"""HAM10000 (Tschandl et al. 2018) at 8 x 8 grey: skin lesions of four sources, several images of many lesions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedmed.config.part import Part
from fedmed.errors import DataError
from fedmed.sites.cases import Cases
from fedmed.sites.readers.reader import MissingData, Reader, existing_file
from fedmed.sites.readers.table import Faults, Table, read_table

IMAGES = "hmnist_8_8_L.csv"
METADATA = ("HAM10000_metadata", "HAM10000_metadata.csv")
CLASSES = ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel")
SIDE = 8


class SkinOptions(Part):
    """HAM10000 has nothing to set."""


def read_skin(folder: Path | None, options: SkinOptions, seed: int) -> Cases:
    """10,015 images `(N, 8, 8)` uint8; site is the source, patient the lesion (no patient is published).

    The pixel file has no image names, so it is joined to the metadata by row; raises DataError where their labels
    disagree.
    """
    if folder is not None and not folder.is_dir():
        raise MissingData(f"{folder} is a file; data.folder must name the folder of {IMAGES} and {METADATA[0]}")
    pixel_names = [f"pixel{index:04d}" for index in range(SIDE * SIDE)]
    pixels = read_table(existing_file(folder, IMAGES), required=[*pixel_names, "label"])
    name = next((name for name in METADATA if folder and (folder / name).is_file()), METADATA[0])
    metadata = read_table(existing_file(folder, name), required=["lesion_id", "dx", "dataset"])
    _check_join(pixels, metadata)
    values = pixels.numbers(pixel_names)
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{pixels.path}: pixels span {values.min():g} to {values.max():g}; expected 0 to 255")
    return Cases(
        x=values.astype(np.uint8).reshape(-1, SIDE, SIDE),
        y=metadata.class_indices("dx", CLASSES),
        classes=CLASSES,
        patient=np.array(metadata.filled("lesion_id"), dtype=np.str_),
        site=np.array(metadata.filled("dataset"), dtype=np.str_),
    )


def _check_join(pixels: Table, metadata: Table) -> None:
    if len(pixels) != len(metadata):
        raise DataError(f"{pixels.path} has {len(pixels)} rows, {metadata.path} {len(metadata)}; they must pair by row")
    faults = Faults(metadata.path)
    named = metadata.class_indices("dx", CLASSES)
    coded = pixels.class_indices("label", [str(index) for index in range(len(CLASSES))])
    for row in np.flatnonzero(named != coded):
        faults.add(metadata.lines[row], f"dx is {CLASSES[named[row]]}, the pixel file says {CLASSES[coded[row]]}")
    faults.raise_any()


SKIN = Reader(read_skin, SkinOptions)
