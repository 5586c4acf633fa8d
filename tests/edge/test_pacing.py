from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.edge.pacing import (
    BURST_S,
    DAY_MIN,
    LEAVING,
    Ask,
    Pace,
    QuietHours,
    asks,
    full,
    minute_of_day,
    quiet_s,
    sent,
    wait_s,
)
from fedmed.errors import ConfigError
from fedmed.store.spool.entry import INSTANCE, REAL_TIME

REAL = Ask(LEAVING, REAL_TIME)
ALL = (REAL, Ask(("result",)), Ask(("study",)), Ask(("update",)))
NIGHT = QuietHours.parse("22:00-06:00")
minutes = st.integers(0, DAY_MIN - 1)


def test_without_limits_all_may_go_real_time_first_then_results_studies_updates():
    pace = Pace()
    assert asks(pace, sent(pace, full(pace, 0.0), 10**12, 1.0), 1.0, 0) == ALL
    assert INSTANCE not in LEAVING


def test_in_quiet_hours_studies_and_updates_wait():
    pace = Pace(quiet=(NIGHT,))
    assert asks(pace, full(pace, 0.0), 0.0, 22 * 60) == ALL[:2]
    assert asks(pace, full(pace, 0.0), 0.0, 6 * 60 - 1) == ALL[:2]
    assert asks(pace, full(pace, 0.0), 0.0, 6 * 60) == ALL
    assert asks(pace, full(pace, 0.0), 0.0, 22 * 60 - 1) == ALL


def test_above_the_cap_only_real_time_work_goes_and_all_again_when_it_is_made_up_for():
    pace = Pace(bytes_per_s=1000)
    bucket = sent(pace, full(pace, 50.0), 7000, 50.0)
    assert asks(pace, bucket, 50.0, 0) == (REAL,)
    assert wait_s(pace, bucket, 50.0) == pytest.approx(5.001)
    assert asks(pace, bucket, 54.9, 0) == (REAL,)
    assert asks(pace, bucket, 55.01, 0) == ALL


def test_a_clock_that_goes_backwards_takes_nothing_away():
    pace = Pace(bytes_per_s=1000)
    assert sent(pace, full(pace, 100.0), 0, 10.0).level == pace.burst


@given(
    rate=st.integers(1, 10**6),
    pieces=st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 100, width=32)), max_size=60),
)
def test_in_any_span_no_more_leaves_than_the_cap_a_burst_and_a_piece(rate, pieces):
    pace, now = Pace(bytes_per_s=rate), 0.0
    bucket, left = full(pace, now), list[tuple[float, int]]()
    for size, pause in pieces:
        now += pause
        if wait_s(pace, bucket, now) == 0:
            bucket = sent(pace, bucket, size, now)
            left.append((now, size))
    for first in range(len(left)):
        total = 0
        for at, size in left[first:]:
            total += size
            span = at - left[first][0]
            assert total <= BURST_S * rate + rate * span + max(piece for _, piece in left) + 1


@given(rate=st.integers(1, 10**6), size=st.integers(0, 10**9))
def test_after_the_wait_it_may_go(rate, size):
    pace = Pace(bytes_per_s=rate)
    bucket = sent(pace, full(pace, 0.0), size, 0.0)
    assert len(asks(pace, bucket, wait_s(pace, bucket, 0.0) + 1e-6, 0)) == len(ALL)


@given(begins=minutes, length=st.integers(1, DAY_MIN - 1), minute=minutes)
def test_quiet_hours_cover_their_length_and_end_when_they_say(begins, length, minute):
    ends = (begins + length) % DAY_MIN
    span = QuietHours(begins, ends)
    assert sum(span.covers(one) for one in range(DAY_MIN)) == length
    pace = Pace(quiet=(span,))
    wait = quiet_s(pace, minute)
    assert not pace.is_quiet((minute + int(wait) // 60) % DAY_MIN)
    assert wait == (60 * ((ends - minute) % DAY_MIN) if span.covers(minute) else 0)


def test_a_whole_day_of_quiet_never_ends():
    pace = Pace(quiet=(QuietHours.parse("00:00-24:00"),))
    assert math.isinf(quiet_s(pace, 300))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22-6",
        "22:00",
        "25:00-01:00",
        "22:60-01:00",
        "06:00-06:00",
        "24:00-06:00",
        "00:00-24:01",
        "٢٢:00-06:00",
        "1:00-2:00",
    ],
)
def test_quiet_hours_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="quiet hours"):
        QuietHours.parse(text)


def test_a_cap_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="1 or more"):
        Pace(bytes_per_s=0)


def test_the_minute_of_the_day_is_local():
    assert minute_of_day(86400 * 3 + 60 * 10, 0) == 10
    assert minute_of_day(86400 * 3, -3600) == 23 * 60
    assert minute_of_day(86400 * 3, 5.75 * 3600) == 345
