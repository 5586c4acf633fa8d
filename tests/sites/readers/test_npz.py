from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.sites.readers import npz
from fedmed.sites.readers.npz import NpzOptions, read_npz


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray | None] = {}
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        made[f"{part}_images"] = np.full((count, 5, 4), count, dtype=np.uint8)
        made[f"{part}_labels"] = (np.arange(count) % 2).reshape(-1, 1).astype(np.uint8)
    made.update(changes)
    return {name: array for name, array in made.items() if array is not None}


@pytest.fixture
def write(tmp_path: Path):
    def put(**changes) -> Path:
        np.savez_compressed(tmp_path / "data.npz", **arrays(**changes))
        return tmp_path

    return put


def test_images_stay_bytes_and_the_split_is_the_file_s_own(write) -> None:
    cases = read_npz(write(), NpzOptions(classes=("normal", "ill")), 0)
    assert (cases.x.shape, cases.x.dtype) == ((11, 5, 4), np.uint8)
    assert cases.classes == ("normal", "ill")
    assert cases.split is not None
    assert cases.split.tolist() == ["train"] * 6 + ["validation"] * 2 + ["test"] * 3
    assert cases.x[:, 0, 0].tolist() == [6] * 6 + [2] * 2 + [3] * 3


def test_colour_comes_channels_first(write) -> None:
    colour = {
        f"{part}_images": np.zeros((count, 5, 4, 3), np.uint8) for part, count in zip(npz.PARTS, (6, 2, 3), strict=True)
    }
    assert read_npz(write(**colour), NpzOptions(), 0).x.shape == (11, 3, 5, 4)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"val_labels": None}, r"arrays \['val_labels'\] are missing"),
        ({"train_labels": np.zeros((5, 1), np.uint8)}, r"train_labels has shape \(5, 1\).*6 images"),
        ({"train_labels": np.zeros((6, 14), np.uint8)}, "one whole number per image"),
        ({"train_labels": np.zeros((6, 1))}, "type float64"),
        ({"train_images": np.zeros((6, 5), np.uint8)}, r"train_images has shape \(6, 5\)"),
        ({"train_images": np.zeros((6, 9, 9), np.uint8)}, "differ in shape"),
        ({"train_images": np.array([object()] * 6)}, "without pickled objects"),
        ({f"{part}_labels": np.zeros(n, np.int64) for part, n in zip(npz.PARTS, (6, 2, 3), strict=True)}, "one label 0"),
    ],
)
def test_faults_name_the_file_and_the_array(write, changes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as refused:
        read_npz(write(**changes), NpzOptions(), 0)
    assert "data.npz" in str(refused.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_a_cut_off_file_is_refused(write, share: float) -> None:
    path = write() / "data.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"data\.npz"):
        read_npz(path, NpzOptions(), 0)


def test_a_file_that_unpacks_beyond_the_cap_is_refused_before(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(DataError, match="at most 100"):
        read_npz(write(), NpzOptions(), 0)
