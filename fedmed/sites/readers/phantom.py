"""Four synthetic hospitals, written as DICOM and read back as any hospital's folder would be."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fedmed.clock import derive_seed
from fedmed.sites.cases import Cases
from fedmed.sites.readers.folder import FOLDER, FolderOptions, read_folder
from fedmed.sites.readers.reader import Reader
from fedmed.sites.readers.scratch import scratch

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
    from fedmed.dicom.synthetic.phantom import write_hospitals

    with scratch("phantom", MEGABYTES * options.share) as made:
        write_hospitals(made, derive_seed(seed, "phantom"), share=options.share)
        return read_folder(made, options, seed)


PHANTOM = Reader(read_phantom, PhantomOptions, needs_folder=False, pipeline=FOLDER.pipeline)
