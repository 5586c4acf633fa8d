"""Sites as folders: each holds `manifest.csv` (path, label, patient if known, split if fixed) and its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import Field

from fedmed.config.part import Part
from fedmed.errors import DataError
from fedmed.preprocess.pipeline import Pipeline, Step
from fedmed.sites.cases import Cases, pool
from fedmed.sites.partition import refuse_site_names
from fedmed.sites.readers.pixels import Grid, read_image
from fedmed.sites.readers.reader import MissingData, Reader
from fedmed.sites.readers.table import Faults, Table, read_table

MANIFEST = "manifest.csv"
REQUIRED = ("path", "label")
OPTIONAL = ("patient", "split")


class FolderOptions(Part):
    """What the images of all sites become."""

    size: int = Field(64, ge=8, le=1024)
    """Pixels on a side of the square that the network sees."""
    field_of_view_mm: float | None = Field(None, gt=0, le=5000)
    """Side of that square in the patient (DICOM only); each image whole when absent."""
    colour: bool = False
    """Three channels; PNG and JPEG only."""
    standardise: bool = True
    """Each image with mean 0 and deviation 1; else modality units (DICOM) or 0 to 1 (PNG, JPEG)."""
    classes: tuple[str, ...] = ()
    """Labels in the order of their class index; the sorted labels of all sites when empty."""


def read_folder(folder: Path | None, options: FolderOptions, seed: int) -> Cases:
    """Images `(N, size, size)`, or `(N, 3, size, size)` in colour, float32; `site` is the folder's name.

    Raises DataError, naming file and line, for a path outside the site's folder, a missing file, an unknown column or
    label, an empty manifest, a split that is none, and for two sites whose names differ in case alone.
    """
    if folder is None:
        raise MissingData("no data folder was given")
    tables = {site.name: manifest(site, REQUIRED, OPTIONAL) for site in site_folders(folder)}
    refuse_site_names(tables)
    found = sorted({label for table in tables.values() for label in table.filled("label")})
    classes = options.classes or tuple(found)
    if len(classes) < 2:
        raise DataError(f"{folder}: all sites together have the one label {classes[0]!r}; learning needs two classes")
    refuse_partial_columns(folder, tables)
    return pool([_site_cases(name, table, classes, options) for name, table in tables.items()])


def site_folders(folder: Path, table: str = MANIFEST) -> list[Path]:
    """Sub-folders with a `table`, by name, or the folder itself where it is the one site."""
    if (folder / table).is_file():
        return [folder]
    sites = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not sites:
        raise MissingData(f"{folder} holds neither {table} nor a folder per site")
    if without := [path.name for path in sites if not (path / table).is_file()]:
        raise MissingData(f"{folder}: site folders {without} hold no {table}")
    return sites


def manifest(site: Path, required: Sequence[str], optional: Sequence[str], files: Sequence[str] = ("path",)) -> Table:
    """The site's manifest, every path in its columns of `files` checked; raises DataError naming file and line."""
    table = read_table(site / MANIFEST, required=required, allowed=(*required, *optional))
    faults = Faults(table.path)
    for column in files:
        _check_files(table, column, faults)
    faults.raise_any()
    return table


def _check_files(table: Table, column: str, faults: Faults) -> None:
    base = table.path.parent.resolve()
    seen: dict[str, int] = {}
    for line, text in zip(table.lines, table.filled(column), strict=True):
        # Links are followed first: what they point to may be any file of the machine.
        leaves = PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts
        if leaves or not (base / text).resolve().is_relative_to(base):
            faults.add(line, f"{column} {text!r} leaves the site's folder")
        elif not (base / text).is_file():
            faults.add(line, f"{column} {text!r} is not there")
        elif (before := seen.setdefault(str(PurePosixPath(text)), line)) != line:
            faults.add(line, f"{column} {text!r} is already on line {before}")


def refuse_partial_columns(folder: Path, tables: Mapping[str, Table], columns: Sequence[str] = OPTIONAL) -> None:
    """Raises DataError where some manifests have one of `columns` that others lack."""
    for column in columns:
        having = [name for name, table in tables.items() if column in table.columns]
        if having and len(having) < len(tables):
            raise DataError(f"{folder}: only {having} have a {column} column; give it to all manifests or to none")


def _site_cases(name: str, table: Table, classes: tuple[str, ...], options: FolderOptions) -> Cases:
    labels = table.class_indices("label", classes)
    splits = table.split_column("split") if "split" in table.columns else None
    patients = np.array(table.filled("patient"), dtype=np.str_) if "patient" in table.columns else None
    grid = Grid(options.size, options.field_of_view_mm, options.colour, options.standardise)
    read = [read_image(table.path.parent / text, grid) for text in table.column("path")]
    images, spacing = np.stack([pixels for pixels, _ in read]), np.array([(np.nan, *each) for _, each in read], np.float32)
    return Cases(images, labels, classes, patients, np.full(len(table), name), splits, spacing)


def prepared_by(options: FolderOptions) -> Pipeline:
    """The steps of `read_image` under these options."""
    resample = {"size": options.size, "field_of_view_mm": options.field_of_view_mm, "shrink": "area", "grow": "linear"}
    normalise = "each image: mean 0, deviation 1" if options.standardise else "none"
    return Pipeline(
        (
            Step("read", {"values": "modality units", "channels": 3 if options.colour else 1}),
            Step("resample", resample),
            Step("normalise", {"how": normalise}),
            Step("cast", {"type": "float32"}),
        )
    )


FOLDER = Reader(read_folder, FolderOptions, pipeline=lambda folder, options, site: prepared_by(options))
