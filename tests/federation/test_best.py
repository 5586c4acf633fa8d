from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmed.federation.best import Best

VALUES = st.none() | st.floats() | st.sampled_from([0.5, 0.75, 1.0])


def model(number: int):
    return {"w": np.full(3, number, np.float32)}


def after(values, best=None, first=1):
    best = best or Best("auc")
    for number, value in enumerate(values, first):
        best = best.after(number, {"auc": value, "auc_error": 0.01}, model(number))
    return best


@given(st.lists(VALUES, max_size=12))
def test_it_is_the_earliest_of_the_highest_and_never_a_round_without_a_value(values):
    known = [(value, -number) for number, value in enumerate(values, 1) if value is not None and math.isfinite(value)]
    best = after(values)
    if not known:
        assert (best.round, best.value, best.model) == (None, None, {})
        return
    value, number = max(known)
    assert (best.round, best.value, best.error) == (-number, value, 0.01)
    assert best.model["w"].tolist() == [float(-number)] * 3


@given(st.lists(VALUES, min_size=1, max_size=12), st.data())
def test_taken_up_again_it_is_the_same(values, data):
    stop = data.draw(st.integers(0, len(values)))
    before = after(values[:stop])
    again = after(values[stop:], Best.of(before.record(), before.model), stop + 1)
    assert again.record() == after(values).record()
    assert {k: v.tolist() for k, v in again.model.items()} == {k: v.tolist() for k, v in after(values).model.items()}


def test_it_keeps_a_copy_and_looks_at_its_own_measure_alone():
    given_model = model(1)
    best = Best("dice").after(1, {"auc": 0.9}, model(1)).after(2, None, model(1)).after(3, {"dice": 0.25}, given_model)
    given_model["w"][:] = 9
    assert (best.round, best.value, best.error) == (3, 0.25, None)
    assert best.model["w"].tolist() == [1.0] * 3
