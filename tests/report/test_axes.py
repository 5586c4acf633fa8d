from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedmed.report.axes import Axis, span

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(NUMBERS, min_size=1), st.booleans())
def test_an_axis_holds_its_values_and_has_a_few_ticks_inside(values, whole):
    low, high = span(values)
    axis = Axis("", low, high, 0.0, 100.0, whole=whole)
    assert all(-1e-6 <= axis.place(value) <= 100 + 1e-6 for value in values)
    ticks = [value for value, _ in axis.ticks()]
    assert all(-1e-6 <= axis.place(value) <= 100 + 1e-6 for value in ticks if not whole)
    assert len(ticks) <= 9
    assert whole or len(ticks) >= 2


@given(st.integers(1, 5000))
def test_an_axis_of_rounds_names_the_first_round_and_whole_rounds_alone(last):
    ticks = Axis("", 0.5, last + 0.5, 0.0, 100.0, whole=True).ticks()
    assert ticks[0][0] >= 1
    assert all(value == int(value) for value, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


def test_bounds_are_never_left():
    assert span([0.2, 0.99], 0.0, 1.0)[1] == 1.0
    assert span([], 0.0) == (0.0, 1.06)
