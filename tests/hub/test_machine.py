from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.hub.machine import (
    DAY_S,
    Back,
    Beat,
    Called,
    Ended,
    Gone,
    Look,
    Lost,
    Refused,
    Share,
    Skewed,
    State,
    step,
    told,
)

SHARE = Share(day_bytes=1000, open_bytes=1000, at_once=2)
T = 1_790_000_000.0


def after(*events, state: State | None = None):
    state, all_of_it = state or State(), []
    for event in events:
        state, todo = step(state, event, SHARE, 20)
        all_of_it += todo
    return state, all_of_it


def beat(name="echo", now=0.0, off=0.0) -> Beat:
    return Beat(name, "0.1", "idle", {}, T + now + off, T + now, now)


def test_a_device_is_lost_after_three_periods_and_once():
    state, todo = after(beat(), beat("mri", 30), Look(T + 60, 60.0))
    assert todo == [Back("echo", True), Back("mri", True)]
    state, todo = after(Look(T + 61, 61.0), Look(T + 70, 70.0), state=state)
    assert todo == [Lost("echo", 61.0)]
    assert [each.is_alive for each in state.devices.values()] == [False, True]
    assert after(beat(now=80), state=state)[1] == [Back("echo", False)]


def test_a_clock_that_is_off_is_told_when_it_goes_off():
    _, todo = after(beat(off=400), beat(now=20, off=400), beat(now=40), beat(now=60, off=-400))
    assert todo == [Back("echo", True), Skewed("echo", 400.0), Skewed("echo", -400.0)]
    assert told(todo[1]).endswith("+400 s off this machine's; set it right")


def test_who_is_gone_is_forgotten():
    assert after(beat(), Gone("echo"), Gone("nobody"))[0].devices == {}


def test_calls_at_once_and_bytes_a_day():
    state, todo = after(Called("echo", 400, T), Called("echo", 400, T))
    assert not todo
    assert isinstance(after(Called("echo", 0, T), state=state)[1][0], Refused)
    assert not after(Called("mri", 1000, T), state=state)[1]
    state, _ = after(Ended("echo"), Ended("echo"), Ended("echo"), state=state)
    [refused] = after(Called("echo", 201, T), state=state)[1]
    assert "sent 800 bytes today" in refused.reason
    assert told(refused) == ""
    assert not after(Called("echo", 1000, T + DAY_S), state=state)[1]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 600), st.booleans()), max_size=60))
def test_no_device_ever_has_more_than_its_share(calls):
    state, under_way, sent = State(), {"a": 0, "b": 0}, {"a": 0, "b": 0}
    for name, size, ends in calls:
        if ends and under_way[name]:
            state, _ = after(Ended(name), state=state)
            under_way[name] -= 1
        state, todo = after(Called(name, size, T), state=state)
        if not todo:
            under_way[name] += 1
            sent[name] += size
        assert under_way[name] <= SHARE.at_once
        assert sent[name] <= SHARE.day_bytes
        assert (state.used.get(name) is None and todo) or state.used[name].calls == under_way[name]


@pytest.mark.parametrize("periods", [1, 2, 2.99])
def test_who_beats_in_time_is_not_lost(periods):
    assert not [each for each in after(beat(), Look(T, periods * 20))[1] if isinstance(each, Lost)]
