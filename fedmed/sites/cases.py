"""The one shape in which readers hand over cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError
from fedmed.preprocess.pipeline import AS_STORED, Pipeline

Kind = TypeVar("Kind", bound=np.generic)
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class SetAside:
    """Something that a reader left out because it cannot be trusted; the rest goes on."""

    what: str
    """A series, study or file, as the site itself names it."""
    reason: str
    """For programs, one of `fedmed.dicom.reasons.Reason` or a word of the reader's own."""
    sentence: str
    study: str = ""
    """The study that it belongs to, where known."""


@dataclass(frozen=True)
class Cases:
    """Labelled cases of one set or one site, row by row."""

    x: NDArray[np.generic]
    """Inputs `(N, features)` float32; images `(N, [C,] H, W)` or volumes `(N, [C,] D, H, W)`, uint8 or float32."""
    y: NDArray[np.integer]
    """Class index into `classes`: one a case, `(N,)` int64, or one a voxel, masks `(N, [D,] H, W)` uint8."""
    classes: tuple[str, ...]
    """Of masks, the background first."""
    patient: NDArray[np.str_] | None = None
    """Patient of each case `(N,)`; absent means that every case is a patient of its own."""
    site: NDArray[np.str_] | None = None
    """Natural site of each case `(N,)`."""
    split: NDArray[np.str_] | None = None
    """One of `SPLITS` per case `(N,)`, where the set has a split of its own."""
    spacing_mm: NDArray[np.float32] | None = None
    """Between slices, rows, columns `(N, 3)` as the scanner had them, NaN where unknown; for the site's fingerprint."""
    orientation: NDArray[np.str_] | None = None
    """Patient directions of each image's axes `(N,)`, as `fedmed.preprocess.fingerprint.ORIENTATIONS` has them."""
    features: tuple[str, ...] = ()
    """Column names of tabular inputs."""
    spatial: Literal[2, 3] = 2
    """Trailing axes of `x` that are space; said by the reader, since `(N, C, H, W)` and `(N, D, H, W)` look alike."""
    set_aside: tuple[tuple[str, SetAside], ...] = ()
    """What the reader left out, each with its site."""
    kernels: tuple[tuple[str, str], ...] = ()
    """How the fused kernels made `x`: each stored type with each kind of grid, of `fedmed.preprocess.fused.parity.USES`;
    where nothing is said, all have to be certified."""

    def __len__(self) -> int:
        return len(self.y)

    @property
    def has_masks(self) -> bool:
        """Whether every voxel has a class, and not the case as a whole."""
        return self.y.ndim > 1

    def take(self, rows: NDArray[np.integer]) -> Cases:
        """The given rows, in the given order."""

        def pick(column: NDArray[Kind] | None) -> NDArray[Kind] | None:
            return None if column is None else column[rows]

        return replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            patient=pick(self.patient),
            site=pick(self.site),
            split=pick(self.split),
            spacing_mm=pick(self.spacing_mm),
            orientation=pick(self.orientation),
        )


@dataclass(frozen=True)
class Site:
    """One site's cases, split."""

    name: str
    train: Cases
    validation: Cases
    test: Cases
    pipeline: Pipeline = AS_STORED
    """How its images were prepared."""
    version: str = ""
    """Digest of its data set, where somebody has made it already."""
    parity: Mapping[str, Any] | None = None
    """Certificate of the kernels that prepared its images; plain JSON values."""


def pool(parts: Sequence[Cases]) -> Cases:
    """The rows of all `parts`, in order; a column that one part lacks is dropped.

    Raises DataError where the parts differ in classes, features or the shape of a case: images of several sizes have to
    be brought onto one grid by their reader.
    """
    first = parts[0]
    for part in parts[1:]:
        if _form(part) != _form(first):
            raise DataError(
                f"cases of shape {part.x.shape[1:]} with classes {part.classes} cannot be pooled with "
                f"shape {first.x.shape[1:]} and classes {first.classes}; all sites need the same columns and classes"
            )

    def join(name: str) -> NDArray[Any] | None:
        columns = [getattr(part, name) for part in parts]
        return None if any(column is None for column in columns) else np.concatenate(columns)

    return replace(
        first,
        set_aside=tuple(pair for part in parts for pair in part.set_aside),
        kernels=tuple(sorted({use for part in parts for use in part.kernels}))
        if all(part.kernels for part in parts)
        else (),
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        patient=join("patient"),
        site=join("site"),
        split=join("split"),
        spacing_mm=join("spacing_mm"),
        orientation=join("orientation"),
    )


def _form(cases: Cases) -> tuple[object, ...]:
    return cases.classes, cases.features, cases.x.shape[1:], cases.y.shape[1:], cases.spatial


def case_labels(cases: Cases) -> NDArray[np.int64]:
    """A class of each case `(N,)` to deal and split by: its own or, of a mask, the commonest in front of the background."""
    if not cases.has_masks:
        return cases.y.astype(np.int64, copy=False)
    voxels = [np.bincount(mask.ravel(), minlength=len(cases.classes))[1:] for mask in cases.y]
    return np.array([count.argmax() + 1 if count.any() else 0 for count in voxels], dtype=np.int64)


def class_counts(cases: Cases) -> NDArray[np.int64]:
    """How often each class occurs, in cases or, of masks, in voxels: `(classes,)`."""
    return np.array([np.count_nonzero(cases.y == index) for index in range(len(cases.classes))], dtype=np.int64)


def patient_rows(cases: Cases) -> list[NDArray[np.int64]]:
    """Rows of each patient, patients in order of first appearance."""
    if cases.patient is None:
        return [np.array([row], dtype=np.int64) for row in range(len(cases))]
    _, first, inverse = np.unique(cases.patient, return_index=True, return_inverse=True)
    rows = np.argsort(inverse, kind="stable")
    groups = np.split(rows, np.cumsum(np.bincount(inverse))[:-1])
    return [groups[index] for index in np.argsort(first)]


def unit_of(cases: Cases) -> str:
    """Whom privacy can be kept for: each `patient`, or each `record` where the cases do not say whose they are."""
    return "record" if cases.patient is None else "patient"


def check(cases: Cases, who: str) -> None:
    """Raises DataError with every fault of `cases`: lengths, class indices, split names, values that are not finite."""
    faults = [
        f"column {name!r} has {len(column)} rows, the labels {len(cases)}"
        for name in ("x", "patient", "site", "split", "spacing_mm", "orientation")
        if (column := getattr(cases, name)) is not None and len(column) != len(cases)
    ]
    if len(cases) == 0:
        faults.append("there are no cases")
    elif cases.y.min() < 0 or cases.y.max() >= len(cases.classes):
        faults.append(f"labels span {cases.y.min()} to {cases.y.max()} for {len(cases.classes)} classes {cases.classes}")
    if cases.has_masks:
        faults += _mask_faults(cases)
    if cases.split is not None and (unknown := set(np.unique(cases.split).tolist()) - set(SPLITS)):
        faults.append(f"splits {sorted(unknown)} are unknown; a case is in one of {', '.join(SPLITS)}")
    if cases.x.dtype.kind == "f" and not np.isfinite(cases.x).all():
        faults.append("inputs hold NaN or infinity; fill or drop them before")
    if faults:
        raise DataError(f"{who}: " + "; ".join(faults))


def _mask_faults(cases: Cases) -> list[str]:
    grid = cases.x.shape[-cases.spatial :]
    if cases.y.dtype != np.uint8 or cases.y.shape[1:] != grid or cases.x.ndim - cases.spatial not in (1, 2):
        return [
            f"masks {cases.y.shape} {cases.y.dtype} do not lie on images {cases.x.shape}, of which the last "
            f"{cases.spatial} axes are space; expected {(len(cases.x), *grid)} uint8"
        ]
    return []
