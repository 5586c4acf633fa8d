"""Labels join their studies on the original identifiers, before those are gone, and leave under the pseudonyms."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from fedmed.errors import DataError

# How a column of identifiers may be called, without case and blanks.
COLUMNS = {
    "study": ("study", "studyuid", "studyinstanceuid", "study_uid", "study_instance_uid"),
    "series": ("series", "seriesuid", "seriesinstanceuid", "series_uid", "series_instance_uid"),
    "instance": ("instance", "sop", "sopinstanceuid", "sop_instance_uid"),
    "accession": ("accession", "accessionnumber", "accession_number"),
    "patient": ("patient", "patientid", "patient_id", "mrn"),
}
MASKS = ("mask", "maskfile", "mask_file", "segmentation")
"""Columns that name a file, beside the table, with a mask that is no DICOM."""
MASK = "mask"
MAX_ROWS, MAX_CELL = 10_000_000, 100_000


@dataclass
class Names:
    """Original identifiers and their pseudonyms, gathered while objects are de-identified."""

    known: dict[str, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in COLUMNS})

    def add(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Notes one object's names: `study`, `series`, `instance`, `accession`, `patient`."""
        for kind, original in before.items():
            if original:
                self.known[kind][original] = after[kind]


@dataclass(frozen=True)
class Joined:
    """Label rows under pseudonyms."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    unmatched: int
    """Rows that named no study, series, accession or patient among the objects; they are left out."""


@dataclass(frozen=True)
class Cells:
    """What happens to cells that are no identifiers."""

    clean: Callable[[str], str]
    """Takes out of a label what names somebody, for it may quote a report."""
    mask: Callable[[str], str]
    """Copies the mask that a cell names, and says where the copy is."""


def join(table: Path, names: Names, cells: Cells) -> Joined:
    """The rows of a CSV file of labels whose identifiers are all among `names`, with pseudonyms in their place.

    Raises DataError for a file that cannot be read or has no column of identifiers.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return _joined(table, csv.reader(file), names, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: cannot be read as a CSV file in UTF-8 ({error})") from error


def _joined(table: Path, lines: Iterable[list[str]], names: Names, cells: Cells) -> Joined:
    reader = iter(lines)
    header = tuple(next(reader, ()))
    kinds = tuple(_kind(name) for name in header)
    if not set(kinds) & set(COLUMNS):
        allowed = ", ".join(written[0] for written in COLUMNS.values())
        raise DataError(f"{table}: its columns are {', '.join(header[:20])}; one must be called {allowed}")
    rows, unmatched = [], 0
    for number, line in enumerate(reader):
        if number >= MAX_ROWS or any(len(cell) > MAX_CELL for cell in line):
            raise DataError(f"{table}: more than {MAX_ROWS} rows, or a cell longer than {MAX_CELL} characters")
        row = _row(line, kinds, names, cells)
        if row is not None:
            rows.append(row)
        unmatched += row is None and bool(line)
    return Joined(header, tuple(rows), unmatched)


def _row(line: list[str], kinds: tuple[str, ...], names: Names, cells: Cells) -> tuple[str, ...] | None:
    if len(line) != len(kinds):
        return None
    pairs = list(zip(kinds, (cell.strip() for cell in line), strict=True))
    identifiers = [(kind, cell) for kind, cell in pairs if kind in COLUMNS and cell]
    if not identifiers or any(cell not in names.known[kind] for kind, cell in identifiers):
        return None
    return tuple(_cell(kind, cell, names, cells) for kind, cell in pairs)


def _cell(kind: str, cell: str, names: Names, cells: Cells) -> str:
    if not cell:
        return ""
    if kind == MASK:
        return cells.mask(cell)
    return names.known[kind][cell] if kind else cells.clean(cell)


def _kind(column: str) -> str:
    written = column.strip().lower().replace(" ", "").replace("-", "_")
    if written in MASKS:
        return MASK
    return next((kind for kind, names in COLUMNS.items() if written in names), "")


def as_csv(joined: Joined) -> bytes:
    """The table as CSV in UTF-8."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(joined.header)
    writer.writerows(joined.rows)
    return text.getvalue().encode()
