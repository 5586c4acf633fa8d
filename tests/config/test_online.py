from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.online import DAY, Group, best, minutes

spans = st.just((0, DAY)) | st.tuples(st.integers(0, DAY - 1), st.integers(0, DAY - 1)).filter(
    lambda each: each[0] != each[1]
)
groups = st.lists(st.builds(Group, st.integers(1, 200), st.floats(0.01, 1), spans), min_size=1, max_size=4)


def is_there(group, minute):
    begin, end = group.hours
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def likely(present):
    mean = sum(group.count * group.share for group in present)
    deviation = math.sqrt(sum(group.count * group.share * (1 - group.share) for group in present))
    return min(sum(group.count for group in present), math.floor(mean + 6 * deviation + 1e-6))


@given(groups)
def test_the_best_minute_is_that_of_the_whole_day(found):
    online = best(found)
    edges = {0, *(edge % DAY for group in found for edge in group.hours)}
    everyone = {minute: [group for group in found if is_there(group, minute)] for minute in edges}
    assert abs(online.hardly_more - max(map(likely, everyone.values()))) <= 1  # sums in another order may round
    present = [group for group in found if is_there(group, online.minute)]
    assert online.most == sum(group.count for group in present)
    assert math.isclose(online.mean, sum(group.count * group.share for group in present), abs_tol=1e-6)
    assert online.mean <= online.hardly_more + 1 <= online.most + 1


def test_hours_go_over_midnight():
    assert minutes("22:00-06:30") == (1320, 390)
    night, day = Group(10, 1.0, minutes("22:00-06:00")), Group(30, 1.0, minutes("07:00-19:00"))
    online = best([night, day])
    assert (online.time, online.most, online.hardly_more, online.mean) == ("07:00", 30, 30, 30.0)
    assert best([night, Group(30, 1.0, minutes("05:30-19:00"))]).most == 40


@pytest.mark.parametrize(("share", "hardly_more"), [(1.0, 100), (0.5, 80), (0.9, 100), (0.1, 28), (0.001, 1)])
def test_six_deviations_above_the_mean_are_hardly_ever_passed(share, hardly_more):
    assert best([Group(100, share, (0, DAY))]).hardly_more == hardly_more
