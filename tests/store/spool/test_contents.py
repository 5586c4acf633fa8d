from __future__ import annotations

import stat
from errno import EIO, ENOSPC
from itertools import product
from pathlib import Path

import pytest

from fedmed.store.disk import Disk
from fedmed.store.spool import contents
from fedmed.store.spool.contents import AHEAD, FOLDER, Contents
from tests.store.power import KEEPS, Crash, Power

BODIES = [bytes([number]) * 5000 for number in range(4)]


@pytest.fixture(autouse=True)
def _few_ahead(monkeypatch):
    monkeypatch.setattr(contents, "AHEAD", 2)


def kept(made: Contents, body: bytes) -> int:
    name = made.keep(lambda sink: sink.write(body))
    made.wait(name)
    return name


def test_a_content_is_a_file_of_its_owners_until_it_is_removed(tmp_path):
    made = Contents(tmp_path)
    names = [kept(made, body) for body in BODIES]
    assert len(set(names)) == len(BODIES)
    assert [made.read(name) for name in names] == BODIES
    assert {stat.S_IMODE((tmp_path / FOLDER / str(name)).stat().st_mode) for name in names} == {0o600}
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700
    made.remove(names[0], 999)
    with pytest.raises(FileNotFoundError):
        made.read(names[0])


def test_what_no_row_names_goes_and_names_go_on_behind_those_that_are_there(tmp_path):
    made = Contents(tmp_path)
    names = [kept(made, body) for body in BODIES]
    (tmp_path / FOLDER / "a note of somebody").write_bytes(b"x")
    again = Contents(tmp_path)
    again.begin({names[1]})
    assert again.names() == {names[1]: 5000}
    assert (tmp_path / FOLDER / "a note of somebody").exists()
    assert kept(again, b"new") > max(names)


def test_names_are_made_several_at_a_time_with_one_sync_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "AHEAD", AHEAD)
    power = Power()
    made = Contents(tmp_path, power)
    kept(made, b"first")
    before = power.calls
    for _ in range(AHEAD - 1):
        kept(made, b"x")
    assert power.calls - before == 3 * (AHEAD - 1)  # reopened, written, synced


def test_nothing_is_left_of_what_the_disk_refused(tmp_path):
    power = Power(fails_at=4, fault=OSError, torn=True)  # created twice, synced, reopened, written
    made = Contents(tmp_path, power)
    (tmp_path / FOLDER).mkdir()
    with pytest.raises(OSError, match="No space left"):
        kept(made, BODIES[1])
    assert set(made.names().values()) == {0}
    assert made.read(kept(made, BODIES[2])) == BODIES[2]


def run(folder: Path, power: Power) -> tuple[dict[int, bytes], dict[int, bytes], bool]:
    """What was said to be on the disk and is wanted, what is not wanted any more, and whether all was done."""
    made, wanted, gone = Contents(folder, power), dict[int, bytes](), dict[int, bytes]()
    try:
        for body in BODIES[:3]:
            wanted[kept(made, body)] = body
        first = min(wanted)
        gone[first] = wanted.pop(first)
        made.remove(first)
        wanted[kept(made, BODIES[3])] = BODIES[3]
    except Crash:
        return wanted, gone, False
    return wanted, gone, True


@pytest.mark.parametrize("keeps", KEEPS)
def test_a_crash_at_any_call_leaves_what_was_acknowledged_whole_and_the_rest_is_cleared_away(tmp_path, keeps):
    done, case = False, 0
    while not done:
        for torn in (False, True):
            folder = tmp_path / f"{case}-{torn}"
            (folder / FOLDER).mkdir(parents=True)
            power = Power(folder / FOLDER, fails_at=case, torn=torn)
            wanted, _, done = run(folder, power)
            power.lose(keeps)
            after = Contents(folder)
            after.begin(set(wanted))
            assert {name: after.read(name) for name in after.names()} == wanted
            assert after.read(kept(after, b"goes on")) == b"goes on"
        case += 1
    assert case > 10


@pytest.mark.parametrize(("fails_at", "torn"), list(product(range(8), (False, True))))
def test_a_disk_that_refuses_any_call_is_gone_on_with(tmp_path, fails_at, torn):
    power = Power(fails_at=fails_at, fault=OSError, torn=torn)
    (tmp_path / FOLDER).mkdir()
    made, names = Contents(tmp_path, power), dict[int, bytes]()
    for body in (*BODIES, *BODIES):
        try:
            names[kept(made, body)] = body
        except OSError:
            continue
    assert len(names) == (8 if fails_at == 1 else 7)  # a second name that cannot be made ahead is needed by nobody yet
    assert {name: made.read(name) for name in names} == names


class NoInodes(Disk):
    """Room for so many more names."""

    def __init__(self, left: int) -> None:
        self.left = left

    def create(self, path: Path) -> int:
        if self.left == 0:
            raise OSError(ENOSPC, "No space left on device")
        self.left -= 1
        return super().create(path)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.left += 1


@pytest.mark.parametrize("left", [1, 5, 40])
def test_a_disk_without_inodes_is_left_no_empty_files_and_used_to_its_last(tmp_path, monkeypatch, left: int):
    monkeypatch.setattr(contents, "AHEAD", 32)
    disk = NoInodes(left)
    made = Contents(tmp_path, disk)
    names = [kept(made, b"body") for _ in range(left)]
    with pytest.raises(OSError, match="No space"):
        made.keep(lambda sink: sink.write(b"more"))
    assert sorted(made.names()) == sorted(names)
    assert set(made.names().values()) == {4}
    made.remove(names[0])
    assert made.read(kept(made, b"again")) == b"again"


def test_names_that_a_broken_disk_does_not_sync_are_taken_away(tmp_path, monkeypatch):
    def broken(self: Disk, folder: Path) -> None:
        raise OSError(EIO, "Input/output error")

    made = Contents(tmp_path)
    kept(made, b"body")
    kept(made, b"body")
    with monkeypatch.context() as patch:
        patch.setattr(Disk, "sync_folder", broken)
        with pytest.raises(OSError, match="Input/output"):
            made.keep(lambda sink: sink.write(b"more"))
    assert len(made.names()) == 2
