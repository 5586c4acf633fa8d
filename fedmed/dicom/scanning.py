"""A folder's files, each inspected in a process that may die of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from fedmed.dicom.inspection import FileRecord, inspect_file
from fedmed.dicom.isolation import Crew
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.sources import walk

SECONDS = 120.0
"""After which the decoding of one file is given up; the largest mammograms and slides need a few."""


def scan_files(
    root: Path,
    limits: Limits = LIMITS,
    *,
    workers: int = 2,
    seconds: float = SECONDS,
    progress: Callable[[int], None] | None = None,
) -> Iterator[FileRecord]:
    """A record for each file below `root`, in the order of `sources.walk`; `progress` hears how many are done.

    With workers, files are decoded in as many processes: one that a file kills, or that takes longer than `seconds`
    over it, is replaced, and the file is set aside. With 0, they are decoded here, where a codec's crash is ours.
    """
    records = (
        (inspect_file(source, limits) for source in walk(root, limits))
        if workers == 0
        else Crew(workers, limits, seconds).records(walk(root, limits))
    )
    for done, record in enumerate(records, start=1):
        if progress is not None:
            progress(done)
        yield record
