"""Three hospitals made of one real CT series: boxes of it with lesions planted in them, and one poisoned study each.

The truth is known because we planted it. `python benchmarks/lesion_sites.py FOLDER` writes them for a look.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from fedmed.clock import generator
from fedmed.dicom.synthetic.lesions import scatter
from fedmed.dicom.synthetic.planting import Box, Planted, plant
from fedmed.sites.readers.nifti import write_nifti

SERIES = "ct/acrin_chest_petct_49"
SITES = {"lyon": 12, "graz": 9, "turku": 6}
"""Sound studies of each; one more is poisoned."""
SLICES, SIDE = 16, 64
"""Of a box, in voxels of 4 x 1.37 x 1.37 mm."""
LUNGS = (
    ((19, 26), (222, 252), (140, 156), ((-135.0, -175.0, -615.0), (-76.0, -118.0, -520.0))),
    ((19, 26), (222, 250), (272, 290), ((57.0, -179.0, -627.0), (100.0, -138.0, -543.0))),
)
"""The right and the left lung: where a box may begin (slices, rows, columns), and where lesions may lie (patient, mm)."""
POISONS = {"lyon": "truncated file", "graz": "missing slices", "turku": "duplicate slice"}


def write_sites(source: Path, folder: Path, seed: int) -> dict[str, str]:
    """One folder a site with `labels.csv`, `studies/` and `masks/`; returns the poisoned series of each site."""
    poisoned = {}
    for site, count in SITES.items():
        (folder / site / "masks").mkdir(parents=True)
        rows = []
        for number in range(count + 1):
            study = write_study(source, folder / site, site, number, seed)
            mask = f"masks/{number:03d}.nii"
            write_nifti(folder / site / mask, study.mask.astype(np.uint8), study.affine)
            rows.append((study.series, mask))
        poison(study, POISONS[site])
        poisoned[site] = study.series
        with (folder / site / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("series", "mask"), *rows])
    return poisoned


def write_study(source: Path, folder: Path, site: str, number: int, seed: int) -> Planted:
    """A box of one lung with one to three lesions."""
    rng = generator(seed, "lesions", site, number)
    *starts, (low, high) = LUNGS[number % len(LUNGS)]
    d, h, w = (int(rng.integers(*span)) for span in starts)
    box = Box((d, d + SLICES), (h, h + SIDE), (w, w + SIDE))
    lesions = scatter(rng, int(rng.integers(2, 5)), low, high, (6.0, 11.0))
    return plant(source, folder / "studies" / f"{number:03d}", lesions, f"{seed}/{site}/{number}", box)


def poison(study: Planted, how: str) -> None:
    """Damage a written study in one of the ways that happen."""
    third = study.paths[3]
    if how == "truncated file":
        third.write_bytes(third.read_bytes()[:-1000])
    elif how == "missing slices":
        for path in study.paths[5:8]:
            path.unlink()
    else:
        import pydicom

        twin = pydicom.dcmread(third)
        twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = f"{twin.SOPInstanceUID}.1"[-64:]
        twin.save_as(third.with_name("twin.dcm"))


if __name__ == "__main__":
    from form import data_root

    print(write_sites(data_root() / SERIES, Path(sys.argv[1]), 1))
