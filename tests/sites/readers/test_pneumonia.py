from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.sites.readers.pneumonia import ALL_NORMALS, COUNTS, MANY_PNEUMONIAS, PneumoniaOptions, read_pneumonia


def official(folder: Path, short: int = 0) -> Path:
    parts = {}
    for part, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        normal, ill = COUNTS[split]
        labels = np.repeat([0, 1], [normal, ill - short]).astype(np.uint8)
        parts[f"{part}_images"] = np.zeros((len(labels), 28, 28), np.uint8)
        parts[f"{part}_labels"] = labels[:, None]
    np.savez_compressed(folder / "pneumoniamnist.npz", **parts)
    return folder


def test_the_official_file_is_read_with_its_split(tmp_path: Path) -> None:
    for folder in (official(tmp_path), tmp_path / "pneumoniamnist.npz"):
        cases = read_pneumonia(folder, PneumoniaOptions(), 0)
        assert cases.split is not None
        assert [int((cases.split == split).sum()) for split in COUNTS] == [4708, 524, 624]


def test_other_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train has \(1214, 3493\).*\(1214, 3494\)"):
        read_pneumonia(official(tmp_path, short=1), PneumoniaOptions(), 0)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither"):
        read_pneumonia(tmp_path, PneumoniaOptions(), 0)


def test_the_two_derived_files_together_are_the_official_set(shared_data: Path) -> None:
    cases = read_pneumonia(shared_data / "pneumoniamnist", PneumoniaOptions(), 0)
    assert (cases.x.shape, cases.x.dtype) == ((5856, 28, 28), np.uint8)
    assert cases.split is not None
    train = cases.x[cases.split == "train"].reshape(-1, 28 * 28)
    assert len(np.unique(train, axis=0)) == 4708 - 18, "the official training set has 18 exact duplicates"
    assert (shared_data / "pneumoniamnist" / MANY_PNEUMONIAS).is_file()
    assert (shared_data / "pneumoniamnist" / ALL_NORMALS).is_file()
