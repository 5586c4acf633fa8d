from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.twin.planning.nodes import nodes, side_by_side

DAY_S = 86_400
TASK, RATE = 100e12 * DAY_S, 0.7 * 500e12


def test_seven_tasks_of_a_hundred_tflops_days_in_a_day_take_three_nodes():
    assert nodes(7 * TASK, RATE, DAY_S) == 3  # two, and a fifth to spare
    assert nodes(7 * TASK, RATE, DAY_S, spare=1.0) == 2
    assert nodes(7 * TASK, RATE, 7 * DAY_S) == 1


@given(st.floats(1, 1e18), st.floats(1e6, 1e17), st.floats(1, 1e7))
def test_so_many_are_enough_and_one_fewer_are_not(operations, rate, seconds):
    found = nodes(operations, rate, seconds)
    assert found * rate * seconds >= 1.2 * operations * (1 - 1e-9)
    assert found == 1 or (found - 1) * rate * seconds < 1.2 * operations


def test_no_time_is_refused_and_lines_that_leave_none_are_told():
    with pytest.raises(ValueError, match="allowed: more than none"):
        nodes(1, 1, 0)
    assert side_by_side(100, 0) is None
    assert side_by_side(100, 100) == 1
    assert side_by_side(100, 50) == 3
