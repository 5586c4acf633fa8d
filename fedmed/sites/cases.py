"""The one shape in which readers hand over cases."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Cases:
    """Labelled cases of one set or one site, row by row."""

    x: NDArray[np.generic]
    """Inputs `(N, features)` float32 or `(N, H, W)` / `(N, C, H, W)` uint8 or float32."""
    y: NDArray[np.int64]
    """Class index `(N,)` into `classes`."""
    classes: tuple[str, ...]
    patient: NDArray[np.str_] | None = None
    """Patient of each case `(N,)`; absent means that every case is a patient of its own."""
    site: NDArray[np.str_] | None = None
    """Natural site of each case `(N,)`."""
    split: NDArray[np.str_] | None = None
    """One of `SPLITS` per case `(N,)`, where the set has a split of its own."""
    features: tuple[str, ...] = ()
    """Column names of tabular inputs."""

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: NDArray[np.integer]) -> Cases:
        """The given rows, in the given order."""

        def pick(column: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
            return None if column is None else column[rows]

        return replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            patient=pick(self.patient),
            site=pick(self.site),
            split=pick(self.split),
        )


@dataclass(frozen=True)
class Site:
    """One site's cases, split."""

    name: str
    train: Cases
    validation: Cases
    test: Cases
