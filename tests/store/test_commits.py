from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataError, StoreError
from fedmed.store import commits as commits_module
from fedmed.store.commits import KEEP, STATE, TENSORS, Commit, Commits
from fedmed.wire import tensors as wire
from fedmed.wire.canonical import canonical, digest


def commit(number: int, size: int = 6) -> Commit:
    weights = np.full(size, number, np.float32)
    return Commit(number, {"model/w": weights, "model/seen": np.array(number)}, {"history": [{"loss": 0.1 * number}]})


def written(folder: Path, *numbers: int) -> Commits:
    commits = Commits(folder)
    for number in numbers:
        commits.write(commit(number))
    return commits


def equal(found: Commit | None, number: int) -> bool:
    wanted = commit(number)
    return (
        found is not None
        and (found.round, found.state) == (number, wanted.state)
        and found.tensors.keys() == wanted.tensors.keys()
        and all((found.tensors[name] == value).all() for name, value in wanted.tensors.items())
    )


def damage(commits: Commits, number: int, file: str = TENSORS) -> Path:
    path = commits.folder / f"round-{number:06d}" / file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


def test_a_commit_is_read_back_as_written(tmp_path):
    commits = written(tmp_path, 1, 2)
    found, faults = commits.latest()
    assert equal(found, 2)
    assert equal(commits.read(1), 1)
    assert faults == []


def test_the_state_is_read_back_number_for_number(tmp_path):
    state = {"floats": [0.1, 1e-300, -0.0, 1 / 3], "ints": [2**62, -1], "none": None, "text": "Zürich \x00 \ud800"}
    Commits(tmp_path).write(Commit(1, {}, state))
    found, _ = Commits(tmp_path).latest()
    assert found is not None
    assert repr(found.state) == repr(state)  # repr tells -0.0 from 0.0


def test_nothing_is_found_where_nothing_was_committed(tmp_path):
    assert Commits(tmp_path).latest() == (None, [])
    assert Commits(tmp_path / "nowhere").rounds() == []


def test_the_newest_three_are_kept(tmp_path):
    commits = written(tmp_path, *range(1, 8))
    assert commits.rounds() == [5, 6, 7]
    assert KEEP == 3


def test_nothing_else_stays_behind(tmp_path):
    commits = written(tmp_path, 1, 2, 3, 4)
    assert sorted(path.name for path in commits.folder.iterdir()) == ["round-000002", "round-000003", "round-000004"]
    assert sorted(path.name for path in (commits.folder / "round-000004").iterdir()) == [STATE, TENSORS]


def test_digests_are_those_of_the_files(tmp_path):
    folder = written(tmp_path, 1).folder / "round-000001"
    sealed = json.loads((folder / STATE).read_bytes())
    assert sealed["sha256"] == digest(sealed["commit"])
    assert sealed["commit"]["tensors_sha256"] == wire.sha256((folder / TENSORS).read_bytes())


@pytest.mark.parametrize("file", [STATE, TENSORS])
def test_a_damaged_newest_commit_is_passed_over_with_a_reason(tmp_path, file):
    commits = written(tmp_path, 1, 2)
    damage(commits, 2, file)
    found, (fault,) = commits.latest()
    assert equal(found, 1)
    assert "round 2" in fault


@pytest.mark.parametrize("file", [STATE, TENSORS])
def test_a_missing_file_is_a_damaged_commit(tmp_path, file):
    commits = written(tmp_path, 1, 2)
    (commits.folder / "round-000002" / file).unlink()
    found, (fault,) = commits.latest()
    assert equal(found, 1)
    assert "round 2 cannot be read" in fault


def test_nothing_whole_is_nothing_found_and_every_fault_is_told(tmp_path):
    commits = written(tmp_path, 1, 2, 3)
    for number in (1, 2, 3):
        damage(commits, number)
    found, faults = commits.latest()
    assert found is None
    assert ["round 3" in faults[0], "round 2" in faults[1], "round 1" in faults[2]] == [True] * 3


def test_what_is_committed_after_damage_is_what_is_found_next(tmp_path):
    # all three were damaged, the run began anew: its first commits must not be swept away as the oldest
    commits = written(tmp_path, 10, 11, 12)
    for number in (10, 11, 12):
        damage(commits, number)
    for number in (1, 2):
        commits.write(commit(number))
        assert equal(commits.latest()[0], number)
    assert commits.rounds() == [1, 2]


def test_a_round_is_committed_again_over_its_damaged_commit(tmp_path):
    commits = written(tmp_path, 1, 2)
    damage(commits, 2)
    commits.write(commit(2))
    found, faults = commits.latest()
    assert equal(found, 2)
    assert faults == []


def test_a_commit_renamed_to_another_round_is_refused(tmp_path):
    commits = written(tmp_path, 1, 2)
    (commits.folder / "round-000001").rename(commits.folder / "round-000009")
    found, (fault,) = commits.latest()
    assert equal(found, 2)
    assert "round 9" in fault
    assert "round 1" in fault


def test_tensors_of_another_commit_are_refused(tmp_path):
    commits = written(tmp_path, 1, 2)
    shutil.copy(commits.folder / "round-000001" / TENSORS, commits.folder / "round-000002" / TENSORS)
    found, (fault,) = commits.latest()
    assert equal(found, 1)
    assert "digest" in fault


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'{"commit": {}}',
        b'{"commit": {"loss": NaN}, "sha256": "0"}',
        b'{"commit": {"loss": 1e999}, "sha256": "0"}',
        b'{"commit": "\\ud800", "sha256": "0"}',
        b"[" * 100_000,
        canonical({"commit": {}, "sha256": digest({})}),
        canonical({"commit": {"round": 2}, "sha256": digest({"round": 2})}),
        canonical({"commit": [], "sha256": digest([])}),
    ],
    ids=lambda text: text[:30].decode(),
)
def test_any_other_json_is_a_fault_and_no_crash(tmp_path, text):
    commits = written(tmp_path, 1, 2)
    (commits.folder / "round-000002" / STATE).write_bytes(text)
    found, faults = commits.latest()
    assert equal(found, 1)
    assert len(faults) == 1


@pytest.fixture(scope="module")
def two_commits(tmp_path_factory):
    return written(tmp_path_factory.mktemp("two"), 1, 2)


@settings(max_examples=150)
@given(st.data(), st.sampled_from([STATE, TENSORS]))
def test_every_cut_and_every_flipped_bit_is_seen(two_commits, data, file):
    path = two_commits.folder / "round-000002" / file
    good = path.read_bytes()
    position = data.draw(st.integers(0, len(good) - 1), "position")
    bit = data.draw(st.none() | st.integers(0, 7), "bit")
    bad = bytearray(good[:position] if bit is None else good)
    if bit is not None:
        bad[position] ^= 1 << bit
    try:
        path.write_bytes(bad)
        found, faults = two_commits.latest()
    finally:
        path.write_bytes(good)
    # a flip may leave the same JSON value, such as 1E-5 for 1e-5; nothing else passes
    assert (equal(found, 1) and len(faults) == 1) or (file == STATE and equal(found, 2) and bit == 5)


def test_other_names_in_the_folder_are_left_alone(tmp_path):
    commits = written(tmp_path, 1)
    for name in ("round-", "round-x", "round-1²", "round-000001.bak", "notes"):
        (commits.folder / name).mkdir()
    (commits.folder / "round-000007").touch()
    found, faults = commits.latest()
    assert equal(found, 1)
    assert len(faults) == 1
    commits.write(commit(2))
    assert equal(commits.latest()[0], 2)
    assert (commits.folder / "notes").exists()


def test_what_a_killed_run_had_begun_is_swept_away(tmp_path):
    commits = written(tmp_path, 1)
    begun = commits.folder / ".writing-999999"
    begun.mkdir()
    (begun / TENSORS).write_bytes(bytes(1000))
    assert equal(commits.latest()[0], 1)
    commits.write(commit(2))
    assert not begun.exists()


def test_a_state_that_json_cannot_hold_leaves_the_commits_as_they_were(tmp_path):
    commits = written(tmp_path, 1)
    for state in ({"loss": float("nan")}, {"object": object()}):
        with pytest.raises((ValueError, TypeError)):
            commits.write(Commit(2, {}, state))
    with pytest.raises(DataError, match="dtype"):
        commits.write(Commit(2, {"model/w": np.array(["text"])}, {}))
    assert [path.name for path in commits.folder.iterdir()] == ["round-000001"]


def test_a_run_folder_that_cannot_be_written_is_a_store_error(tmp_path):
    (tmp_path / "commits").touch()
    with pytest.raises(StoreError, match="round 1 could not be committed"):
        written(tmp_path, 1)


def refused_and_intact(commits: Commits, size: int) -> str:
    with pytest.raises(StoreError) as caught:
        commits.write(commit(3, size))
    found, faults = commits.latest()
    assert equal(found, 2)
    assert faults == []
    assert commits.rounds() == [1, 2]
    assert [path for path in commits.folder.iterdir() if path.name.startswith(".")] == []
    return str(caught.value)


def test_a_full_disk_leaves_the_commit_before(small_disk):
    commits = written(small_disk, 1, 2)
    message = refused_and_intact(commits, 400_000)
    assert "No space left on device" in message or "File too large" in message
    assert "last valid commit is round 2" in message
    assert "--resume" in message
    commits.write(commit(3))
    assert equal(commits.latest()[0], 3)


@pytest.mark.parametrize("name", ["fsync", "rename", "json"])
def test_a_disk_that_fails_at_any_step_leaves_the_commit_before(tmp_path, monkeypatch, name):
    commits = written(tmp_path, 1, 2)

    def fail(*_):
        raise OSError(5, "Input/output error")

    where = {"fsync": (commits_module.os, "fsync"), "rename": (Path, "replace"), "json": (commits_module, "canonical")}[name]
    with monkeypatch.context() as patch:
        patch.setattr(*where, fail)
        assert "Input/output error" in refused_and_intact(commits, 6)
    commits.write(commit(3))
    assert equal(commits.latest()[0], 3)


def test_everything_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    # what a power cut takes, no kill shows: the order of calls is the promise
    calls = []
    fsync, rename = os.fsync, Path.replace

    def noted_fsync(descriptor):
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_rename(path, target):
        calls.append(f"rename to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(commits_module.os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    written(tmp_path, 1)
    assert calls == [tmp_path.name, TENSORS, STATE, f".writing-{os.getpid()}", "rename to round-000001", "commits"]


def test_the_last_valid_commit_is_named_and_not_the_last_written(tmp_path, monkeypatch):
    commits = written(tmp_path, 1, 2)
    damage(commits, 2)
    monkeypatch.setattr(commits_module.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="the last valid commit is round 1"):
        commits.write(commit(3))


def test_a_file_size_limit_leaves_the_commit_before(tmp_path):
    # the full disk that needs no root
    written(tmp_path, 1, 2)
    code = (
        "import resource, sys; from pathlib import Path; from tests.store.test_commits import commit; "
        "from fedmed.store.commits import Commits; from fedmed.errors import StoreError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    Commits(Path(sys.argv[1])).write(commit(3, 400_000))\n"
        "except StoreError as error:\n    print(error)\n"
    )
    root = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, cwd=root, check=True)
    assert "File too large" in said.stdout
    commits = Commits(tmp_path)
    assert equal(commits.latest()[0], 2)
    assert [path.name for path in sorted(commits.folder.iterdir())] == ["round-000001", "round-000002"]


def test_a_writer_killed_at_any_moment_leaves_a_whole_commit(tmp_path):
    # every moment: between two files, before and after the rename, while old ones are removed
    draw = random.Random(11)
    code = (
        "import sys; from pathlib import Path; from tests.store.test_commits import commit; "
        "from fedmed.store.commits import Commits\n"
        "commits, start = Commits(Path(sys.argv[1])), int(sys.argv[2])\n"
        "for number in range(start, start + 1_000_000):\n"
        "    commits.write(commit(number, 20_000))\n    print(number, flush=True)\n"
    )
    last = 0
    for _ in range(4):
        arguments = [sys.executable, "-c", code, str(tmp_path), str(last + 1)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as writer:
            said = [writer.stdout.readline()]
            timer = threading.Timer(draw.uniform(0.01, 0.08), os.kill, (writer.pid, signal.SIGKILL))
            timer.start()
            said += writer.stdout.read().splitlines()
        commits = Commits(tmp_path)
        found, faults = commits.latest()
        assert faults == []
        assert found is not None
        told = max(int(line) for line in said if line)
        assert found.round in (told, told + 1)
        assert (found.tensors["model/w"] == found.round).all()
        last = found.round
    assert last > 4
