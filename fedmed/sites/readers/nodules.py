"""Three synthetic hospitals with chest CT, written as DICOM and read back as any hospital's folder of studies would be.

Their scanners differ in slices, spacing and noise, and each has one study that cannot be trusted.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from fedmed.clock import derive_seed
from fedmed.sites.cases import Cases
from fedmed.sites.readers.nifti import write_nifti
from fedmed.sites.readers.reader import Reader
from fedmed.sites.readers.scratch import scratch
from fedmed.sites.readers.studies import LABELS, Count, StudiesOptions, prepared_by, read_studies

MEGABYTES = 20
"""What all three hospitals take on disk."""


@dataclass(frozen=True)
class Hospital:
    """One site of the demonstration."""

    name: str
    studies: int
    slices: int
    side: int
    gap_mm: float
    spacing_mm: float
    noise_hu: float
    trap: str
    """What is wrong with one more study, a name of `fedmed.dicom.synthetic.traps.TRAPS`."""


HOSPITALS = (
    Hospital("east-city", 12, 24, 96, 5.0, 3.6, 20.0, "truncated-file"),
    Hospital("north-university", 18, 30, 112, 4.0, 3.1, 30.0, "missing-slices"),
    Hospital("south-childrens", 8, 20, 80, 6.0, 4.3, 40.0, "duplicate-slice"),
)


class NodulesOptions(StudiesOptions):
    """As for any folder of DICOM studies, and how many studies there are."""

    size: tuple[Count, Count, Count] = (24, 64, 80)
    share: float = Field(1.0, gt=0, le=20)
    """Of each hospital's number of studies."""


def read_nodules(folder: Path | None, options: NodulesOptions, seed: int) -> Cases:
    """Synthetic chest CT `(N, D, H, W)` of three hospitals with masks of the nodules; no file stays behind.

    Raises DataError where the temporary folder cannot hold them.
    """
    with scratch("nodules", MEGABYTES * options.share) as made:
        for hospital in HOSPITALS:
            _write(made / hospital.name, hospital, derive_seed(seed, "nodules", hospital.name), options.share)
        return read_studies(made, options, seed)


def _write(folder: Path, hospital: Hospital, seed: int, share: float) -> None:
    """`labels.csv`, the studies, their masks as NIfTI, and the study that is set aside."""
    from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
    from fedmed.dicom.synthetic.traps import write_trap

    spacing = (hospital.spacing_mm, hospital.spacing_mm)
    protocol = Protocol(hospital.slices, hospital.side, hospital.side, hospital.gap_mm, spacing, hospital.noise_hu)
    rows = []
    for number in range(max(4, round(hospital.studies * share))):
        series = synthesise(seed, f"{number}", protocol, lesions=2 + number % 3)
        write(series.slices, folder / f"{number:03d}")
        write_nifti(folder / f"{number:03d}.nii", series.mask.astype("uint8"), series.affine)
        rows.append((str(series.slices[0].SeriesInstanceUID), f"{number:03d}.nii"))
    write_trap(hospital.trap, folder / "untrusted", seed, protocol)
    with (folder / LABELS).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("series", "mask"), *rows])


NODULES = Reader(read_nodules, NodulesOptions, needs_folder=False, kernels=True, pipeline=prepared_by)
