"""Rows that are on the disk before their contents are: what a loss of power or a broken disk finds in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.store.disk import Disk
from fedmed.store.spool.contents import APART, FOLDER
from fedmed.store.spool.entry import INSTANCE, RESULT, Put
from fedmed.store.spool.spool import Spool
from tests.store.spool.spools import KEY, START, Told, as_killed, new, opened

LARGE = {number: bytes([number]) * (APART + number) for number in range(1, 5)}
KEYS = pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])


class Stuck(Disk):
    """Its syncs of contents wait until they may go on, or are refused."""

    def __init__(self) -> None:
        self.may, self.error = threading.Event(), None

    def sync(self, handle: int) -> None:
        assert self.may.wait(30)
        if self.error is not None:
            raise self.error
        super().sync(handle)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def committed(spool: Spool, count: int) -> None:
    """Until so many rows are on the disk."""
    while sum(spool.counts().entries.values()) < count:
        threading.Event().wait(0.005)


def stuck(spool: Spool, pool: ThreadPoolExecutor, *numbers: int) -> tuple[Stuck, list[Future[list[Put]]]]:
    """Puts whose rows are on the disk and whose contents are not."""
    before = sum(spool.counts().entries.values())
    spool._contents._disk = disk = Stuck()
    jobs = [pool.submit(spool.put, new(LARGE[number], number=number)) for number in numbers]
    committed(spool, before + len(numbers))
    return disk, jobs


def unsure(spool: Spool) -> list[int]:
    return [row.number for row in spool._reading(spool._tables.unsettled)]


def test_nothing_is_acknowledged_before_its_content_is_on_the_disk(tmp_path, pool):
    with opened(tmp_path / "s") as spool:
        disk, [job, *_] = stuck(spool, pool, 1)
        assert not job.done()
        assert unsure(spool) == [1]
        disk.may.set()
        assert job.result(30)[0].is_new
        spool.put(new("the next transaction writes it down"))
        assert unsure(spool) == []


@KEYS
@pytest.mark.parametrize("left", ["nothing", "half", "zeros"])
def test_what_a_loss_of_power_left_half_was_never_acknowledged_and_is_dropped_and_told(tmp_path, pool, key, left):
    with opened(tmp_path / "s", key=key) as spool:
        spool.put(new(LARGE[1], number=1))
        disk, jobs = stuck(spool, pool, 2, 3)
        names = sorted((path for path in (tmp_path / "s" / FOLDER).iterdir() if path.stat().st_size), key=number_of)
        lost = as_killed(tmp_path / "s", tmp_path / "lost")
        assert not any(job.done() for job in jobs)
        disk.may.set()
        pool.shutdown()
    path = lost / FOLDER / names[1].name
    whole = path.read_bytes()
    path.write_bytes({"nothing": b"", "half": whole[: len(whole) // 2], "zeros": bytes(len(whole))}[left])
    told = Told()
    with opened(lost, key=key, told=told) as spool:
        assert spool.rescued is None
        [(dropped, reason)] = told.drops
        assert (dropped.number, reason) in ((2, "damaged"), (3, "damaged"))
        again = spool.put(new(LARGE[dropped.facts["number"]], number=dropped.facts["number"]))[0]
        assert (again.is_new, again.entry.number) == (True, 4)
        there = {}
        while (entry := spool.next([INSTANCE], START)) is not None:
            there[entry.facts["number"]] = spool.content(entry)
            spool.done(entry.number)
        assert there == {number: LARGE[number] for number in (1, 2, 3)}


def number_of(path: Path) -> int:
    return int(path.name)


def test_what_a_kill_left_whole_is_kept_and_then_sure(tmp_path, pool):
    told = Told()
    with opened(tmp_path / "s") as spool:
        disk, _ = stuck(spool, pool, 1, 2)
        killed = as_killed(tmp_path / "s", tmp_path / "killed")
        disk.may.set()
        pool.shutdown()
    with opened(killed, told=told) as spool:
        spool.put(new("more"))
        assert unsure(spool) == []
        assert spool.counts().entries[INSTANCE] == 3
    assert told.drops == []


def test_the_same_content_is_not_acknowledged_before_the_first_of_it_is_on_the_disk(tmp_path, pool):
    with opened(tmp_path / "s") as spool:
        disk, [first, *_] = stuck(spool, pool, 1)
        second = pool.submit(spool.put, new(LARGE[1], number=1))
        for number in range(3):
            spool.put(new(f"others go on {number}"))
        assert not second.done()
        disk.may.set()
        assert (first.result(30)[0].is_new, second.result(30)[0].is_new) == (True, False)


def test_a_content_that_the_disk_refuses_late_is_refused_to_all_who_put_it_and_nothing_is_left(tmp_path, pool):
    told = Told()
    with opened(tmp_path / "s", told=told) as spool:
        disk, [first, *_] = stuck(spool, pool, 1)
        second = pool.submit(spool.put, new(LARGE[1], number=1))
        threading.Event().wait(0.1)
        disk.error = OSError(5, "Input/output error")
        disk.may.set()
        for job in (first, second):
            with pytest.raises(StoreError, match="the disk cannot be written or read"):
                job.result(30)
        assert spool.counts().entries[INSTANCE] == 0
        assert (spool.counts().dropped, told.drops) == ({}, [])
        spool._contents._disk = Disk()
        assert spool.put(new(LARGE[1]))[0].is_new
        assert spool.content(spool.next([INSTANCE], START)) == LARGE[1]


def test_a_step_is_made_with_its_result_on_the_disk_since_its_image_is_gone_then(tmp_path, pool):
    with opened(tmp_path / "s") as spool:
        spool.put(new("image"))
        entry = spool.next([INSTANCE], START)
        spool._contents._disk = disk = Stuck()
        job = pool.submit(spool.turn, entry.number, new(LARGE[1], kind=RESULT))
        threading.Event().wait(0.1)
        assert spool.counts().entries == {"instance": 1, "series": 0, "result": 0, "study": 0, "update": 0}
        disk.may.set()
        assert job.result(30)[0].is_new
        assert spool.counts().entries == {"instance": 0, "series": 0, "result": 1, "study": 0, "update": 0}


def test_an_image_that_is_looked_at_before_it_is_on_the_disk_is_finished_once(tmp_path, pool):
    with opened(tmp_path / "s") as spool:
        disk, [job, *_] = stuck(spool, pool, 1)
        entry = spool.next([INSTANCE], START)
        spool.turn(entry.number, new(b"of " + spool.content(entry)[:10], kind=RESULT))
        killed = as_killed(tmp_path / "s", tmp_path / "killed")
        disk.may.set()
        assert job.result(30)[0].is_new
    with opened(killed) as spool:
        assert spool.counts().entries == {"instance": 0, "series": 0, "result": 1, "study": 0, "update": 0}
        assert not spool.put(new(LARGE[1], number=1))[0].is_new
