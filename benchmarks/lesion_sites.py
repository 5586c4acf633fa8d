"""Three hospitals made of one real CT series: boxes of it with lesions planted in them, and one poisoned study each.

The truth is known because we planted it. `python benchmarks/lesion_sites.py FOLDER` writes them for a look.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from form import data_root

from fedmed.clock import generator
from fedmed.dicom.lesions import Lesion
from fedmed.dicom.planting import Box, Planted, plant

SERIES = "ct/acrin_chest_petct_49"
SITES = {"lyon": 12, "graz": 9, "turku": 6}
"""Sound studies of each; one more is poisoned."""
SLICES, SIDE = 16, 96
"""Of a box, in voxels of 4 x 1.37 x 1.37 mm."""
ROOM = (slice(4, 29), slice(150, 260), slice(130, 290))
"""Where a box may begin, in slices, rows and columns: within the chest."""
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
            write_mask(folder / site / mask, study)
            rows.append((study.series, mask))
        poison(study, POISONS[site])
        poisoned[site] = study.series
        with (folder / site / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("series", "mask"), *rows])
    return poisoned


def write_study(source: Path, folder: Path, site: str, number: int, seed: int) -> Planted:
    """A box of the series with one to three lesions."""
    rng = generator(seed, "lesions", site, number)
    d, h, w = (int(rng.integers(span.start, span.stop)) for span in ROOM)
    box = Box((d, d + SLICES), (h, h + SIDE), (w, w + SIDE))
    bare = plant(source, folder / ".bare", [], "bare", box)
    affine, shape = bare.affine, bare.mask.shape
    for path in bare.paths:
        path.unlink()
    (folder / ".bare").rmdir()
    lesions = []
    for _ in range(int(rng.integers(1, 4))):
        place = [rng.uniform(0.2, 0.8) * (length - 1) for length in shape]
        x, y, z, _ = (affine @ [*place, 1]).tolist()
        lesions.append(Lesion((x, y, z), float(rng.uniform(7, 13)), 180.0))
    return plant(source, folder / "studies" / f"{number:03d}", lesions, f"{seed}/{site}/{number}", box)


def write_mask(path: Path, study: Planted) -> None:
    """NIfTI (world axes right, anterior, superior) on the study's own grid."""
    import nibabel

    world = np.diag([-1.0, -1.0, 1.0, 1.0]) @ study.affine[:, [2, 1, 0, 3]]
    nibabel.Nifti1Image(study.mask.astype(np.uint8).transpose(2, 1, 0), world).to_filename(path)


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
    print(write_sites(data_root() / SERIES, Path(sys.argv[1]), 1))
