from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path

import pytest

from fedmed.errors import ArchiveAltered, ConfigError, DataError, StoreError
from fedmed.store.archive import plan
from fedmed.store.archive.vault import MARK
from fedmed.store.blobs import FolderStore
from tests.store.archive.shelves import DAY, Shelf


def packs(shelf: Shelf):
    return sorted(path for path in (shelf.path / "away").iterdir() if path.name != MARK and not path.name.startswith("."))


def test_an_old_study_goes_and_comes_back(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one", b"", b"three" * 1000])
    shelf.add("1.3", [b"young"], days=3)
    assert shelf.turn() == ["1.2"]
    assert shelf.files.names() == {"1.3.0"}
    assert (shelf.standings(), shelf.files.away) == ({"1.2": "away"}, 3)
    [row] = shelf.archive.recall("1.2")
    assert (row.objects, row.bytes, row.standing.value) == (3, 5003, "both")
    assert shelf.files.read("1.2.2") == (b"three" * 1000, {"device": "mri"})
    assert shelf.files.read("1.2.1")[0] == b""
    assert shelf.actions() == [("archive.study", "done"), ("restore.study", "done")]
    assert shelf.turn() == []  # as young as what came now
    shelf.clock.at += 3650 * DAY
    assert shelf.turn() == ["1.3", "1.2"]
    assert len(packs(shelf)) == 2  # the same objects have the same name
    assert shelf.archive.recall(packs(shelf)[0].name[:8])


def test_what_lies_there_tells_nothing(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2.840", [b"PIXELS" * 100])
    shelf.turn()
    for path in (*packs(shelf), tmp_path / "away" / MARK, tmp_path / "archive.sqlite"):
        content = path.read_bytes()
        assert b"PIXELS" not in content
        assert b"1.2.840" not in content
        assert b"north" not in content


def test_the_oldest_go_until_there_is_room(tmp_path):
    shelf = Shelf(tmp_path, after_s=None, keep_bytes=25)
    for days, study in ((5, "a"), (9, "b"), (7, "c"), (1, "d")):
        shelf.add(study, [b"x" * 10], days)
    assert shelf.turn() == ["b", "c"]
    assert shelf.files.names() == {"a.0", "d.0"}


def test_what_a_data_set_reads_stays(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.used = [tmp_path / "studies"]
    shelf.archive.open()
    due = shelf.archive.due()
    assert ([*due.go], [each.study for each in due.held]) == ([], ["1.2"])
    shelf.used = []
    [group] = shelf.archive.due().go
    shelf.used = [tmp_path]  # registered while it is packed
    with pytest.raises(DataError, match="a data set reads it now"):
        shelf.archive.move(group)
    assert shelf.files.names() == {"1.2.0"}
    assert shelf.actions() == []


def test_nothing_goes_that_cannot_be_written_down(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.archive.open()

    def full(_: object) -> None:
        raise StoreError("the log cannot be written")

    shelf._append = full
    shelf.again()
    with pytest.raises(StoreError, match="the log cannot"):
        shelf.turn()
    shelf.again()
    shelf.archive.open()
    assert (shelf.files.names(), shelf.standings()) == ({"1.2.0"}, {"1.2": "both"})


def test_an_object_that_cannot_be_read_keeps_its_study_here(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one", b"two"])
    shelf.archive.open()
    [group] = shelf.archive.due().go
    (tmp_path / "studies/1.2.1").unlink()
    with pytest.raises(DataError, match=r"1\.2\.1.*stays here"):
        shelf.archive.move(group)
    assert (tmp_path / "studies/1.2.0").exists()
    assert packs(shelf) == []


@pytest.mark.parametrize("harm", ["flip", "cut", "longer", "gone", "other"])
def test_what_was_altered_there_is_found_and_nothing_of_it_comes_back(tmp_path, harm):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one" * 100, b"two" * 100])
    shelf.add("1.3", [b"else" * 150])
    shelf.turn()
    [row, other] = shelf.index.rows()
    path = tmp_path / "away" / row.name
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[-20] ^= 1
    elif harm == "cut":
        del content[-1:]
    elif harm == "longer":
        content += b"x"
    elif harm == "other":
        content = bytearray((tmp_path / "away" / other.name).read_bytes())
    path.write_bytes(content)
    if harm == "gone":
        path.unlink()
    with pytest.raises(ArchiveAltered, match="put a copy of it back"):
        shelf.archive.recall("1.2")
    assert shelf.files.names() == set()
    assert [each.study for each in shelf.archive.verify() if each.error] == ["1.2"]
    assert shelf.actions()[-2:] == [("restore.study", "failed"), ("archive.verify", "failed")]
    assert shelf.archive.recall("1.3")


def test_a_damaged_pack_is_made_good_while_the_study_is_here(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one" * 100])
    shelf.turn()
    shelf.archive.recall("1.2")
    packs(shelf)[0].write_bytes(b"altered")
    shelf.clock.at += 3650 * DAY
    assert shelf.turn() == ["1.2"]
    assert not [each for each in shelf.archive.verify() if each.error]


def test_a_disk_that_is_full_leaves_nothing_of_a_recall(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"1" * 100, b"2" * 100, b"3" * 100])
    shelf.turn()
    shelf.files.room = 250
    with pytest.raises(StoreError, match="no space left"):
        shelf.archive.recall("1.2")
    assert shelf.files.names() == set()
    assert shelf.standings() == {"1.2": "away"}
    shelf.files.room = 300
    shelf.archive.recall("1.2")
    assert len(shelf.files.names()) == 3


def test_an_index_that_is_lost_is_made_anew(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.add("1.3", [b"two", b"three"])
    shelf.turn()
    rows = [(row.name, row.study, row.objects, row.bytes, row.came) for row in shelf.index.rows()]
    shelf.index.close()
    for path in tmp_path.glob("archive.sqlite*"):
        path.unlink()
    (tmp_path / "away" / ("0" * 64)).write_bytes(b"not ours")
    (tmp_path / "away" / "README").write_bytes(b"of somebody")
    shelf.again()
    known, strange = shelf.archive.open()
    assert "did not know 2 packs that are there" in known
    assert "1 file in the archive is not what this clinic sealed" in strange
    assert [(row.name, row.study, row.objects, row.bytes, row.came) for row in shelf.index.rows()] == rows
    assert [each.name for each in shelf.archive.verify() if each.error] == ["0" * 64]
    assert len(shelf.archive.recall("1.3")) == 1


def test_another_clinics_archive_is_left_alone(tmp_path):
    shelf = Shelf(tmp_path / "north")
    shelf.add("1.2", [b"one"])
    shelf.turn()
    other = Shelf(tmp_path / "south", shelf.store, "south", b"s" * 32)
    other.add("9.9", [b"theirs"])
    with pytest.raises(ArchiveAltered, match="another key"):
        other.turn()
    same_key = Shelf(tmp_path / "west", shelf.store, "west")
    with pytest.raises(ConfigError, match="is the archive of north"):
        same_key.turn()
    assert other.files.names() == {"9.9.0"}


def test_an_archive_that_is_not_there_any_more_is_not_begun_anew(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.turn()
    shelf.add("1.3", [b"two"])
    shutil.move(tmp_path / "away", tmp_path / "unmounted")
    (tmp_path / "away").mkdir()
    shelf.again()
    with pytest.raises(StoreError, match="the archive is not there; mount"):
        shelf.turn()
    assert shelf.files.names() == {"1.3.0"}
    assert list((tmp_path / "away").iterdir()) == []


def test_a_clock_set_back_moves_nothing(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.clock.at -= 500 * DAY
    assert shelf.turn() == []
    shelf.clock.at += 500 * DAY
    assert shelf.turn() == ["1.2"]
    shelf.clock.at -= 700 * DAY
    assert shelf.archive.recall("1.2")[0].standing.value == "both"


def test_it_is_as_fast_as_it_may_be(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.vault._bytes_per_s = 1000.0
    shelf.add("1.2", [b"x" * 10_000])
    shelf.turn()
    assert 20 <= shelf.clock.slept <= 22  # there, and back to be proven


def test_which_study(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.turn()
    for which in ("1", "nothing", shelf.index.rows()[0].name[:5]):
        with pytest.raises(ConfigError, match="archive list"):
            shelf.archive.recall(which)


class Lying(FolderStore):
    """A store that says it has what it was given, and has something else."""

    def __init__(self, folder: Path, loses: bool) -> None:
        super().__init__(folder)
        self._loses = loses

    def put(self, name, source, size):
        content = bytearray(source.read(size))
        if name != MARK:
            content[len(content) // 2] ^= 1
        if name == MARK or not self._loses:
            super().put(name, BytesIO(bytes(content)), size)


@pytest.mark.parametrize("loses", [True, False])
def test_nothing_is_removed_on_a_stores_word(tmp_path, loses):
    shelf = Shelf(tmp_path, Lying(tmp_path / "away", loses))
    shelf.add("1.2", [b"one" * 100])
    with pytest.raises(ArchiveAltered):
        shelf.turn()
    assert shelf.files.names() == {"1.2.0"}
    assert shelf.standings() == {}
    assert shelf.actions() == []


def test_an_index_that_is_an_older_copy_learns_what_it_does_not_know(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.turn()
    shelf.index.close()
    older = (tmp_path / "archive.sqlite").read_bytes()
    shelf.again()
    shelf.add("1.3", [b"two"])
    shelf.turn()
    shelf.index.close()
    (tmp_path / "archive.sqlite").write_bytes(older)
    shelf.again()
    assert ["did not know 1 pack that is there" in each for each in shelf.archive.open()] == [True]
    assert shelf.standings() == {"1.2": "away", "1.3": "away"}


def test_a_pack_that_is_not_there_any_more_is_told_at_the_start(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.turn()
    packs(shelf)[0].unlink()
    shelf.again()
    [said] = shelf.archive.open()
    assert "1 pack is not in the archive any more" in said


def test_a_large_study_in_several_packs_comes_back_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "MOST_OBJECTS", 2)
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"1", b"2", b"3", b"4", b"5"])
    shelf.turn()
    assert len(packs(shelf)) == 3
    last = tmp_path / "away" / shelf.index.rows()[-1].name
    content = last.read_bytes()
    last.write_bytes(content[:-1])
    with pytest.raises(ArchiveAltered):
        shelf.archive.recall("1.2")
    assert shelf.files.names() == set()
    last.write_bytes(content)
    assert len(shelf.archive.recall(last.name[:9])) == 3
    assert len(shelf.files.names()) == 5


def test_what_comes_after_a_recall_goes_with_the_rest(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.add("1.2", [b"one"])
    shelf.turn()
    shelf.archive.recall("1.2")
    shelf.files.add("1.2.9", b"late", shelf.clock.unix())
    shelf.clock.at += 40 * DAY
    assert shelf.turn() == ["1.2"]
    assert [row.standing.value for row in shelf.index.rows()] == ["away", "away"]
    shelf.archive.recall("1.2")
    assert shelf.files.names() == {"1.2.0", "1.2.9"}
