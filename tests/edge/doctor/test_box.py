"""The device's own disk, key, packages and model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.clock import SystemClock
from fedmed.config.edge import Inference, Keeping, Stow, Training
from fedmed.edge.doctor import box
from fedmed.edge.doctor.configuration import Asked
from fedmed.edge.folder import SPOOL_KEY, open_edge
from fedmed.edge.released import ANCHOR, FOLDER
from fedmed.operation.doctor.finding import CODES, Finding, Status, exit_code
from fedmed.privacy import keys
from fedmed.releases.slots import Content, Phase, Slots
from fedmed.releases.slotstore import SlotStore
from fedmed.serving.packages import FP32, Package
from fedmed.store.spool.quota import Quota
from fedmed.store.spool.spool import Spool
from tests.edge.device import Device, device_of
from tests.edge.doctor.examined import changed, examined
from tests.hub.clinic import serving


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with serving(tmp_path_factory.mktemp("hub")) as place:
        yield device_of(place, "us-1")


@pytest.fixture
def folder(joined: Device, tmp_path: Path) -> Path:
    return Path(shutil.copytree(joined.folder, tmp_path / "device"))


def failed(found: Finding) -> Finding:
    assert found.status is Status.FAIL
    assert found.todo
    assert exit_code([found]) == CODES[found.check]
    return found


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_full_disk_fails_and_one_that_is_smaller_than_the_quota_is_told(small_disk: Path, folder: Path):
    found = examined(Asked(small_disk / "edge", ("hub", None)), "room", "writing")
    assert "free at" in failed(found["room"]).got
    assert found["writing"].status is Status.SKIPPED
    large = examined(changed(folder, keep=Keeping(gigabytes=90_000)), "room")["room"]
    assert (large.status, "full before the quota" in large.got) == (Status.WARN, True)


def test_the_spool_and_its_key(folder: Path):
    before = names(folder)
    assert "none yet" in examined(Asked(folder), "spool")["spool"].got
    device = open_edge(folder, SystemClock())
    Spool(folder / "spool", SystemClock(), Quota(), lambda entry, why: None, device.key()).close()
    made = names(folder)
    found = examined(Asked(folder), "spool", "writing", "room", "model", "sensors")
    assert found["spool"].got == "opens with the key from file:spool.key"
    assert names(folder) == made != before
    (folder / SPOOL_KEY).unlink()
    assert "put the key back" in failed(examined(Asked(folder), "spool")["spool"]).todo
    keys.create(folder / SPOOL_KEY)
    assert "another key" in failed(examined(Asked(folder), "spool")["spool"]).got
    (folder / "spool" / "spool.db").write_bytes(b"no database at all")
    assert "damaged" in failed(examined(Asked(folder), "spool")["spool"]).got


def test_the_key_of_pseudonyms_and_the_token_of_stow(folder: Path):
    assert examined(Asked(folder), "keys")["keys"].got == "pseudonyms by site.key"
    asked = changed(folder, stow=Stow(token="stow.token"))
    assert "no token can be read" in failed(examined(asked, "keys")["keys"]).got
    (folder / "stow.token").write_text("0123456789abcdef\n")
    assert examined(asked, "keys")["keys"].status is Status.OK
    (folder / "site.key").unlink()
    assert "fedmed data key" in failed(examined(asked, "keys")["keys"]).todo
    assert examined(changed(folder, deidentify=None, stow=None), "keys")["keys"].status is Status.OK


def test_packages_that_are_missing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert examined(Asked(folder), "packages", "python")["packages"].status is Status.OK
    monkeypatch.setattr(box, "LIGHT", (*box.LIGHT, "no_such_module"))
    found = examined(Asked(folder), "packages", "model")
    assert "no_such_module" in failed(found["packages"]).got
    assert found["model"].status is Status.SKIPPED
    monkeypatch.setattr(box, "FULL", ("no_torch_either",))
    asked = changed(folder, training=Training(federation="study", reader="csv"))
    assert "fedmed[edge,fl,imaging]" in failed(examined(asked, "packages")["packages"]).todo


def test_a_python_that_is_too_old(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(box, "LEAST_PYTHON", (9, 0))
    assert "a newer Python" in failed(examined(Asked(folder), "python")["python"]).todo


@pytest.mark.parametrize(("available", "status"), [(None, Status.OK), (10**8, Status.WARN), (10**10, Status.OK)])
def test_memory(folder: Path, monkeypatch: pytest.MonkeyPatch, available: int | None, status: Status):
    monkeypatch.setattr(box.machine, "memory", lambda: available)
    assert examined(Asked(folder), "memory")["memory"].status is status


def test_sensors_are_found_or_unsupported(folder: Path):
    found = examined(Asked(folder), "sensors")["sensors"]
    assert found.status is Status.OK
    assert "GPU: " in found.got
    assert "jetson: " in found.got


def released(folder: Path, package: Package) -> Path:
    """A committed release, as the agent leaves it."""
    store = SlotStore(folder / FOLDER, folder / ANCHOR)
    shutil.copytree(package.folder, store.package(0), dirs_exist_ok=True)
    store.save(Slots(contents=(Content(1, "0" * 64, 1, package.card.digest, Phase.PROVEN), None), active=0))
    return store.package(0)


def test_the_model_is_tried_in_each_precision(folder: Path, quantised: Package):
    assert examined(Asked(folder), "packages", "model")["model"].got == "no release has come yet"
    place = released(folder, quantised)
    found = examined(Asked(folder), "packages", "model")["model"]
    assert found.status is Status.OK
    assert found.got.startswith("chest 1, committed: fp32 on cpu ")
    assert "int8 on cpu" in found.got
    here = examined(changed(folder, inference=Inference(precision="fp16")), "packages", "model")["model"]
    assert "no fp16 on auto" in failed(here).got
    (place / FP32).write_bytes(b"altered")
    assert "altered" in failed(examined(Asked(folder), "packages", "model")["model"]).got
