"""One labelled sample, as it is cached, packed and put into shards."""

from __future__ import annotations

import re
from dataclasses import dataclass

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


def refuse_key(key: str, before: str) -> None:
    """Raise DataError for a key that is none, and for one that does not come after `before`."""
    if not KEY.fullmatch(key):
        raise DataError(f"sample key {key[:120]!r} cannot be used; keys are 1 to 90 letters, digits, '_' and '-'")
    if key <= before:
        raise DataError(f"sample {key!r} comes after {before!r}; samples must come in ascending order of their keys")
