from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.sites.readers.skin import CLASSES, SkinOptions, read_skin


def write(folder: Path, labels: list[int], diagnoses: list[str], value: int = 7) -> Path:
    header = ",".join([*(f"pixel{index:04d}" for index in range(64)), "label"])
    rows = [",".join([*([str(value)] * 64), str(label)]) for label in labels]
    (folder / "hmnist_8_8_L.csv").write_text("\n".join([header, *rows]))
    metadata = [f"L{index // 2},i{index},{name},vidir" for index, name in enumerate(diagnoses)]
    (folder / "HAM10000_metadata").write_text("\n".join(["lesion_id,image_id,dx,dataset", *metadata]))
    return folder


def test_pixels_and_metadata_are_joined_by_row(tmp_path: Path) -> None:
    cases = read_skin(write(tmp_path, [4, 6, 0], ["nv", "mel", "akiec"]), SkinOptions(), 0)
    assert (cases.x.shape, cases.x.dtype) == ((3, 8, 8), np.uint8)
    assert [CLASSES[index] for index in cases.y] == ["nv", "mel", "akiec"]
    assert cases.patient is not None
    assert cases.patient.tolist() == ["L0", "L0", "L1"]


def test_labels_that_disagree_are_refused_by_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: dx is mel, the pixel file says nv"):
        read_skin(write(tmp_path, [4, 4], ["nv", "mel"]), SkinOptions(), 0)


@pytest.mark.parametrize(
    ("labels", "diagnoses", "value", "complaint"),
    [
        ([4], ["nv", "nv"], 7, "must pair by row"),
        ([4], ["nevus"], 7, "'nevus' is unknown"),
        ([9], ["nv"], 7, "label '9' is unknown"),
        ([4], ["nv"], 256, "expected 0 to 255"),
    ],
)
def test_faults_are_named(tmp_path: Path, labels, diagnoses, value: int, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_skin(write(tmp_path, labels, diagnoses, value), SkinOptions(), 0)


def test_the_real_set_has_its_sites_and_lesions(shared_data: Path) -> None:
    cases = read_skin(shared_data / "ham10000_8x8", SkinOptions(), 0)
    assert cases.site is not None
    assert cases.patient is not None
    names, counts = np.unique(cases.site, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        "rosendahl": 2259,
        "vidir_modern": 3363,
        "vidir_molemax": 3954,
        "vienna_dias": 439,
    }
    assert len(np.unique(cases.patient)) == 7470
