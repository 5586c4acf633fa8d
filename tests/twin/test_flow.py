from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.twin.flow import SPANS, Flow

MESSAGES = st.lists(
    st.tuples(st.floats(0, 5000), st.floats(0, 5000), st.floats(0, 1e6)).map(lambda m: (min(m[:2]), max(m[:2]), m[2])),
    max_size=20,
)


def columns(messages: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    begins, ends, sizes = (np.array([each[place] for each in messages]) for place in range(3))
    return begins, ends, sizes


@given(MESSAGES, MESSAGES)
def test_no_byte_comes_from_nowhere_and_none_is_lost(first, second):
    flow = Flow()
    for messages in (first, second):
        flow.add("up", *columns(messages))
    total = sum(size for _, _, size in [*first, *second])
    assert sum(flow.bytes["up"]) == pytest.approx(total)
    assert flow.bytes["up"].min() >= 0
    assert sum(flow.bytes["down"]) == 0


def test_a_message_is_spread_evenly_and_one_without_time_is_in_its_span():
    flow = Flow()
    flow.add("down", np.array([0.5]), np.array([2.5]), 8.0)
    flow.add("up", np.array([3.25]), np.array([3.25]), 5.0)
    assert flow.told() == {"step_s": 1.0, "down": [2.0, 4.0, 2.0, 0.0], "up": [0.0, 0.0, 0.0, 5.0]}
    assert flow.told(2.0) == {"step_s": 1.0, "down": [2.0, 4.0], "up": [0.0, 0.0]}


def test_spans_grow_with_the_time_that_is_covered():
    flow = Flow()
    flow.add("down", np.array([0.0]), np.array([2.0]), 4.0)
    flow.add("down", np.array([0.0]), np.array([SPANS * 3.0]), 6.0)
    assert flow.step == 4
    assert flow.bytes["down"][0] == pytest.approx(4 + 4 * 6 / (SPANS * 3))


def test_what_never_ends_is_left_out():
    flow = Flow()
    flow.add("up", np.array([0.0, np.inf, 1.0]), np.array([np.inf, np.inf, 2.0]), 7.0)
    assert flow.told() == {"step_s": 1.0, "down": [0.0, 0.0], "up": [0.0, 7.0]}
    assert Flow().told() == {"step_s": 1.0, "down": [], "up": []}
