from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from fedmed.errors import ConfigError, StoreError
from fedmed.identity.modelkey import ModelKey
from fedmed.store.disk import Disk
from fedmed.store.models.cover import Sealed
from fedmed.store.models.index import FILES, LINEAGE, MODEL, SIGNATURE, ModelAltered
from fedmed.store.models.registry import AGAIN_S, FAILED, KEPT, NOT_DUE, Registry
from fedmed.store.models.retention import Retention
from tests.store.models.shelves import BARE, KEY, SEALED, Hours, committed, filled, model, registry
from tests.store.power import KEEPS, Crash, Power


@pytest.mark.parametrize("cover", [SEALED, BARE])
def test_a_model_is_kept_verified_and_exported(tmp_path, cover):
    kept = filled(tmp_path / "models", cover=cover)
    again = registry(tmp_path / "models", cover=cover)
    assert [str(entry) for entry in again.index().entries] == ["study:1", "study:2"]
    entry = again.find("latest")
    again.verify(entry)
    folder = kept.export(entry, tmp_path / "out")
    found = safetensors.numpy.load_file(folder / MODEL)
    assert found.keys() == model(2).keys()
    assert all(np.array_equal(found[name], value) for name, value in model(2).items())
    said = json.loads((folder / LINEAGE).read_bytes())
    assert (said["federation"], said["run"], said["round"], said["cohort"]) == (
        "federation",
        "study",
        2,
        list(committed(2).cohort),
    )
    assert said["model"] == {"sha256": entry.sha256, "bytes": entry.files[MODEL].bytes, "parameters": 11}
    assert said["measures"] == {"auc": 0.02}
    assert said["software"]["fedmed"]
    KEY.public.check(
        (tmp_path / "out" / SIGNATURE).read_bytes(), {name: entry.files[name].sha256 for name in (MODEL, LINEAGE)}
    )


def test_sealed_files_tell_nothing(tmp_path):
    entry = filled(tmp_path).find("latest")
    for path in tmp_path.iterdir():
        assert not any(word in path.read_bytes() for word in (b"weight", b"study", b"north"))
        assert entry.sha256[:16] not in path.name


def test_the_same_round_again_is_kept_once_and_another_model_is_not(tmp_path):
    made = filled(tmp_path)
    assert made.commit(committed(2), model(2), final=True).what == KEPT
    told = made.commit(committed(2), model(3), final=True)
    assert told.what == FAILED
    assert "committed once" in told.reason
    assert len(made.index().entries) == 2


def test_finding(tmp_path):
    made = filled(tmp_path, 3)
    made.commit(committed(4, measures={"auc": 0.001}), model(4))
    assert str(made.find("best")) == "study:3"
    assert str(made.find("latest")) == "study:4"
    assert made.find(made.find("study:2").sha256[:8]) == made.find("study:2")
    for wrong in ("study:9", "x", ""):
        with pytest.raises(ConfigError, match="newest: study:1, study:2"):
            made.find(wrong)
    assert registry(tmp_path / "new").index().entries == ()
    with pytest.raises(ConfigError, match="none yet"):
        registry(tmp_path / "new").find("latest")


def test_retention_and_what_a_run_goes_on_from(tmp_path):
    made = registry(tmp_path, Retention(last=2, best=1))
    first = made.commit(committed(1, run="before"), model(100)).sha256
    second = made.commit(committed(2, run="before", measures={}), model(101)).sha256
    made.hold("study", first)
    for number in range(3, 7):
        made.commit(committed(number, run="before", measures={"auc": number}), model(number))
    assert [str(one) for one in made.index().entries] == ["before:1", "before:5", "before:6"]
    assert second not in {one.sha256 for one in made.index().entries}
    made.release("study")
    made.release("nobody")
    assert [str(one) for one in made.prune()] == ["before:1"]
    assert [str(one) for one in made.prune(Retention(last=1, best=0))] == ["before:5"]
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".")]) == 1 + len(FILES)


def test_not_every_round(tmp_path):
    made = registry(tmp_path, Retention(rounds=3))
    told = [made.commit(committed(number), model(number), final=number == 6).what for number in range(1, 7)]
    assert told == [KEPT, NOT_DUE, NOT_DUE, KEPT, NOT_DUE, KEPT]


@pytest.mark.parametrize("name", [*FILES, "index"])
@pytest.mark.parametrize("cover", [SEALED, BARE])
@pytest.mark.parametrize("how", ["flip", "cut", "grow", "remove", "swap"])
def test_whatever_is_altered_is_named(tmp_path, name, cover, how):
    made = filled(tmp_path, cover=cover)
    entry, other = made.find("study:2"), made.find("study:1")
    path = tmp_path / (name if name == "index" else entry.files[name].blob)
    content = bytearray(path.read_bytes())
    if how == "remove":
        path.unlink()
    elif how == "swap":
        path.write_bytes((tmp_path / other.files[name if name != "index" else MODEL].blob).read_bytes())
    elif how == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[:-1] if how == "cut" else content + b"x")
    with pytest.raises(ModelAltered, match=str(path)):
        registry(tmp_path, cover=cover).verify(entry)
    with pytest.raises(ModelAltered, match=str(path)):
        registry(tmp_path, cover=cover).export(entry, tmp_path.parent / "out")


def test_no_commit_destroys_what_an_altered_index_names(tmp_path):
    filled(tmp_path)
    made = registry(tmp_path, clock=(clock := Hours()))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "index").write_bytes(before["index"][:-1])
    told = made.commit(committed(3), model(3))
    assert told.what == FAILED
    assert "index" in told.reason
    (tmp_path / "index").write_bytes(before["index"])
    clock.sleep(AGAIN_S)
    assert made.retry().what == KEPT
    assert len(made.index().entries) == 3


def test_another_key(tmp_path):
    filled(tmp_path)
    with pytest.raises(ModelAltered, match="not what was sealed"):
        registry(tmp_path, cover=Sealed(b"K" * 32))
    with pytest.raises(ModelAltered, match="key for models signed"):
        Registry(tmp_path, SEALED, ModelKey.generate(), Hours(), "federation")


class Full(Disk):
    """A disk that is full while it is told so."""

    full = False

    def write(self, handle: int, data: bytes, offset: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(handle, data, offset)


def test_a_full_disk_is_told_and_tried_again_and_fails_no_round(tmp_path):
    disk = Full()
    made = registry(tmp_path / "models", Retention(rounds=10), disk, clock=(clock := Hours()))
    disk.full = True
    weights = model(1)
    told = made.commit(committed(1), weights)
    assert told.what == FAILED
    assert "No space left" in told.reason
    assert str(tmp_path) in told.reason
    assert made.is_waiting
    weights["weight"][:] = 77  # a strategy goes on working in the model's memory
    assert made.retry().what == NOT_DUE
    clock.sleep(AGAIN_S)
    assert made.retry().what == FAILED
    disk.full = False
    assert made.retry().what == NOT_DUE
    clock.sleep(AGAIN_S)
    assert made.retry().what == KEPT
    assert made.retry().what == NOT_DUE
    made.export(made.find("study:1"), tmp_path / "out")
    assert np.all(safetensors.numpy.load_file(tmp_path / "out" / "model" / MODEL)["weight"] == 1)
    disk.full = True
    made.commit(committed(11), model(11))
    disk.full = False
    assert made.commit(committed(12), model(12)).what == KEPT  # the newer takes the place of what waited
    assert [str(one) for one in made.index().entries] == ["study:1", "study:12"]


def test_numbers_that_are_none_are_no_reason_to_lose_a_model(tmp_path):
    made = registry(tmp_path)
    assert made.commit(committed(1, measures={"auc": float("nan")}), model(1)).what == KEPT
    assert made.lineage(made.find("latest"))["measures"] == {"auc": None}
    assert made.commit(replace(committed(2), spec={"bad": {1, 2}}), model(2)).what == FAILED


def test_a_power_cut_leaves_a_model_whole_or_absent(tmp_path):
    start, folder = tmp_path / "start", tmp_path / "models"
    made = registry(start, Retention(last=1, best=0))
    made.commit(committed(1), model(1))
    shutil.copytree(start, folder)
    counted = Power(folder)
    registry(folder, Retention(last=1, best=0), counted).commit(committed(2), model(2))
    assert counted.calls > 12
    for keeps in KEEPS:
        for call in range(counted.calls):
            shutil.rmtree(folder)
            shutil.copytree(start, folder)
            disk = Power(folder, fails_at=call, torn=True)
            with pytest.raises(Crash):
                registry(folder, Retention(last=1, best=0), disk).commit(committed(2), model(2))
            disk.lose(keeps)
            after = registry(folder, Retention(last=1, best=0))
            there = after.index().entries
            assert [str(one) for one in there] in (["study:1"], ["study:2"])
            for one in there:
                after.verify(one)
            assert after.commit(committed(2), model(2), final=True).what == KEPT
            after.verify(after.find("study:2"))
            assert len([path for path in folder.iterdir() if not path.name.startswith(".")]) == 1 + len(FILES)


def test_what_cannot_be_begun_or_exported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can be begun"):
        registry(tmp_path / "file")
    made = filled(tmp_path / "models")
    with pytest.raises(ConfigError, match="not an empty folder"):
        made.export(made.find("latest"), tmp_path)
