from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fedmed.tiers.round import Rules
from fedmed.twin.hubs import played

NEVER = math.inf
moments = st.one_of(st.just(NEVER), st.floats(10.0, 20_000.0))


def test_a_fold_is_over_with_the_last_of_devices_and_clinic():
    at, hub = played([("a", 30.0, NEVER), ("b", 20.0, NEVER), ("c", 25.0, NEVER)], 10.0, 15.0)
    assert (at, hub.joined, hub.missing) == (30.0, ("b", "c", "a"), {})
    assert played([("a", 30.0, NEVER), ("b", 20.0, NEVER), ("c", 25.0, NEVER)], 10.0, 40.0)[0] == 40.0


def test_who_says_that_it_sends_nothing_is_not_waited_for():
    at, hub = played([("a", 30.0, NEVER), ("b", 20.0, NEVER), ("c", 25.0, NEVER), ("d", NEVER, 22.0)], 10.0, 15.0)
    assert (at, set(hub.joined)) == (30.0, {"a", "b", "c"})
    assert hub.missing == {"d": "its disk was full"}


def test_who_is_never_heard_of_is_waited_for_until_the_deadline_alone():
    at, hub = played([("a", 30.0, NEVER), ("b", 20.0, NEVER), ("c", 25.0, NEVER), ("d", NEVER, NEVER)], 10.0, 15.0)
    assert 30.0 < at <= hub.deadline < NEVER
    assert (set(hub.joined), list(hub.missing)) == ({"a", "b", "c"}, ["d"])


@given(
    st.lists(st.tuples(moments, moments), min_size=1, max_size=8),
    st.floats(0.0, 10.0),
    st.floats(10.0, 20_000.0),
    st.randoms(),
)
def test_each_device_is_in_or_missing_and_the_order_in_which_they_are_told_is_none(times, heard, done, random):
    answers = [(f"d{place}", *each) for place, each in enumerate(times)]
    at, hub = played(answers, heard, done)
    assert heard <= done <= at < NEVER
    assert {*hub.joined, *hub.missing} == {name for name, _, _ in answers}
    if len({moment for pair in times for moment in pair if moment < NEVER}) == sum(m < NEVER for p in times for m in p):
        mixed = random.sample(answers, len(answers))
        again, other = played(mixed, heard, done)
        assert (again, other.joined) == (at, hub.joined)
    assert all(there <= at for name, there, _ in answers if name in hub.joined)


def test_devices_alone_hold_a_clinic_no_longer_than_its_rules_allow():
    at, _ = played([("a", NEVER, NEVER)], 0.0, 1.0)
    assert 1.0 < at <= 1.0 + Rules().after_s
