"""Tabular CSV: one row per case, numeric features, one label column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedmed.config.part import Part
from fedmed.errors import ConfigError, DataError
from fedmed.sites.cases import Cases
from fedmed.sites.readers.reader import Reader, existing_file
from fedmed.sites.readers.table import Table, read_table


class CsvOptions(Part):
    """Which column is what."""

    file: str = "cases.csv"
    """File in the folder; unused where `data.folder` itself names a file."""
    label: str = "label"
    site: str | None = None
    patient: str | None = None
    split: str | None = None
    features: tuple[str, ...] = ()
    """Numeric input columns; all that remain when empty."""
    classes: tuple[str, ...] = ()
    """Labels in the order of their class index; the sorted labels found when empty."""
    positive: tuple[str, ...] = Field((), description="Labels that count as positive, all others as negative.")
    """Give this or `classes`."""


def read_csv(folder: Path | None, options: CsvOptions, seed: int) -> Cases:
    """Cases `(N, features)` float32; raises DataError naming lines and columns that are missing or no numbers."""
    if options.classes and options.positive:
        raise ConfigError("data.options gives classes and positive; a csv has several classes or positive labels, not both")
    path = existing_file(folder, options.file)
    taken = [name for name in (options.label, options.site, options.patient, options.split) if name]
    table = read_table(path, required=[*taken, *options.features])
    features = options.features or tuple(name for name in table.columns if name not in taken)
    if not features or set(features) & set(taken):
        raise DataError(f"{path}: features {list(features)} must be columns other than {taken}, at least one")
    classes, labels = _labels(table, options)
    return Cases(
        x=table.numbers(features),
        y=labels,
        classes=classes,
        patient=np.array(table.filled(options.patient), dtype=np.str_) if options.patient else None,
        site=np.array(table.filled(options.site), dtype=np.str_) if options.site else None,
        split=table.split_column(options.split) if options.split else None,
        features=features,
    )


def _labels(table: Table, options: CsvOptions) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    found = table.filled(options.label)
    if options.positive:
        if absent := sorted(set(options.positive) - set(found)):
            raise DataError(f"{table.path}: positive labels {absent} never appear; found {sorted(set(found))}")
        return ("negative", "positive"), np.array([cell in options.positive for cell in found], dtype=np.int64)
    classes = options.classes or tuple(sorted(set(found)))
    if len(classes) < 2:
        raise DataError(f"{table.path}: has the one label {classes[0]!r}; learning needs at least two classes")
    return classes, table.class_indices(options.label, classes)


CSV = Reader(read_csv, CsvOptions)
