from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import UpdateRefused
from fedmed.federation.updates import WEIGHT_KEY, check, check_numbers, check_scores, distance, is_finite

MODEL = {
    "w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "b": np.zeros(4, np.float64),
    "seen": np.array(7, np.int64),
    "mask": np.array([True, False]),
}


def update(**changes):
    return {name: value for name, value in ({k: v.copy() for k, v in MODEL.items()} | changes).items() if value is not None}


def refused(tensors=None, weight=10, declared=10.0, max_norm=None, **metrics) -> str:
    with pytest.raises(UpdateRefused) as caught:
        check(update() if tensors is None else tensors, MODEL, {WEIGHT_KEY: weight, **metrics}, declared, max_norm)
    return str(caught.value)


def test_an_honest_update_passes():
    check(update(w=MODEL["w"] + 1), MODEL, {WEIGHT_KEY: 10, "loss": math.nan, "each": [0.1, 0.2]}, 10, None)
    check(update(), MODEL, {WEIGHT_KEY: 9.5}, 10, 1e-9)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["w", "b"])
def test_one_value_that_is_not_finite_is_refused_and_counted(name, value):
    bad = update()
    bad[name].reshape(-1)[2] = value
    assert refused(bad) == f"1 of {bad[name].size} values of tensor {name!r} are not finite (NaN or infinite)"


@given(
    st.sampled_from(["float16", "float32", "float64"]), st.integers(0, 9), st.sampled_from([math.nan, math.inf, -math.inf])
)
def test_wherever_it_stands_it_is_found(dtype, place, value):
    values = np.full((2, 5), np.finfo(dtype).max, dtype)  # whose squares overflow: no excuse
    assert is_finite(values)
    values.reshape(-1)[place] = value
    assert not is_finite(values)
    assert not is_finite(values[:, ::-1])


def test_integers_and_nothing_are_finite():
    assert is_finite(np.array([2**62]))
    assert is_finite(np.zeros((0, 3), np.float32))
    assert is_finite(np.array(1.5, np.float32))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"w": np.zeros((4, 3), np.float32)}, "tensor 'w' is float32 [4, 3]; allowed: float32 [3, 4]"),
        ({"w": np.zeros(12, np.float32)}, "tensor 'w' is float32 [12]; allowed: float32 [3, 4]"),
        ({"w": np.zeros((3, 4), np.float64)}, "tensor 'w' is float64 [3, 4]; allowed: float32 [3, 4]"),
        ({"seen": np.array([7])}, "tensor 'seen' is int64 [1]; allowed: int64 []"),
        ({"seen": np.array(7.0)}, "tensor 'seen' is float64 []; allowed: int64 []"),
        ({"b": None}, "the update's tensors are not the model's: it lacks b"),
        ({"extra": np.zeros(1)}, "the update's tensors are not the model's: it has unknown extra"),
        ({"b": None, "c": np.zeros(4)}, "the update's tensors are not the model's: it lacks b and has unknown c"),
    ],
)
def test_another_layout_is_refused(changes, said):
    assert refused(update(**changes)) == said


def test_no_tensors_at_all_are_refused():
    assert "lacks b, mask, seen" in refused({})


def test_a_thousand_unknown_names_do_not_fill_the_log():
    assert len(refused(update(**{f"x{i}": np.zeros(1) for i in range(1000)}))) < 200


@pytest.mark.parametrize(
    "weight", [0, -1, 11, 10.001, math.nan, math.inf, -math.inf, 10**400, None, "10", [10], 2**63, float("1e308")]
)
def test_a_weight_that_is_not_the_site_s_own_is_refused(weight):
    said = refused(weight=weight)
    assert WEIGHT_KEY in said
    assert len(said) < 200


def test_a_missing_weight_is_refused():
    with pytest.raises(UpdateRefused, match="num-examples is None; allowed: above 0 and at most the 10 cases declared"):
        check(update(), MODEL, {"loss": 0.1}, 10, None)


def test_a_whole_number_that_no_float_holds_is_refused():
    assert refused(loss=10**400) == "metric 'loss' is a number of 401 digits; allowed: 64-bit numbers"
    assert "each" in refused(each=[1, -(10**30)])
    check_numbers({"n": 2**63 - 1, "x": 1e308, "y": math.nan, "each": []})


@pytest.mark.parametrize("names", [["\udcff"], ["a\nb"], ["x" * 101], [f"m{i}" for i in range(101)]])
def test_metrics_that_no_report_could_show_are_refused(names):
    with pytest.raises(UpdateRefused, match="allowed: 100, of printable names"):
        check_numbers(dict.fromkeys(names, 1.0))


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf, None, [4]])
def test_scores_need_a_weight_too(weight):
    with pytest.raises(UpdateRefused, match="number of validation cases"):
        check_scores({WEIGHT_KEY: weight})


def test_scores_of_no_case_are_allowed():
    check_scores({WEIGHT_KEY: 0, "loss": math.nan})


@given(st.floats(0.01, 100), st.floats(0.1, 10))
def test_the_norm_is_bounded(length, bound):
    direction = np.ones((3, 4), np.float32) / math.sqrt(12)
    far = update(w=MODEL["w"] + np.float32(length) * direction)
    assert distance(far, MODEL) == pytest.approx(length, rel=1e-3)
    if length > bound * 1.01:
        assert f"allowed: at most {bound:g}" in refused(far, max_norm=bound)
    elif length < bound * 0.99:
        check(far, MODEL, {WEIGHT_KEY: 1}, 10, bound)


def test_the_norm_runs_over_all_tensors():
    far = update(b=np.array([3.0, 0, 0, 0]), seen=np.array(11), mask=np.array([True, True]))
    assert distance(far, MODEL) == pytest.approx(math.sqrt(9 + 16 + 1))


def test_a_finite_update_too_large_to_be_summed_is_refused():
    for size, dtype in ((1e200, np.float64), (3e38, np.float32), (-3e38, np.float32)):
        name = "b" if dtype is np.float64 else "w"
        like = update()[name]
        assert "allowed: up to 1e+28" in refused(update(**{name: np.full(like.shape, size, dtype)}))
    huge = np.full((3, 4), 3e20, np.float32)
    assert "allowed: at most 1e+06" in refused(update(w=huge), max_norm=1e6)
