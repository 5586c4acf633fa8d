from __future__ import annotations

import numpy as np
import pytest

from fedmed.errors import StoreError
from fedmed.sites.shelves import FOLDER, FileShelf


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_what_is_kept_is_there_for_another_process(tmp_path):
    tensors = {"1/local/a": np.arange(3, dtype=np.float32), "1/control/b": np.float32(2) * np.ones((2, 2), np.float32)}
    assert FileShelf(tmp_path, 3).held() == {}
    FileShelf(tmp_path, 3).keep(tensors)
    assert same(FileShelf(tmp_path, 3).held(), tensors)
    assert FileShelf(tmp_path, 4).held() == {}
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["00003.safetensors"]


def test_it_is_replaced_whole(tmp_path):
    shelf = FileShelf(tmp_path, 0)
    shelf.keep({"1/local/a": np.ones(4, np.float32)})
    shelf.keep({"2/local/b": np.zeros(2, np.float32)})
    assert list(shelf.held()) == ["2/local/b"]


@pytest.mark.parametrize("cut", [0, 5, 20])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, cut):
    shelf = FileShelf(tmp_path, 0)
    shelf.keep({"1/local/a": np.ones(4, np.float32)})
    path = tmp_path / FOLDER / "00000.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StoreError, match=r"00000.safetensors is damaged: .*; put a copy back, or begin the run anew"):
        shelf.held()


def test_a_disk_that_refuses_leaves_what_was_kept(tmp_path):
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot be written: .*; make room or mend the disk"):
        FileShelf(tmp_path, 0).keep({"1/local/a": np.ones(1, np.float32)})
