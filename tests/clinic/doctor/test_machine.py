"""The machine's own checks, on real file systems."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedmed.clinic.doctor import kernels, strength
from fedmed.clinic.doctor.kernels import Ran
from fedmed.clock import SystemClock
from fedmed.confinement.cell import Cell
from fedmed.confinement.means import lacking
from fedmed.errors import MissingPart
from fedmed.operation.doctor import disk, machine
from fedmed.operation.doctor.finding import Status
from fedmed.operation.doctor.machine import Room, Written

NOW = SystemClock().now


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_good_disk_is_written_and_left_as_it_was(tmp_path: Path):
    found = machine.write(tmp_path, NOW)
    assert found.fault == ""
    assert found.is_same
    assert found.rate > 0
    assert found.syncs > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_to_be_made_is_judged_by_the_one_above(tmp_path: Path):
    assert machine.write(tmp_path / "not" / "there", NOW).place == tmp_path
    assert machine.room(tmp_path / "not" / "there").place == tmp_path
    assert not (tmp_path / "not").exists()


def test_a_full_disk(tmp_path: Path):
    with mounted(tmp_path / "full", "size=1m") as folder:
        room, found = strength.room(machine.room(folder), 10**6), disk.writing(machine.write(folder, NOW))
        assert list(folder.iterdir()) == []
    assert room.status is Status.FAIL
    assert room.got.startswith("1.05 MB free")
    assert found.status is Status.FAIL
    assert "No space left" in found.got
    assert "make room" in found.todo


def test_a_read_only_disk(tmp_path: Path):
    with mounted(tmp_path / "ro", "ro,size=1m") as folder:
        found = disk.writing(machine.write(folder, NOW))
    assert found.status is Status.FAIL
    assert "Read-only file system" in found.got
    assert "mount it for writing" in found.todo


@pytest.mark.parametrize(
    ("free", "status"), [(10**7, Status.FAIL), (5 * 10**8, Status.WARN), (10**10, Status.OK), (None, Status.FAIL)]
)
def test_room_for_a_model_of_10m(free: int | None, status: Status):
    assert strength.room(Room(Path("/spool"), free, "Input/output error"), 10**7).status is status


@pytest.mark.parametrize(
    ("found", "status", "word"),
    [
        (Written(Path("/s"), 1e8, 300.0), Status.OK, "300 fsync/s"),
        (Written(Path("/s"), 1e6, 300.0), Status.WARN, "1 MB/s"),
        (Written(Path("/s"), 1e8, 3.0), Status.WARN, "3 fsync/s"),
        (Written(Path("/s"), 1e8, 300.0, is_same=False), Status.FAIL, "other than written"),
    ],
)
def test_speed_and_truth_of_a_disk(found: Written, status: Status, word: str):
    judged = disk.writing(found)
    assert judged.status is status
    assert word in judged.got


@pytest.mark.parametrize(("found", "status"), [(None, Status.OK), (5 * 10**8, Status.FAIL), (10**10, Status.OK)])
def test_memory_for_a_model_of_10m(found: int | None, status: Status):
    assert strength.memory(found, 10**7).status is status


def test_memory_is_told_here():
    assert 0 < (machine.memory() or 0) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_control_groups_limit_counts(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert machine.memory() == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (machine.memory() or 0) > 600_000


@pytest.mark.parametrize(("found", "status"), [(256, Status.WARN), (1024, Status.OK), (-1, Status.OK)])
def test_descriptors(found: int, status: Status):
    assert strength.descriptors(found).status is status


@pytest.mark.parametrize(
    ("ran", "has_card", "status", "word"),
    [
        (Ran(None), True, Status.OK, "a kernel ran"),
        (Ran("no driver"), False, Status.OK, "no GPU here"),
        (Ran("no driver"), True, Status.WARN, "no driver"),
        (Ran(None, "signal 11"), True, Status.FAIL, "signal 11"),
    ],
)
def test_a_gpu_is_not_needed_but_one_that_is_there_must_run(ran: Ran, has_card: bool, status: Status, word: str):
    found = strength.kernel("gpu", ran, has_card)
    assert found.status is status
    assert word in found.got
    assert bool(found.todo) is (status is not Status.OK)


@pytest.mark.parametrize(
    ("found", "status", "got", "todo"),
    [
        ({}, Status.OK, "an app gets all of user, namespaces, landlock, seccomp", ""),
        ({"landlock": "ABI 1"}, Status.WARN, "no landlock (ABI 1)", "for landlock: Linux 6.2"),
        ({"namespaces": "refused", "user": "not root"}, Status.FAIL, "no user (not root)", "as-available"),
        ({"seccomp": "refused"}, Status.FAIL, "no seccomp (refused)", "CONFIG_SECCOMP_FILTER"),
        ("no process can be started", Status.FAIL, "no process can be started", "mend that"),
    ],
)
def test_what_lacks_of_an_apps_cell_is_named_with_how_to_get_it(found, status: Status, got: str, todo: str):
    judged = strength.confinement(found)
    assert (judged.status, judged.check) == (status, "confinement")
    assert got in judged.got
    assert todo in judged.todo


def test_what_this_machine_lacks_is_tried(monkeypatch):
    assert machine.confinement() == lacking(Cell())

    def none(cell: Cell):
        raise MissingPart("no process can be started")

    monkeypatch.setattr(machine, "lacking", none)
    assert machine.confinement() == "no process can be started"


def test_vector_aes_is_not_needed():
    assert strength.vector_aes(Ran("the processor has no vaes")).status is Status.OK
    assert strength.vector_aes(Ran(None, "signal 4")).status is Status.FAIL


def test_a_kernel_runs_in_a_process_of_its_own():
    from fedmed.privacy.secagg import vaes

    assert kernels.run("vector AES") == Ran(vaes.why_not())


def test_a_kernel_that_crashes_its_process(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(kernels.sys, "executable", "/bin/false")
    assert "ended with code 1" in kernels.run("gpu").crash
    crash = tmp_path / "crash"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o700)
    monkeypatch.setattr(kernels.sys, "executable", str(crash))
    assert "ended with signal 11" in kernels.run("gpu").crash


def test_a_kernel_that_hangs(monkeypatch, tmp_path: Path):
    hang = tmp_path / "hang"
    hang.write_text("#!/bin/sh\nexec sleep 60\n")
    hang.chmod(0o700)
    monkeypatch.setattr(kernels.sys, "executable", str(hang))
    assert kernels.run("gpu", 0.2).crash == "no end after 0 s"


def test_a_package_that_is_not_installed_is_a_reason(monkeypatch):
    monkeypatch.setitem(kernels.WHERE, "gpu", "fedmed_has_no_such_package")
    assert kernels.why_not("gpu") == "fedmed_has_no_such_package is not installed"
