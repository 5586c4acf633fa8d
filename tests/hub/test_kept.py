from __future__ import annotations

import os

import pytest

from fedmed.errors import StoreError
from fedmed.hub.kept import TOGETHER, KeptFiles, put_files
from fedmed.store.disk import Disk
from fedmed.store.studies import ADDRESS
from tests.hub.archived import Hubs


def test_files_come_and_go_and_keep_what_is_known_of_them(tmp_path):
    hub = Hubs(tmp_path, str(tmp_path / "away"))
    hub.sends("1.2", b"one", b"two", modality="CT")
    (hub.folder.path / "studies" / "README").write_bytes(b"of the staff")
    (hub.folder.path / "studies" / "echo" / "labels.csv").write_bytes(b"of the staff")
    holding = KeptFiles(hub.folder.path / "studies")
    kept = holding.kept()
    assert [(each.study, each.size) for each in kept] == [("1.2", 3), ("1.2", 3)]
    content, facts = holding.read(kept[0].name)
    assert facts["facts"] == {"modality": "CT", "study": "1.2"}
    said = holding.where(kept[0].name)
    beside = said.with_name(f"{said.name}.json").read_bytes()
    holding.remove(kept[0].name)
    holding.remove(kept[0].name)
    assert len(holding.kept()) == 1
    assert holding.put(kept[0].name, content, facts)
    assert not holding.put(kept[0].name, content, facts)
    assert said.with_name(f"{said.name}.json").read_bytes() == beside


@pytest.mark.parametrize("name", ["../../etc/passwd", "echo/short", "/echo/" + "a" * ADDRESS, "echo/../" + "a" * ADDRESS])
def test_names_cannot_lead_elsewhere(tmp_path, name):
    with pytest.raises(StoreError, match="no object of a device"):
        KeptFiles(tmp_path).where(name)


@pytest.mark.parametrize("store", [None, "store"])
def test_one_that_is_damaged_stays_is_told_and_holds_up_no_other(tmp_path, store):
    hub = Hubs(tmp_path, str(tmp_path / "away"), store=store)
    hub.sends("1.2", b"one")
    hub.sends("1.3", b"two")
    archive = hub.archive()
    damaged = archive._holding.kept()[0]
    path = archive._holding.where(damaged.name)
    if store is None:
        path.with_name(f"{path.name}.json").write_bytes(b"[]")
    else:
        path.write_bytes(b"altered")
    archive.index.close()
    found = hub.archiver().turn()
    assert "its study stays here" in found.error
    assert found.studies == 1
    assert [each.name for each in hub.archive()._holding.kept()] == [damaged.name]
    assert [each.action for each in hub.events] == ["archive.study"]


def test_many_files_are_there_whole_and_what_failed_halfway_leaves_nothing_half(tmp_path, monkeypatch):
    found = [(tmp_path / f"{number:03}", b"%d" % number) for number in range(TOGETHER + 7)]
    put_files([*found, found[0]])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {path.name: held for path, held in found}
    real = Disk.sync

    def full(disk: Disk, handle: int) -> None:
        if os.fstat(handle).st_size == 5:
            raise OSError(28, "No space left on device")
        real(disk, handle)

    monkeypatch.setattr(Disk, "sync", full)
    with pytest.raises(OSError, match="No space"):
        put_files([(tmp_path / "a", b"1234"), (tmp_path / "b", b"12345"), (tmp_path / "c", b"123")])
    assert len(list(tmp_path.iterdir())) == len(found)
