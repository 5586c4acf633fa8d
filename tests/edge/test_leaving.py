from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedmed.edge.leaving import CALLS, Call, Leaving, speed
from fedmed.store.spool.entry import KINDS, Counts

COUNTS = Counts(dict.fromkeys(KINDS, 2), dict.fromkeys(KINDS, 600), 0, {}, {}, 0, 0, None)


def test_time_with_two_calls_under_way_counts_once_and_time_with_none_not_at_all():
    calls = (Call(0.0, 2.0, 100), Call(1.0, 3.0, 100), Call(10.0, 11.0, 200))
    assert speed(calls) == 100.0
    assert speed(()) is None
    assert speed((Call(1.0, 1.0, 100),)) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.001, 1e3), st.integers(1, 1 << 22)), min_size=1, max_size=20))
def test_it_is_never_slower_than_all_calls_in_a_row_nor_faster_than_all_at_once(found):
    calls = tuple(Call(began, began + took, size) for began, took, size in found)
    size = sum(each.size for each in calls)
    least, most = (
        size / sum(each.ended - each.began for each in calls),
        size / max(each.ended - each.began for each in calls),
    )
    per_s = speed(calls)
    assert per_s is not None
    assert least * (1 - 1e-6) <= per_s <= most * (1 + 1e-6)


def test_what_waits_is_told_with_the_speed_of_the_last_calls():
    leaving = Leaving()
    assert leaving.told(COUNTS, None) == {"entries": 4, "bytes": 1200, "bytes_per_s": None, "left_s": None}
    leaving.took(Call(0.0, 1000.0, 1))
    for number in range(CALLS):
        leaving.took(Call(1000.0 + number, 1000.5 + number, 50))
    assert leaving.told(COUNTS, None) == {"entries": 4, "bytes": 1200, "bytes_per_s": 100, "left_s": 12.0}
    assert leaving.told(COUNTS, 10.0)["left_s"] == 120.0
