from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.twin.calendar import Calendar
from fedmed.twin.clock import MONDAY, VirtualClock


@given(st.lists(st.integers(0, 5).map(float)))
def test_what_is_due_comes_in_order_and_ties_as_they_were_entered(moments):
    calendar = Calendar()
    for place, at in enumerate(moments):
        calendar.enter(at, place)
    taken = [calendar.take() for _ in moments]
    assert taken == sorted((at, place) for place, at in enumerate(moments))
    assert (len(calendar), calendar.next_at()) == (0, math.inf)


@pytest.mark.parametrize("at", [math.inf, math.nan, -math.inf])
def test_what_never_comes_is_not_entered(at):
    with pytest.raises(ValueError, match="finite moment"):
        Calendar().enter(at, "never")


def test_time_goes_on_through_the_calendar_alone():
    clock, seen = VirtualClock(), []
    clock.calendar.enter(5.0, lambda: seen.append(clock.now()))
    clock.calendar.enter(9.0, lambda: seen.append(clock.now()))
    clock.sleep(4.0)
    assert (clock.now(), clock.unix(), seen) == (4.0, MONDAY + 4.0, [])
    clock.sleep(1.0)
    assert seen == [5.0]
    clock.go_to(1.0)
    assert clock.now() == 5.0


def test_what_is_done_may_enter_more_and_sleep_itself():
    clock, seen = VirtualClock(), []

    def first():
        clock.calendar.enter(clock.now() + 1, lambda: seen.append(clock.now()))
        clock.sleep(2.0)

    clock.calendar.enter(1.0, first)
    clock.sleep(2.0)
    assert (seen, clock.now()) == ([2.0], 3.0)


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_nobody_sleeps_backwards_or_for_ever(seconds):
    with pytest.raises(ValueError, match="a sleep of"):
        VirtualClock().sleep(seconds)
