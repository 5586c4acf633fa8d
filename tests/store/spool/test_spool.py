from __future__ import annotations

import gc
import threading
from contextlib import suppress

import pytest

from fedmed.errors import DataError, StoreError
from fedmed.store.spool import commits, opening
from fedmed.store.spool.entry import INSTANCE, KINDS, REAL_TIME, RESULT, SERIES, STUDY, SpoolFull
from fedmed.store.spool.quota import DAY_S, Policy, Quota
from tests.store.spool.spools import KEY, START, Clock, Told, as_killed, new, opened


@pytest.fixture
def spool(tmp_path):
    with opened(tmp_path / "s") as made:
        yield made


def test_a_full_spool_makes_room_as_its_policy_says_and_tells_what_went(tmp_path):
    told, quota = Told(), Quota(bytes=16 * 4096, policy=Policy.LOWER, reserve=0.25, ballast=0)
    with opened(tmp_path / "s", quota, told=told) as spool:
        spool.put(*(new(f"{n}", group=f"g{n}", priority=10, n=n) for n in range(12)))
        worked_on = spool.next([INSTANCE], START)
        with pytest.raises(SpoolFull, match="the spool is full"):
            spool.put(new("another", priority=10))
        spool.put(*(new(f"urgent {n}", priority=20) for n in range(3)))
        assert [(entry.facts["n"], reason) for entry, reason in told.drops] == [(n, "outranked") for n in (1, 2, 3)]
        spool.put(*(new(f"beside the patient {n}", priority=REAL_TIME) for n in range(4)))
        assert len(told.drops) == 3
        assert spool.content(worked_on) == b"0"
        counts = spool.counts()
        assert (counts.dropped, counts.untold, counts.used) == ({"outranked": 3}, 0, quota.bytes)


def test_what_nobody_took_note_of_is_told_again_also_after_a_crash(tmp_path):
    told, quota = Told(), Quota(bytes=1 << 16, reserve=0, ballast=0)

    def deaf(entry, reason):
        raise StoreError("the audit log cannot be written")

    with opened(tmp_path / "s", quota, told=deaf) as spool:
        spool.put(*(new(f"{n}", priority=1) for n in range(16)))
        assert spool.put(new("first", priority=2))[0].is_new
        assert spool.counts().untold == 1
        assert spool.put(new("second", priority=2))[0].is_new
        assert spool.counts().untold == 2
    with opened(tmp_path / "s", quota, told=told) as spool:
        assert told.numbers == [(1, "outranked"), (2, "outranked")]
        assert spool.counts().untold == 0
    with opened(tmp_path / "s", quota, told=told):
        assert len(told.drops) == 2


def test_of_several_that_do_not_all_fit_none_is_kept(tmp_path):
    with opened(tmp_path / "s", Quota(bytes=1 << 16, reserve=0, ballast=0)) as spool:
        with pytest.raises(SpoolFull):
            spool.put(*(new(bytes([n]) * 20_000) for n in range(4)))
        assert sum(spool.counts().entries.values()) == 0
        with pytest.raises(DataError):
            spool.put(new("fine"), new("not", kind="image"))
        assert spool.next(KINDS, START) is None


def test_a_step_that_does_not_fit_leaves_its_entry_to_be_deferred(tmp_path):
    with opened(tmp_path / "s", Quota(bytes=1 << 16, reserve=0, ballast=0)) as spool:
        spool.put(new("x"))
        entry = spool.next([INSTANCE], START)
        with pytest.raises(SpoolFull):
            spool.turn(entry.number, new(bytes(70_000), kind=RESULT))
        assert spool.next([INSTANCE], START) is None
        spool.defer([entry.number], START + 60, "no room for the result")
        assert spool.counts().deferred == {"no room for the result": 1}
        assert spool.next([INSTANCE], START + 59) is None
        assert spool.next([INSTANCE], START + 60) == entry


def test_the_same_content_is_kept_once_of_each_kind_and_known_until_the_days_are_over(tmp_path):
    clock = Clock()
    with opened(tmp_path / "s", Quota(days=7, ballast=0), clock) as spool:
        first, again, other = spool.put(new("x"), new("x", group="h"), new("x", kind=STUDY))
        assert (first.is_new, again.is_new, other.is_new) == (True, False, True)
        assert again.entry == first.entry
        spool.done(first.entry.number)
        clock.time += 6.9 * DAY_S
        late = spool.put(new("x"))[0]
        assert (late.is_new, late.entry.number) == (False, first.entry.number)
        clock.time += 0.2 * DAY_S
        assert spool.put(new("x"))[0].is_new


def test_what_was_dropped_can_come_again(spool):
    number = spool.put(new("x"))[0].entry.number
    spool.drop(number, "no DICOM")
    assert spool.counts().dropped == {"no DICOM": 1}
    assert spool.put(new("x"))[0].is_new


def test_a_wait_ends_when_the_clock_was_set_back(spool):
    spool.put(new("x"))
    entry = spool.next([INSTANCE], START)
    spool.defer([entry.number], START + 10**9, "the hub is away")
    assert spool.next([INSTANCE], START + DAY_S - 1) is None
    assert spool.next([INSTANCE], START - 3600) == entry


def test_an_entry_that_is_gone_says_so(spool):
    entry = spool.put(new("x"))[0].entry
    spool.done(entry.number)
    spool.done(entry.number)
    with pytest.raises(StoreError, match="was finished with, or dropped"):
        spool.content(entry)
    with pytest.raises(StoreError, match="a step is made once"):
        spool.turn(entry.number)


def test_a_closed_spool_says_so_and_is_not_taken_to_be_damaged(tmp_path):
    spool = opened(tmp_path / "s")
    spool.close()
    spool.close()
    with pytest.raises(StoreError, match="this spool was closed"):
        spool.put(new("x"))
    with opened(tmp_path / "s") as again:
        assert again.rescued is None


def test_many_threads_put_and_take_and_each_entry_is_handed_to_one(tmp_path):
    with opened(tmp_path / "s") as spool:
        handed: list[int] = []
        threads, each = 4, 25

        def fill(thread: int) -> None:
            for n in range(each):
                spool.put(new(f"{thread} {n}", group=f"g{thread}"))

        def take() -> None:
            while len(handed) < threads * each:
                if (entry := spool.next([INSTANCE], START)) is not None:
                    spool.turn(entry.number, new(b"of " + spool.content(entry), entry.group, RESULT))
                    handed.append(entry.number)

        running = [threading.Thread(target=fill, args=(n,)) for n in range(threads)]
        running += [threading.Thread(target=take) for _ in range(2)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert sorted(handed) == sorted(set(handed))
        assert spool.counts().entries == {INSTANCE: 0, SERIES: 0, RESULT: threads * each, STUDY: 0, "update": 0}


def test_a_log_of_any_length_is_carried_over(tmp_path):
    with opened(tmp_path / "s") as spool:
        for n in range(12):
            spool.put(new(bytes([n]) * 1_000_000))
        assert (tmp_path / "s" / "spool.db-wal").stat().st_size < 8 << 20
        for n in range(12):
            entry = spool.next([INSTANCE], START)
            assert spool.content(entry) == bytes([n]) * 1_000_000
            spool.done(entry.number)


def test_entries_behind_a_number_are_read_by_nobodys_hand_and_a_line_is_known(spool):
    assert not spool.has(SERIES, "a")
    put = spool.put(*(new(f"{n}", group="ab"[n % 2], kind=SERIES, n=n) for n in range(6)), new("other"))
    numbers = [each.entry.number for each in put]
    assert [entry.facts["n"] for entry in spool.later(SERIES, 0)] == list(range(6))
    assert [entry.facts["n"] for entry in spool.later(SERIES, numbers[2], most=2)] == [3, 4]
    assert spool.later(SERIES, numbers[5]) == []
    assert (spool.has(SERIES, "a"), spool.has(INSTANCE, "a"), spool.has(INSTANCE, "g")) == (True, False, True)
    assert spool.next([SERIES], START) is not None  # nothing of them was handed out


def test_what_came_of_several_is_put_and_they_are_finished_together_or_not_at_all(spool):
    numbers = [put.entry.number for put in spool.put(*(new(f"{n}", kind=SERIES) for n in range(3)))]
    with pytest.raises(StoreError, match="of 3 entries 2 are not in the spool"):
        spool.turn_all([*numbers[:2], 99], new("result", kind=RESULT))
    assert len(spool.later(SERIES, 0)) == 3
    assert spool.counts().entries[RESULT] == 0
    assert spool.turn_all(numbers[:2], new("result", kind=RESULT), new("note", kind=SERIES))[0].is_new
    assert [spool.content(entry) for entry in spool.later(SERIES, 0)] == [b"2", b"note"]
    assert not spool.put(new("0", kind=SERIES))[0].is_new  # it was finished with
    assert spool.turn_all([], new("alone"))[0].is_new


def test_an_entry_that_the_disk_changed_is_dropped_and_told_when_those_behind_a_number_are_read(tmp_path):
    told = Told()
    with opened(tmp_path / "s", told=told) as spool:
        spool.put(*(new(f"{n}", kind=SERIES) for n in range(3)))
        spool._commits._db.execute("UPDATE entries SET head = X'00' WHERE number = 2")
        assert [entry.number for entry in spool.later(SERIES, 0)] == [1, 3]
        assert told.numbers == [(2, "damaged")]


@pytest.fixture
def no_collector():
    """What only Python's collector of cycles would end stays as it is."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_what_found_no_room_holds_up_nothing_that_comes_after_it(tmp_path, no_collector, monkeypatch):
    monkeypatch.setattr(opening, "LOG_BYTES", 1 << 18)
    with opened(tmp_path / "s", Quota(bytes=1 << 20, ballast=0, reserve=0)) as spool:
        with suppress(SpoolFull):
            for number in range(100):
                spool.put(new(f"{number} " + 40_000 * "x", priority=REAL_TIME))
        for number in range(3):
            with pytest.raises(SpoolFull):
                spool.put(new(f"less urgent {number}" + 40_000 * "x", kind=STUDY, priority=0))
        while entry := spool.next((INSTANCE,), START):
            spool.done(entry.number)
        for number in range(30):  # as many as fill the log several times
            [put] = spool.put(new(f"after {number} " + 40_000 * "x", priority=REAL_TIME))
            spool.done(put.entry.number)
    with opened(tmp_path / "s") as again:  # nothing holds the database any more
        assert again.counts().entries == dict.fromkeys(KINDS, 0)


def test_an_error_holds_no_content_once_it_was_seen(tmp_path, no_collector):
    with opened(tmp_path / "s", Quota(bytes=1 << 16, ballast=0)) as spool:
        with pytest.raises(SpoolFull):
            spool.put(new(b"x" * 70_000))
        assert not [each for each in gc.get_objects() if type(each) is commits._Job]


@pytest.mark.parametrize("key", [None, KEY])
def test_an_entry_of_another_priority_keeps_its_place_in_its_group_and_is_whole_after_a_crash(tmp_path, key):
    with opened(tmp_path / "s", key=key) as spool:
        spool.put(*(new(f"{n}", group=f"g{n % 2}", priority=REAL_TIME, n=n) for n in range(4)))
        taken = spool.next([INSTANCE], START)
        spool.rank(taken.number, 10)
        spool.rank(999, 10)  # one that is not here any more
        again = as_killed(tmp_path / "s", tmp_path / "again")
    with opened(again, key=key) as spool:
        found = spool.later(INSTANCE, 0)
        assert [(each.priority, each.facts["n"]) for each in found] == [(10, 0), (40, 1), (40, 2), (40, 3)]
        assert [spool.content(each) for each in found] == [b"0", b"1", b"2", b"3"]
        order = []
        while (entry := spool.next([INSTANCE], START)) is not None:
            order.append(entry.facts["n"])
            spool.done(entry.number)
        assert order == [1, 3, 0, 2]
