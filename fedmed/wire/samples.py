"""One labelled sample, as it is cached, packed and put into shards."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError

KEY = re.compile(r"[A-Za-z0-9_-]{1,90}")  # no dot: webdataset ends a key at the first one


@dataclass(frozen=True)
class Sample:
    """A finished tensor and what belongs to it."""

    key: str
    """Unique within a set, of letters, digits, `_` and `-`."""
    array: NDArray[np.generic]
    label: str
    patient: str = ""
    split: str = ""
    """One of train, validation and test where the set has a split of its own."""
    mask: NDArray[np.generic] | None = None
    """The class of every voxel, uint8 in the shape of the array's axes of space; such a sample needs no label."""
    spacing_mm: tuple[float | None, ...] | None = None
    """Between slices, rows and columns as the scanner had them, None where unknown."""
    orientation: str = ""
    """Patient directions of the scanner's axes, where known."""


@dataclass(frozen=True)
class Layout:
    """What holds for all samples of a set, beside their classes and the pipeline that made them."""

    spatial: Literal[2, 3] | None = None
    """Trailing axes of an array that are space, where known."""
    features: tuple[str, ...] = ()
    """Column names of tabular samples."""
    position: int = 0
    """Of the site among those that were packed together: their order is part of a federation."""


NO_LAYOUT = Layout()


def layout_of(told: object) -> Layout:
    """The layout in a record of unknown origin; what it leaves out is unknown. Raises ValueError for one that cannot be."""
    if not isinstance(told, dict):
        raise ValueError("a layout is an object")
    spatial, features, position = told.get("spatial"), told.get("features", []), told.get("position", 0)
    if spatial is not None and not (type(spatial) is int and spatial in (2, 3)):
        raise ValueError("spatial is 2 or 3")
    if not isinstance(features, list) or not all(isinstance(each, str) for each in features):
        raise ValueError("features are texts")
    if type(position) is not int:
        raise ValueError("position is a whole number")
    return Layout(cast("Literal[2, 3] | None", spatial), tuple(features), position)


def refuse_mask(array: NDArray[np.generic], mask: NDArray[np.generic], spatial: int | None) -> None:
    """Raise DataError, in words that follow the sample's name, for a mask that does not lie on the array."""
    axes = spatial or mask.ndim
    channels = array.ndim - axes
    if mask.dtype != np.uint8 or axes not in (2, 3) or channels not in (0, 1) or mask.shape != array.shape[channels:]:
        raise DataError(
            f"its mask is {mask.dtype} of shape {mask.shape}, its array of shape {array.shape}; a mask is uint8, of the "
            "array's slices, rows and columns or rows and columns"
        )


def refuse_key(key: str, before: str) -> None:
    """Raise DataError for a key that is none, and for one that does not come after `before`."""
    if not KEY.fullmatch(key):
        raise DataError(f"sample key {key[:120]!r} cannot be used; keys are 1 to 90 letters, digits, '_' and '-'")
    if key <= before:
        raise DataError(f"sample {key!r} comes after {before!r}; samples must come in ascending order of their keys")
