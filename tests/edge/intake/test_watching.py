from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fedmed.dicom.arrivals import Door
from fedmed.dicom.network.acceptor import stores
from fedmed.dicom.receiving import readable_syntaxes
from fedmed.edge.intake.watching import WatchConfig, Watched, look, ready
from fedmed.errors import ConfigError, StoreError
from tests.dicom.senders import Box, image


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at

    def unix(self) -> float:
        return 4e9 + self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Folder:
    """A watched folder with a clock of its own."""

    def __init__(self, path: Path, most_bytes: int = 10**6, **config: float) -> None:
        self.path, self.clock, self.box = path, Clock(), Box()
        door = Door(self.box.keep, stores(frozenset()), readable_syntaxes(), most_bytes)
        self.watched = Watched(WatchConfig(path, **{"keep_done_s": 1e12, **config}), door, self.clock, self.box.tell)

    def polls(self, *seconds: float) -> list[int]:
        found = []
        for each in seconds:
            self.clock.sleep(each)
            found.append(self.watched.poll())
        return found

    def names(self, place: str = "") -> list[str]:
        return sorted(path.name for path in (self.path / place).iterdir() if path.name not in ("done", "refused"))


def test_a_file_is_kept_once_it_stands_still_and_moved(tmp_path):
    folder = Folder(tmp_path)
    (tmp_path / "one.dcm").write_bytes(image(1))
    assert folder.polls(0, 1, 0.9) == [0, 0, 0]
    assert folder.polls(0.2, 5) == [1, 0]
    assert folder.box.came[0][0] == image(1)
    assert folder.box.came[0][1]["by"] == "folder"
    assert (folder.names(), folder.names("done"), folder.names("refused")) == ([], ["one.dcm"], [])


def test_a_file_that_grows_waits_and_is_kept_whole(tmp_path):
    folder, whole = Folder(tmp_path), image(1)
    with (tmp_path / "one.dcm").open("wb", buffering=0) as file:
        for start in range(0, len(whole), 2000):
            file.write(whole[start : start + 2000])
            assert folder.polls(1.9) == [0]
    assert folder.polls(2.1) == [1]
    assert folder.box.came[0][0] == whole


def test_a_file_whose_writer_paused_is_kept_when_the_rest_has_come(tmp_path):
    folder, whole = Folder(tmp_path, half_s=60), image(1)
    (tmp_path / "one.dcm").write_bytes(whole[:-500])
    assert folder.polls(0, 3, 3, 40) == [0, 0, 0, 0]
    assert folder.names() == ["one.dcm"]
    (tmp_path / "one.dcm").write_bytes(whole)
    assert folder.polls(1, 3) == [0, 1]
    assert folder.box.came[0][0] == whole


def test_a_file_that_was_only_begun_waits(tmp_path):
    folder = Folder(tmp_path)
    (tmp_path / "one.dcm").touch()
    assert folder.polls(0, 3, 3) == [0, 0, 0]
    (tmp_path / "one.dcm").write_bytes(image(1))
    assert folder.polls(1, 3) == [0, 1]


def test_half_a_file_is_refused_in_the_end_with_its_reason(tmp_path):
    folder = Folder(tmp_path, half_s=60)
    (tmp_path / "half.dcm").write_bytes(image(1)[:-500])
    assert folder.polls(0, 3, 50, 10) == [0, 0, 0, 0]
    assert folder.names("refused") == ["half.dcm", "half.dcm.reason.txt"]
    assert (tmp_path / "refused" / "half.dcm.reason.txt").read_text() == "Its pixels have no end.\n"
    assert folder.box.told == [("half.dcm", "", "a file was refused: Its pixels have no end.")]


def test_a_file_that_is_renamed_in_with_an_old_or_a_future_time_is_kept(tmp_path):
    folder = Folder(tmp_path)
    for name, unix in (("old", 1e9), ("future", 6e9)):
        (tmp_path / f".{name}").write_bytes(image(1))
        os.utime(tmp_path / f".{name}", (unix, unix))
    assert folder.polls(0, 10) == [0, 0]
    for name in ("old", "future"):
        (tmp_path / f".{name}").rename(tmp_path / name)
    assert folder.polls(0, 2) == [0, 2]


@pytest.mark.parametrize("name", [".hidden", "a.part", "a.dcm.tmp", "a~", "a.filepart"])
def test_a_name_under_which_programs_still_write_waits(tmp_path, name):
    folder = Folder(tmp_path)
    (tmp_path / name).write_bytes(image(1))
    assert folder.polls(0, 1000) == [0, 0]
    assert folder.names() == [name]


def test_links_and_special_files_are_refused_and_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.dcm").write_bytes(image(1))
    (tmp_path / "in").mkdir()
    folder = Folder(tmp_path / "in")
    (tmp_path / "in" / "link").symlink_to(outside / "secret.dcm")
    (tmp_path / "in" / "folder").symlink_to(outside)
    (tmp_path / "in" / "loop").symlink_to("loop")
    (tmp_path / "in" / "hard").hardlink_to(outside / "secret.dcm")
    os.mkfifo(tmp_path / "in" / "pipe")
    assert folder.polls(0, 3, 3) == [0, 0, 0]
    assert not folder.box.came
    assert folder.names() == []
    assert [name for name in folder.names("refused") if not name.endswith(".txt")] == [
        "folder",
        "hard",
        "link",
        "loop",
        "pipe",
    ]
    assert (outside / "secret.dcm").read_bytes() == image(1)


WRONG = {
    "empty": (b"", "it is empty"),
    "text": (b"report.txt\n" * 100, "no 'DICM'"),
    "too large": (image(1, 1024), "at most 1000000 are taken"),
    "another class": (image(1, SOPClassUID="1.3.12.2.1107.5.9.1"), "is not taken here"),
    "without a study": (image(1, StudyInstanceUID=""), "0020000D is missing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_with_its_reason(tmp_path, name):
    folder = Folder(tmp_path)
    content, reason = WRONG[name]
    (tmp_path / "file").write_bytes(content)
    folder.polls(0, 3, 1000)
    assert folder.names("refused") == ["file", "file.reason.txt"]
    assert reason in (tmp_path / "refused" / "file.reason.txt").read_text()
    assert not folder.box.came


def test_folders_within_are_looked_into_and_names_that_meet_get_a_number(tmp_path):
    folder = Folder(tmp_path)
    for place in ("a", "b", "a/b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "1").write_bytes(image(1))
    (tmp_path / "a_1").write_bytes(image(2))
    assert folder.polls(0, 3) == [0, 4]
    assert folder.names("done") == ["a_1", "a_1.2", "a_b_1", "b_1"]


def test_long_and_strange_names_are_moved_too(tmp_path):
    folder = Folder(tmp_path)
    for name in (b"x" * 250, b"\xff\xfe.dcm", b"new\nline"):
        (tmp_path / os.fsdecode(name)).write_bytes(image(1))
    (tmp_path / os.fsdecode(b"\xff" * 240)).write_bytes(b"no DICOM at all")
    assert folder.polls(0, 3) == [0, 3]
    assert folder.names() == []
    assert "\\xff" in folder.box.told[0][0]


def test_a_store_that_is_full_leaves_the_file_where_it_is(tmp_path):
    folder = Folder(tmp_path)
    for number in range(3):
        (tmp_path / str(number)).write_bytes(image(number))
    folder.box.fails = StoreError("full")
    assert folder.polls(0, 3, 3) == [0, 0, 0]
    assert len(folder.names()) == 3
    assert len(folder.box.told) == 1
    folder.box.fails = None
    assert folder.polls(3) == [3]


def test_a_crash_before_the_move_keeps_it_again(tmp_path):
    (tmp_path / "one").write_bytes(image(1))
    first = Folder(tmp_path)
    first.watched._move = lambda name, arrival: (_ for _ in ()).throw(OSError(5, "gone"))
    assert first.polls(0, 3) == [0, 0]
    second = Folder(tmp_path)
    assert second.polls(0, 3) == [0, 1]
    assert first.box.came[0][0] == second.box.came[0][0]


def test_what_is_done_is_deleted_after_its_time(tmp_path):
    folder = Folder(tmp_path, keep_done_s=0)
    (tmp_path / "one").write_bytes(image(1))
    assert folder.polls(0, 3) == [0, 1]
    assert folder.names("done") == []


def test_a_folder_that_goes_is_told_and_found_again(tmp_path):
    path = tmp_path / "in"
    path.mkdir()
    folder = Folder(path)
    path.rename(tmp_path / "away")
    assert folder.polls(1) == [0]
    assert "cannot be listed" in folder.box.told[0][2]
    (tmp_path / "away").rename(path)
    (path / "one").write_bytes(image(1))
    assert folder.polls(1, 3) == [0, 1]


def test_it_runs_until_it_is_told_to_stop(tmp_path):
    folder, stop = Folder(tmp_path, poll_s=0.01, still_s=1e-9), threading.Event()
    thread = threading.Thread(target=folder.watched.run, args=(stop,))
    thread.start()
    (tmp_path / "one").write_bytes(image(1))
    for _ in range(3000):
        folder.clock.sleep(0.01)
        if folder.box.came:
            break
        threading.Event().wait(0.01)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert folder.box.instances == ["1.2.826.9.1"]


def test_all_that_is_wrong_with_a_configuration_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as raised:
        Folder(tmp_path, poll_s=0, still_s=3, half_s=1, keep_done_s=-1)
    for part in ("poll_s", "half_s", "keep_done_s"):
        assert part in str(raised.value)
    with pytest.raises(ConfigError, match="cannot be watched"):
        Folder(tmp_path / "nowhere")


def test_the_pure_part_forgets_what_has_gone():
    from fedmed.edge.intake.watching import State

    state = State(1, 2, 3, 4)
    seen = look({}, {"a": state, "b": state}, 1.0)
    seen = look(seen, {"a": state}, 5.0)
    assert list(seen) == ["a"]
    assert ready(seen, 5.0, 4.0, 9.0) == ["a"]
    assert ready(look(seen, {"a": State(1, 2, 4, 4)}, 6.0), 7.0, 4.0, 9.0) == []
