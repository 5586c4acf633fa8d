"""A CSV table with its line numbers, so that every complaint names file, line and column."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError
from fedmed.sites.cases import SPLITS

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null"})
SHOWN_FAULTS = 10
SPLIT_NAMES = {**{name: name for name in SPLITS}, "training": "train", "val": "validation", "valid": "validation"}


@dataclass
class Faults:
    """Complaints about one file, reported together."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, line: int, text: str) -> None:
        """Note one complaint about `line`."""
        self.found.append(f"line {line}: {text}")

    def raise_any(self) -> None:
        """Raises DataError with the first complaints and the number of the others."""
        if self.found:
            shown = "\n  ".join(self.found[:SHOWN_FAULTS])
            more = len(self.found) - SHOWN_FAULTS
            raise DataError(f"{self.path}:\n  {shown}" + (f"\n  and {more} more" if more > 0 else ""))


@dataclass(frozen=True)
class Table:
    """Text cells by row, and the line on which each row ends."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[str]:
        """Cells of column `name`, spaces around them removed; raises DataError for an unknown or missing column."""
        if name not in self.columns:
            raise DataError(f"{self.path}: has no column {name!r}; its columns are {', '.join(self.columns)}")
        at = self.columns.index(name)
        return [row[at].strip() for row in self.rows]

    def filled(self, name: str) -> list[str]:
        """Cells of column `name`; raises DataError naming the lines where one is empty."""
        cells = self.column(name)
        faults = Faults(self.path)
        for line, cell in zip(self.lines, cells, strict=True):
            if cell.lower() in MISSING:
                faults.add(line, f"column {name!r} is missing ({cell!r})")
        faults.raise_any()
        return cells

    def split_column(self, name: str) -> NDArray[np.str_]:
        """Column `name` as names of splits; raises DataError naming the lines with another word."""
        faults = Faults(self.path)
        cells = self.filled(name)
        for line, cell in zip(self.lines, cells, strict=True):
            if cell.lower() not in SPLIT_NAMES:
                faults.add(line, f"split is {cell!r}; a case is in one of {', '.join(SPLITS)}")
        faults.raise_any()
        return np.array([SPLIT_NAMES[cell.lower()] for cell in cells], dtype=np.str_)

    def numbers(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Columns `names` as `(N, columns)` float32; raises DataError naming lines and columns that hold no number."""
        faults = Faults(self.path)
        places = [(name, self.columns.index(name)) for name in names]
        values = np.zeros((len(self.rows), len(places)), dtype=np.float32)
        for index, (line, row) in enumerate(zip(self.lines, self.rows, strict=True)):
            for position, (name, at) in enumerate(places):
                values[index, position] = _number(row[at].strip(), line, name, faults)
        faults.raise_any()
        return values

    def class_indices(self, name: str, classes: Sequence[str]) -> NDArray[np.int64]:
        """Column `name` as indices into `classes`; raises DataError naming the lines with another label."""
        faults = Faults(self.path)
        index = {label: position for position, label in enumerate(classes)}
        cells = self.filled(name)
        for line, cell in zip(self.lines, cells, strict=True):
            if cell not in index:
                faults.add(line, f"label {cell!r} is unknown; the classes are {', '.join(classes)}")
        faults.raise_any()
        return np.array([index[cell] for cell in cells], dtype=np.int64)


def read_table(path: Path, required: Iterable[str] = (), allowed: Iterable[str] | None = None) -> Table:
    """The CSV file at `path` (UTF-8, header first); blank lines are skipped.

    Raises DataError for another encoding, no header or rows, columns that repeat, are missing from `required` or are
    not in `allowed`, and rows of another length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            records = [(reader.line_num, tuple(row)) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if len(records) < 2:
        raise DataError(f"{path}: holds no cases; expected a header and at least one row")
    (first_line, header), body = records[0], records[1:]
    columns = tuple(cell.strip() for cell in header)
    faults = Faults(path)
    _check_header(first_line, columns, set(required), None if allowed is None else set(allowed), faults)
    for line, row in body:
        if len(row) != len(columns):
            faults.add(line, f"has {len(row)} cells, the header {len(columns)}")
    faults.raise_any()
    return Table(path, columns, tuple(row for _, row in body), tuple(line for line, _ in body))


def _check_header(line: int, columns: tuple[str, ...], required: set[str], allowed: set[str] | None, faults: Faults) -> None:
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        faults.add(line, f"columns {repeated} appear twice")
    if absent := sorted(required - set(columns)):
        faults.add(line, f"columns {absent} are missing; found {', '.join(columns)}")
    if allowed is not None and (unknown := sorted(set(columns) - allowed)):
        faults.add(line, f"columns {unknown} are unknown; allowed are {', '.join(sorted(allowed))}")


def _number(cell: str, line: int, name: str, faults: Faults) -> float:
    if cell.lower() in MISSING:
        faults.add(line, f"column {name!r} is missing ({cell!r}); fill it, drop the row or leave the column out")
        return 0.0
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not abs(value) < 3.4e38:
        faults.add(line, f"column {name!r} is {cell!r}, not a finite number")
        return 0.0
    return value
