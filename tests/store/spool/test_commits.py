from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedmed.errors import StoreError
from fedmed.store.spool import commits, opening
from fedmed.store.spool.ballast import Ballast
from fedmed.store.spool.commits import Commits


@pytest.fixture
def made(tmp_path):
    path = tmp_path / opening.NAME
    made = Commits(opening.open_sound(path, b"check"), path, Ballast(tmp_path, 0))
    yield made
    made.close()


def waiting(made: Commits, count: int) -> None:
    while len(made._jobs) < count:
        threading.Event().wait(0.001)


def finished(made: Commits, number: int):
    def work() -> int:
        if number == 13:
            made._db.execute("INSERT INTO finished (mark, number, unix) VALUES (?, 13, 0)", (b"refused",))
            made.tables.loose.append(13)
            raise StoreError("no thirteenth")
        made._db.execute("INSERT INTO finished (mark, number, unix) VALUES (?, ?, 0)", (b"%d" % number, number))
        made.tables.loose.append(number)
        return number

    return work


def numbers(made: Commits) -> list[int]:
    with made.lock:
        return [number for (number,) in made._db.execute("SELECT number FROM finished ORDER BY id")]


def test_those_that_come_at_once_share_one_transaction_and_one_that_is_refused_takes_nothing_with_it(made):
    begun: list[str] = []
    made._db.set_trace_callback(lambda said: begun.append(said) if said.startswith("BEGIN") else None)
    with ThreadPoolExecutor(8) as pool:
        with made.lock:
            jobs = []
            for number in (11, 12, 13, 14):
                jobs.append(pool.submit(made.change, finished(made, number)))
                waiting(made, len(jobs))
        assert [job.result() for job in jobs if job is not jobs[2]] == [11, 12, 14]
        with pytest.raises(StoreError, match="no thirteenth"):
            jobs[2].result()
    made._db.set_trace_callback(None)
    assert len(begun) == 1
    assert numbers(made) == [11, 12, 14]
    assert made.gone() == [11, 12, 14]
    assert made.gone() == []


def test_what_sqlite_refuses_for_all_is_tried_alone_and_refused_alone(made):
    def wrong() -> None:
        made._db.execute("INSERT INTO finished (mark, number, unix) VALUES (NULL, 1, 0)")

    with ThreadPoolExecutor(8) as pool:
        with made.lock:
            jobs = [pool.submit(made.change, finished(made, 1))]
            waiting(made, 1)
            jobs.append(pool.submit(made.change, wrong))
            waiting(made, 2)
            jobs.append(pool.submit(made.change, finished(made, 2)))
            waiting(made, 3)
        assert (jobs[0].result(), jobs[2].result()) == (1, 2)
        with pytest.raises(StoreError, match="cannot be written or read"):
            jobs[1].result()
    assert numbers(made) == [1, 2]
    assert made.gone() == [1, 2]


def test_no_more_than_a_number_go_into_one_transaction(made, monkeypatch):
    monkeypatch.setattr(commits, "MOST_TOGETHER", 3)
    begun: list[str] = []
    made._db.set_trace_callback(lambda said: begun.append(said) if said.startswith("BEGIN") else None)
    with ThreadPoolExecutor(8) as pool:
        with made.lock:
            jobs = []
            for number in range(7):
                jobs.append(pool.submit(made.change, finished(made, number)))
                waiting(made, len(jobs))
        assert [job.result() for job in jobs] == list(range(7))
    made._db.set_trace_callback(None)
    assert len(begun) == 3


def test_who_waits_is_told_when_the_transaction_is_broken_off(made):
    def breaks() -> None:
        raise KeyError("a fault of ours")

    with ThreadPoolExecutor(8) as pool:
        with made.lock:
            jobs = [pool.submit(made.change, breaks)]
            waiting(made, 1)
            jobs.append(pool.submit(made.change, finished(made, 1)))
            waiting(made, 2)
        said = [job.exception() for job in jobs]
    assert {type(error) for error in said} == {KeyError, StoreError}
    assert made.change(finished(made, 2)) == 2
    assert numbers(made) == [2]


def test_a_closed_one_says_so(made):
    made.close()
    with pytest.raises(StoreError, match="this spool was closed"):
        made.change(finished(made, 1))
    with pytest.raises(sqlite3.ProgrammingError):
        made._db.execute("SELECT 1")
