"""Four synthetic hospitals, written as DICOM and read back as any hospital's folder would be."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import Field

from fedmed.clock import derive_seed
from fedmed.errors import DataError
from fedmed.sites.cases import Cases
from fedmed.sites.readers.folder import FOLDER, FolderOptions, read_folder
from fedmed.sites.readers.reader import Reader

MEGABYTES = 26
"""What all four hospitals take on disk."""


class PhantomOptions(FolderOptions):
    """As for any folder of DICOM images, and how many patients there are."""

    field_of_view_mm: float | None = Field(280.0, gt=0, le=5000)
    share: float = Field(1.0, gt=0, le=20)
    """Of each hospital's number of patients."""


def read_phantom(folder: Path | None, options: PhantomOptions, seed: int) -> Cases:
    """Synthetic chest radiographs `(N, size, size)` float32 of four hospitals; no file stays behind.

    Raises DataError where the temporary folder cannot hold them.
    """
    from fedmed.dicom.phantom import write_hospitals

    try:
        with tempfile.TemporaryDirectory(prefix="fedmed-phantom-") as scratch:
            write_hospitals(Path(scratch), derive_seed(seed, "phantom"), share=options.share)
            return read_folder(Path(scratch), options, seed)
    except OSError as error:
        reason = str(error).splitlines()[0]  # pydicom appends its traceback
        raise DataError(
            f"the synthetic hospitals (about {MEGABYTES * options.share:.0f} MB for as long as they are read) cannot be "
            f"written to the temporary folder {tempfile.gettempdir()}: {reason}; make room or set TMPDIR"
        ) from error


PHANTOM = Reader(read_phantom, PhantomOptions, needs_folder=False, pipeline=FOLDER.pipeline)
