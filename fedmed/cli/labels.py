"""Labels and masks that go with studies, wherever the copies go: into a folder or into a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedmed.cli.tally import Tally
from fedmed.dicom.deid.free_text import clean
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.deid.reports import merged_known
from fedmed.errors import DataError
from fedmed.store import join, masks

LABELS = "labels.csv"

Put = Callable[[str, bytes], None]
"""Keeps a file: its place, as `masks/M4....png`, and its content."""


def join_labels(table: Path, tally: Tally, pseudonyms: Pseudonyms, put: Put) -> dict[str, int]:
    """Joins the rows of `table` with the objects of `tally`, and hands on the table under pseudonyms and its masks."""
    known = merged_known(tally.people)

    def mask(cell: str) -> str:
        content, ending = masks.read_mask(table.parent, cell)
        place = f"masks/{pseudonyms.identifier('mask', cell)}{ending}"
        put(place, content)
        return place

    joined = join.join(table, tally.names, join.Cells(lambda cell: clean(cell, known).text, mask))
    put(LABELS, join.as_csv(joined))
    return {"rows": len(joined.rows), "unmatched": joined.unmatched}


def into_folder(out: Path) -> Put:
    """Writes files below `out`. Raises DataError where the disk refuses."""

    def put(place: str, content: bytes) -> None:
        try:
            (out / place).parent.mkdir(parents=True, exist_ok=True)
            (out / place).write_bytes(content)
        except OSError as error:
            raise DataError(f"{out / place}: cannot be written ({error.strerror})") from error

    return put
