"""Sites as folders of DICOM studies: each holds `labels.csv`, which names studies, and the files in any tree or archive."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fedmed.clock import SystemClock
from fedmed.config.part import Part
from fedmed.errors import ConfigError, DataError
from fedmed.preprocess.fingerprint import orientation_code
from fedmed.preprocess.grid import to_voxel
from fedmed.preprocess.labels import nearest
from fedmed.preprocess.pipeline import Pipeline
from fedmed.privacy import keys
from fedmed.sites.cases import Cases, SetAside, pool
from fedmed.sites.partition import refuse_site_names
from fedmed.sites.readers.folder import refuse_partial_columns, site_folders
from fedmed.sites.readers.nifti import is_nifti, read_nifti
from fedmed.sites.readers.reader import MissingData, Reader
from fedmed.sites.readers.table import Faults, Table, read_table
from fedmed.sites.studies import Study, Target, Workshop, prepared
from fedmed.store.entries import Form, Plain, Sealed
from fedmed.store.keysource import key_from
from fedmed.store.quarantine import Quarantine
from fedmed.store.tensors import TensorStore

LABELS = "labels.csv"
IDS = ("study", "series", "accession")
OPTIONAL = ("patient", "split")
CACHE = "FEDMED_CACHE"
"""Names a folder for finished tensors; without it none are kept, for they are images of patients."""
CACHE_KEY, IN_CLEAR = "FEDMED_CACHE_KEY", "off"
"""Where the key comes from that they are sealed with, as `store.keysource` writes it; absent: a file of the user's own."""
QUARANTINE = "FEDMED_QUARANTINE"
"""Names the folder in which `fedmed data quarantine` releases what a person has looked at."""
MAX_VOXELS = 512**3

Count = Annotated[int, Field(ge=1, le=4096)]
Millimetres = Annotated[float, Field(gt=0, le=100)]


class StudiesOptions(Part):
    """What the studies of all sites become, and what their labels mean."""

    size: tuple[Count, Count, Count] = (32, 96, 96)
    """Slices, rows, columns of every case, around the middle of the volume; what lies beyond the volume is 0."""
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] = (5.0, 4.0, 4.0)
    """Between those voxels."""
    window: tuple[float, float] = (-1000.0, 400.0)
    """Modality units (HU for CT) that become 0 and 1."""
    slices: bool = False
    """Every slice is a case of its own, a 2D image; for masks."""
    classes: tuple[str, ...] = ()
    """Labels in the order of their class index, or names of the masks' labels, the background first."""
    labels: tuple[int, ...] = ()
    """Values of the masks in the order of the classes; 0, 1, 2, ... when empty."""
    cache_mb: int = Field(4096, ge=1, le=10_000_000)
    """Bound of the cache, where FEDMED_CACHE names one."""
    workers: int = Field(2, ge=1, le=256)
    """Threads that decode and compute."""

    @model_validator(mode="after")
    def _fits_together(self) -> StudiesOptions:
        if not self.window[0] < self.window[1]:
            raise ValueError(f"window is {list(self.window)}; its second number must lie above the first")
        if np.prod(self.size, dtype=float) > MAX_VOXELS:
            raise ValueError(f"size is {list(self.size)}; {MAX_VOXELS} voxels at most")
        if self.labels and len(self.labels) != len(self.classes):
            raise ValueError(f"labels is {list(self.labels)}; one value for each of classes {list(self.classes)}")
        return self

    def target(self) -> Target:
        """The grid and the window."""
        return Target(self.size, self.spacing_mm, self.window)


def read_studies(folder: Path | None, options: StudiesOptions, seed: int) -> Cases:
    """Volumes `(N, D, H, W)` float32, or with `slices` images `(N, H, W)`; `site` is the folder's name.

    A row of `labels.csv` gives a study, series or accession number its `label`, or the file of its `mask` (DICOM SEG or
    NIfTI). What cannot be trusted, cannot be told apart or is not there is in `set_aside`, and everything else goes on;
    volumes without a row are passed over. Raises DataError, by file and line, for a table that cannot be right, and where
    a site has no usable case at all.
    """
    if folder is None:
        raise MissingData("no data folder was given")
    tables = {site.name: _table(site) for site in site_folders(folder, LABELS)}
    refuse_site_names(tables)
    refuse_partial_columns(folder, tables, ("mask", *OPTIONAL))
    masked = "mask" in next(iter(tables.values())).columns
    classes = _classes(folder, tables.values(), masked, options)
    if options.slices and not masked:
        raise ConfigError("data.options.slices makes a case of every slice; a label of the whole study does not say which")
    return pool([_site_cases(table, masked, classes, options) for table in tables.values()])


def _table(site: Path) -> Table:
    table = read_table(site / LABELS, allowed=(*IDS, "label", "mask", *OPTIONAL))
    for names in (IDS, ("label", "mask")):
        if len(found := [name for name in names if name in table.columns]) != 1:
            raise DataError(f"{table.path}: has the columns {found} of {', '.join(names)}; it needs exactly one of them")
    faults, seen = Faults(table.path), dict[str, int]()
    for line, name in zip(table.lines, table.filled(_id_column(table)), strict=True):
        if (before := seen.setdefault(name, line)) != line:
            faults.add(line, f"{name} is already on line {before}")
    faults.raise_any()
    return table


def _id_column(table: Table) -> str:
    return next(name for name in IDS if name in table.columns)


def _classes(folder: Path, tables: Iterable[Table], masked: bool, options: StudiesOptions) -> tuple[str, ...]:
    if masked:
        return options.classes or ("background", "foreground")
    found = sorted({label for table in tables for label in table.filled("label")})
    classes = options.classes or tuple(found)
    if len(classes) < 2:
        raise DataError(f"{folder}: all sites together have the one label {classes[0]!r}; learning needs two classes")
    return classes


@dataclass
class _Rows:
    """What one site's rows became."""

    images: list[NDArray[np.float32]] = field(default_factory=list)
    truth: list[NDArray[np.uint8] | int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)
    aside: list[SetAside] = field(default_factory=list)


def _site_cases(table: Table, masked: bool, classes: tuple[str, ...], options: StudiesOptions) -> Cases:
    site = table.path.parent
    found = _Rows()
    volumes = defaultdict[str, list[Study]](list)
    column = _id_column(table)
    for each in prepared(site, Workshop(options.target(), _cache(options), options.workers, quarantine=_quarantine())):
        if isinstance(each, SetAside):
            found.aside.append(each)
        else:
            volumes[getattr(each.header, column)].append(each)
    for row, name in enumerate(table.column(column)):
        _join(found, row, name, volumes.get(name, []), column)
    if masked:
        _draw(found, site, table.column("mask"), classes, options)
    else:
        labels = table.class_indices("label", classes)
        found.truth = [int(labels[row]) for row in found.rows]
    if not found.rows:
        why = "; ".join(f"{each.what}: {each.sentence}" for each in found.aside[:3])
        raise DataError(
            f"{table.path}: none of its {len(table)} rows has a volume that can be used ({why or 'no DICOM there'})"
        )
    return _cases(site.name, table, found, classes, options)


def _join(found: _Rows, row: int, name: str, volumes: list[Study], column: str) -> None:
    """The volume of a row, or why there is none."""
    if len(volumes) == 1:
        found.rows.append(row)
        found.studies.append(volumes[0])
        found.images.append(volumes[0].image)
    elif volumes:
        text = f"{len(volumes)} volumes have this {column}; label them by series instead."
        found.aside.append(SetAside(name, "ambiguous", text))
    elif not any(name in (each.what.partition("/")[0], each.study) for each in found.aside):
        found.aside.append(SetAside(name, "not-found", f"No volume that can be used has this {column}."))


def _draw(found: _Rows, site: Path, paths: list[str], classes: tuple[str, ...], options: StudiesOptions) -> None:
    """The masks of the joined volumes; a volume whose mask cannot be used is set aside."""
    kept = _Rows(aside=found.aside)
    for row, study in zip(found.rows, found.studies, strict=True):
        try:
            mask = _mask(site, paths[row], study, options.labels or tuple(range(len(classes))))
        except DataError as error:
            kept.aside.append(SetAside(study.header.series, "bad-mask", str(error), study.header.study))
            continue
        kept.rows.append(row)
        kept.studies.append(study)
        kept.images.append(study.image)
        kept.truth.append(mask)
    found.rows, found.studies, found.images, found.truth = kept.rows, kept.studies, kept.images, kept.truth


def _mask(site: Path, text: str, study: Study, values: tuple[int, ...]) -> NDArray[np.uint8]:
    path = (site / text).resolve()
    if not path.is_relative_to(site.resolve()) or not path.is_file():
        raise DataError(f"the mask {text!r} is not a file in the site's folder")
    if is_nifti(path):
        scan = read_nifti(path)
        drawn, affine = scan.values, scan.affine
    else:
        from fedmed.dicom.segmentation import masks_of

        (drawn, _), affine = masks_of(path, study.scanned, study.slices, study.shape), study.scanned
    if strange := sorted(set(np.unique(drawn).tolist()) - set(values))[:8]:
        raise DataError(f"the mask {text!r} holds the labels {strange}; the classes have {list(values)}")
    index = np.zeros(drawn.shape, np.uint8)
    for position, value in enumerate(values):
        index[drawn == value] = position
    return nearest(index, to_voxel(affine, study.grid), study.grid.shape)


def _cases(site: str, table: Table, found: _Rows, classes: tuple[str, ...], options: StudiesOptions) -> Cases:
    rows = np.array(found.rows)
    split = table.split_column("split")[rows] if "split" in table.columns else None
    named = table.filled("patient") if "patient" in table.columns else None
    patients = [named[row] if named else study.header.patient for row, study in zip(found.rows, found.studies, strict=True)]
    x, y = np.stack(found.images), np.array(found.truth)
    cases = Cases(
        x,
        y,
        classes,
        np.array(patients, np.str_) if all(patients) else None,
        np.full(len(rows), site),
        split,
        np.array([study.spacing_mm for study in found.studies], np.float32),
        np.array([orientation_code(study.scanned) for study in found.studies]),
        spatial=3,
        set_aside=tuple((site, each) for each in found.aside),
        kernels=tuple(sorted({study.kernel for study in found.studies})),
    )
    return _sliced(cases) if options.slices else cases


def _sliced(cases: Cases) -> Cases:
    """Every slice a case: `(N, D, H, W)` -> `(N * D, H, W)`; a patient's slices stay together."""
    count, depth = cases.x.shape[:2]
    whole = np.repeat(np.arange(count), depth)
    patient = cases.patient if cases.patient is not None else np.arange(count).astype(np.str_)
    return replace(
        cases.take(whole),
        x=cases.x.reshape(-1, *cases.x.shape[2:]),
        y=cases.y.reshape(-1, *cases.y.shape[2:]),
        patient=patient[whole],
        spatial=2,
    )


def _cache(options: StudiesOptions) -> TensorStore | None:
    named = os.environ.get(CACHE)
    if not named:
        return None
    return TensorStore(Path(named), options.cache_mb * 1024**2, logging.getLogger(__name__).warning, _form())


def _form() -> Form:
    source = os.environ.get(CACHE_KEY)
    if source == IN_CLEAR:
        return Plain()
    if source:
        return Sealed(key_from(source))
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fedmed" / "cache.key"
    return Sealed(keys.read_or_create(own).secret)


def _quarantine() -> Quarantine | None:
    named = os.environ.get(QUARANTINE)
    return Quarantine(Path(named), SystemClock()) if named else None


def prepared_by(folder: Path | None, options: StudiesOptions, site: str) -> Pipeline:
    """The steps that a study's voxels go through, at every site the same."""
    return options.target().pipeline()


STUDIES = Reader(read_studies, StudiesOptions, kernels=True, pipeline=prepared_by)
