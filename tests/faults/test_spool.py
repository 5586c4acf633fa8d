"""The process of a spool killed with -9 at random moments, and a disk that is really full."""

from __future__ import annotations

import random
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import spool_device
from benchmarks.spool_device import Receiver, fill_with_kills, image
from fedmed.errors import StoreError
from fedmed.store.spool.entry import INSTANCE, STUDY, SpoolFull
from fedmed.store.spool.quota import Quota
from tests.faults.test_full_disk import Disk, disk  # noqa: F401
from tests.store.spool.spools import new, opened

SIZE = 16_000


def drained(folder: Path, kind: str) -> list[tuple[int, bytes]]:
    """What is in the spool, in the order in which it is handed out."""
    found = []
    with opened(folder) as spool:
        assert spool.rescued is None
        while entries := spool.batch([kind], 2e9):
            found += [(entry.facts["number"], spool.content(entry)) for entry in entries]
            spool.done(*(entry.number for entry in entries))
        assert sum(spool.counts().entries.values()) == 0
    return found


def test_a_day_offline_at_a_fast_clock_with_kills_loses_nothing_doubles_nothing_and_keeps_the_order(tmp_path: Path):
    count = 300
    died = fill_with_kills(tmp_path / "spool", count, SIZE, 3, random.Random(1))
    assert died == 3
    assert drained(tmp_path / "spool", INSTANCE) == [(number, image(number, SIZE)) for number in range(count)]


def test_large_images_that_are_files_survive_kills_with_their_rows_and_leave_nothing_behind(tmp_path: Path):
    count, size = 150, 300_000  # enough that no device is done before its kill comes
    assert fill_with_kills(tmp_path / "spool", count, size, 5, random.Random(4), each=2) == 5
    folder = tmp_path / "spool" / "contents"
    assert len([path for path in folder.iterdir() if path.stat().st_size]) >= count
    assert drained(tmp_path / "spool", INSTANCE) == [(number, image(number, size)) for number in range(count)]
    assert not [path for path in folder.iterdir() if path.stat().st_size]


def test_large_steps_are_made_once_whatever_is_killed(tmp_path: Path):
    count, size = 40, 300_000
    assert fill_with_kills(tmp_path / "spool", count, size, 4, random.Random(5), "step") == 4
    assert drained(tmp_path / "spool", STUDY) == [(number, b"study" + image(number, size)) for number in range(count)]


def test_steps_made_while_images_come_in_are_made_once_whatever_is_killed(tmp_path: Path):
    count = 300
    assert fill_with_kills(tmp_path / "spool", count, SIZE, 3, random.Random(2), "step") == 3
    assert drained(tmp_path / "spool", STUDY) == [(number, b"study" + image(number, SIZE)) for number in range(count)]


def test_all_that_was_taken_in_arrives_once_and_in_order_while_it_fills_and_drains_and_is_killed(tmp_path: Path):
    count = 300
    with Receiver(SIZE, prefix=b"study") as receiver:
        died = fill_with_kills(tmp_path / "spool", count, SIZE, 3, random.Random(3), "step", f"drain={receiver.port}")
    assert died == 3
    assert receiver.got == list(range(count))
    assert receiver.wrong == 0
    assert receiver.again <= died * 256
    assert drained(tmp_path / "spool", STUDY) == drained(tmp_path / "spool", INSTANCE) == []


def test_a_killed_owner_leaves_the_spool_to_the_next_and_a_living_one_does_not(tmp_path: Path):
    device = spool_device.start(tmp_path / "spool", 0, 10**6, 100, "fill")
    assert device.stdout is not None
    assert device.stdout.readline() == b"0\n"
    with pytest.raises(StoreError, match=f"process {device.pid} owns this spool; a spool has one owner: stop that one"):
        opened(tmp_path / "spool")
    device.send_signal(signal.SIGKILL)
    device.wait()
    device.stdout.close()
    with opened(tmp_path / "spool") as spool:
        assert spool.counts().entries[INSTANCE] > 0


def test_a_full_disk_refuses_what_is_new_lets_the_old_out_and_heals_by_itself(disk: Disk):  # noqa: F811
    room = Quota(bytes=10**9, ballast=8 << 20)
    with opened(disk.folder / "spool", room) as spool:
        kept = [put.entry for put in spool.put(*(new(bytes([n]) * 500_000, number=n) for n in range(20)))]
        disk.fill()
        for _ in range(3):
            with pytest.raises(SpoolFull, match="the disk is full; make room on it"):
                spool.put(new(b"late" * 5_000_000))
        handed = spool.next([INSTANCE], 2e9)
        assert handed == kept[0]
        spool.turn(handed.number, new("a small result", kind="result"))
        for entry in kept[1:15]:
            assert spool.next([INSTANCE], 2e9) == entry
            assert spool.content(entry) == bytes([entry.facts["number"]]) * 500_000
            spool.done(entry.number)
        disk.fill()
    disk.fill()
    with opened(disk.folder / "spool", room) as spool:
        assert spool.next([INSTANCE], 2e9) == kept[15]
        disk.free()
        assert spool.put(new(b"late" * 2_000_000))[0].is_new
        assert spool.counts().entries == {"instance": 6, "series": 0, "result": 1, "study": 0, "update": 0}


def test_a_disk_that_is_full_to_the_last_byte_without_ballast_says_so_and_keeps_what_it_acknowledged(disk: Disk):  # noqa: F811
    others = disk.folder / "others"
    others.write_bytes(bytes(30 << 20))
    with opened(disk.folder / "spool") as spool:
        kept, number = [], 0
        with suppress(SpoolFull):
            while True:
                kept += spool.put(new(bytes([number]) * 900_000, number=number))
                number += 1
        assert number > 10
        disk.fill()
        with pytest.raises(SpoolFull):
            spool.put(new(bytes([number]) * 900_000))
        others.unlink()
        assert spool.put(new("small", number=number))[0].is_new
    with opened(disk.folder / "spool") as spool:
        assert spool.rescued is None
        for put in kept:
            entry = spool.next([INSTANCE], 2e9)
            assert entry == put.entry
            assert spool.content(entry) == bytes([entry.number - 1]) * 900_000
            spool.done(entry.number)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_write_that_the_system_refuses_is_an_error_that_keeps_nothing_and_passes(tmp_path: Path):
    with opened(tmp_path / "spool") as spool:
        spool.put(new("before"))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
        try:
            with pytest.raises(StoreError, match=r"cannot be written or read|is full"):
                spool.put(new(b"1" * 1_000_000))
            assert spool.counts().entries[INSTANCE] == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert spool.put(new(b"1" * 1_000_000))[0].is_new
    with opened(tmp_path / "spool") as spool:
        assert spool.counts().entries[INSTANCE] == 2
