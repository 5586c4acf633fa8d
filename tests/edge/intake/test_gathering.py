import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedmed.dicom.arrivals import Kept
from fedmed.edge.intake.gathering import Gathering
from fedmed.errors import StoreError


class Store:
    """Keeps batches; each waits until it is let go."""

    def __init__(self, gate: threading.Semaphore | None = None) -> None:
        self.batches: list[list[bytes]] = []
        self.gate, self.writing, self.fails = gate, 0, None

    def keep_many(self, instances):
        self.writing += 1
        assert self.writing == 1, "two transactions at once"
        if self.gate:
            assert self.gate.acquire(timeout=20)
        self.writing -= 1
        if self.fails:
            raise self.fails
        self.batches.append([content for content, _ in instances])
        return [Kept(content != b"old") for content, _ in instances]


def test_one_at_a_time_is_one_transaction_each():
    store = Store()
    gathering = Gathering(store.keep_many)
    assert [gathering.keep(content, {}).is_new for content in (b"a", b"old", b"b")] == [True, False, True]
    assert store.batches == [[b"a"], [b"old"], [b"b"]]


def waiting(gathering: Gathering, count: int) -> None:
    for _ in range(2000):
        if len(gathering._queue) == count:
            return
        threading.Event().wait(0.005)
    pytest.fail("they do not wait")


def test_who_waits_while_another_writes_shares_the_next_transaction():
    store = Store(threading.Semaphore(0))
    gathering = Gathering(store.keep_many)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(gathering.keep, b"first", {})
        waiting(gathering, 0)
        while not store.writing:
            threading.Event().wait(0.005)
        others = [pool.submit(gathering.keep, b"old" if number == 3 else b"new", {}) for number in range(6)]
        waiting(gathering, 6)
        store.gate.release(2)
        assert first.result(20).is_new
        assert sum(other.result(20).is_new for other in others) == 5
        assert not others[3].result().is_new
    assert [len(batch) for batch in store.batches] == [1, 6]


@pytest.mark.parametrize("caps", [{"most": 4}, {"most_bytes": 8}])
def test_a_transaction_is_capped(caps):
    store = Store(threading.Semaphore(0))
    gathering = Gathering(store.keep_many, **caps)
    with ThreadPoolExecutor(12) as pool:
        jobs = [pool.submit(gathering.keep, b"ab", {})]
        while not store.writing:
            threading.Event().wait(0.005)
        jobs += [pool.submit(gathering.keep, b"ab", {}) for _ in range(10)]
        waiting(gathering, 10)
        store.gate.release(20)
        assert all(job.result(20).is_new for job in jobs)
    assert [len(batch) for batch in store.batches] == [1, 4, 4, 2]


@pytest.mark.parametrize(("fault", "seen"), [(StoreError("full"), StoreError), (OSError(28, "full"), OSError)])
def test_a_transaction_that_fails_fails_for_all_of_it_and_no_other(fault, seen):
    store = Store(threading.Semaphore(0))
    gathering = Gathering(store.keep_many)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(gathering.keep, b"a", {})]
        while not store.writing:
            threading.Event().wait(0.005)
        jobs += [pool.submit(gathering.keep, b"b", {}) for _ in range(2)]
        waiting(gathering, 2)
        store.gate.release()
        assert jobs[0].result(20).is_new
        store.fails = fault
        store.gate.release()
        for job in jobs[1:]:
            with pytest.raises(seen):
                job.result(20)
    store.gate, store.fails = None, None
    assert gathering.keep(b"c", {}).is_new


def test_what_nobody_expected_does_not_leave_the_others_waiting():
    store = Store(threading.Semaphore(0))
    gathering = Gathering(store.keep_many)
    with ThreadPoolExecutor(4) as pool:
        store.fails = ZeroDivisionError()
        first = pool.submit(gathering.keep, b"a", {})
        while not store.writing:
            threading.Event().wait(0.005)
        second = pool.submit(gathering.keep, b"b", {})
        waiting(gathering, 1)
        store.gate.release(2)
        with pytest.raises(ZeroDivisionError):
            first.result(20)
        with pytest.raises(ZeroDivisionError):
            second.result(20)


def test_many_threads_lose_nothing():
    store = Store()
    gathering = Gathering(store.keep_many)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: gathering.keep(b"%d" % number, {}), range(500)))
    assert sorted(content for batch in store.batches for content in batch) == sorted(b"%d" % n for n in range(500))
