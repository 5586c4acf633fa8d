from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import UpdateRefused
from fedmed.outbound.subtraction import BLOCK
from fedmed.outbound.update import CASES, Change, change, left_out, values_of
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.questions import LOSS_BOUND, update_fields

MOST = 50
LAYOUT = Layout((Tensor("w", (2, 3)), Tensor("b", ())), update_fields(MOST), 32, 4, 64.0, MOST)
GIVEN = {"w": np.ones((2, 3), np.float32), "b": np.array(0.5, np.float32), "n": np.array(3)}


def made(**changes):
    answer = {"w": np.full((2, 3), 3, np.float32), "b": np.array(0.25, np.float32), "n": np.array(4)} | changes
    return {name: value for name, value in answer.items() if value is not None}


def test_the_change_is_of_the_layouts_tensors_alone():
    changes = change(LAYOUT, GIVEN, made(more=np.zeros(3))).tensors
    assert {name: value.tolist() for name, value in changes.items()} == {"w": [[2, 2, 2]] * 2, "b": -0.25}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"w": None}, r"tensor 'w': the app answers with none; allowed: float32 \[2, 3\]"),
        ({"w": np.zeros((3, 2), np.float32)}, r"answers with float32 \[3, 2\]; allowed: float32 \[2, 3\]"),
        ({"w": np.zeros((2, 3))}, r"answers with float64 \[2, 3\]; allowed: float32"),
        ({"b": np.zeros(1, np.float32)}, r"tensor 'b': the app answers with float32 \[1\]; allowed: float32 \[\]"),
    ],
)
def test_tensors_other_than_the_given_ones_are_refused(answer, why):
    with pytest.raises(UpdateRefused, match=why):
        change(LAYOUT, GIVEN, made(**answer))


def test_a_tensor_that_was_not_given_or_is_of_whole_numbers_is_refused():
    with pytest.raises(UpdateRefused, match="allowed: none"):
        change(LAYOUT, {"w": GIVEN["w"]}, made())
    whole = {**GIVEN, "w": np.ones((2, 3), np.int64)}
    with pytest.raises(UpdateRefused, match="holds int64; only floating point"):
        change(LAYOUT, whole, made(w=whole["w"]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
def test_what_is_not_finite_passes_here_with_a_norm_that_shows_it_and_is_refused_when_written(value):
    changes = change(LAYOUT, GIVEN, made(w=np.full((2, 3), value, np.float32)))
    assert not changes.norm <= 1e6
    with pytest.raises(UpdateRefused):
        LAYOUT.write(changes.tensors, 1, values_of(LAYOUT, {CASES: 1, "loss": 0.5})[1], bytes(24))


@given(st.lists(st.integers(0, 3), max_size=3), st.integers(0, 2**32))
def test_the_norm_is_that_of_all_tensors_together(shape, seed):
    random = np.random.default_rng(seed)
    changes = {name: np.asarray(random.normal(size=shape), np.float32) for name in "ab"}
    flat = np.concatenate([value.ravel() for value in changes.values()]).astype(np.float64)
    assert Change.of(changes).norm == pytest.approx(np.linalg.norm(flat), rel=1e-12)
    layout = Layout(tuple(Tensor(name, tuple(shape)) for name in "ab"), (), 32, 4, 64.0, MOST)
    given = {name: np.zeros_like(value) for name, value in changes.items()}
    assert change(layout, given, changes).norm == pytest.approx(np.linalg.norm(flat), rel=1e-12)


def test_the_norm_of_more_than_a_block():
    ones = np.ones(4 * BLOCK + 4, np.float32)[::2]
    layout = Layout((Tensor("w", ones.shape),), (), 32, 4, 64.0, MOST)
    assert change(layout, {"w": 0 * ones}, {"w": ones}).norm == pytest.approx(math.sqrt(2 * BLOCK + 2))
    assert Change.of({}).norm == 0


@given(st.integers(1, MOST), st.floats(-LOSS_BOUND, LOSS_BOUND))
def test_a_metric_is_weighted_by_the_cases(weight, loss):
    assert values_of(LAYOUT, {CASES: weight, "loss": loss}) == (
        weight,
        {"weight": weight, "loss.sum": loss * weight, "loss.weight": weight},
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf, LOSS_BOUND * 1.01, "high", None, [0.5]])
def test_a_metric_that_is_none_or_beyond_its_bound_is_undefined(loss):
    assert values_of(LAYOUT, {CASES: 7, "loss": loss})[1] == {"weight": 7, "loss.sum": 0, "loss.weight": 0}


@pytest.mark.parametrize("weight", [0, -1, MOST + 1, 10**9, 2.0, True, None, "7", math.nan])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(UpdateRefused, match=f"allowed: 1 to {MOST}"):
        values_of(LAYOUT, {CASES: weight, "loss": 0.5})


def test_a_loss_is_agreed_on():
    for metrics in ({}, {"dice": 0.5}):
        with pytest.raises(UpdateRefused, match=r"agreed on: \['loss'\]"):
            values_of(LAYOUT, {CASES: 7, **metrics})


def test_what_was_not_agreed_on_is_left_out_by_name():
    metrics = {CASES: 7, "loss": 0.5, "patients": 3.0, "weight": 1.0, "loss.weight": 2, "loss.sum": 2.0}
    assert values_of(LAYOUT, metrics) == values_of(LAYOUT, {CASES: 7, "loss": 0.5})
    assert left_out(LAYOUT, metrics) == {"patients", "weight", "loss.weight", "loss.sum"}


@given(st.integers(1, MOST), st.floats(1e-30, 1e30), st.floats(-1, 1))
def test_a_number_of_the_researchers_own_keeps_its_bound_at_any_scale(weight, bound, share):
    layout = Layout((), update_fields(MOST, {"own": bound}), 16, 4, 64.0, MOST)
    value = bound * share
    _, found = values_of(layout, {CASES: weight, "loss": 0.5, "own": value}, {"own": bound})
    assert (found["own.sum"], found["own.weight"]) == (value * weight, weight)
    assert layout.write({}, 0, found, bytes(24)).shape == (layout.size,)
    beyond = math.nextafter(bound, math.inf)
    assert values_of(layout, {CASES: weight, "loss": 0.5, "own": beyond}, {"own": bound})[1]["own.weight"] == 0


@pytest.mark.parametrize("told", [{}, {"own": math.nan}, {"own": -math.inf}, {"own": "high"}, {"own": [0.5]}, {"own": 1.5}])
def test_a_number_that_was_declared_and_is_none_is_undefined_and_no_refusal(told):
    layout = Layout((), update_fields(MOST, {"own": 1.0}), 32, 4, 64.0, MOST)
    weight, found = values_of(layout, {CASES: 7, "loss": 0.5, **told}, {"own": 1.0})
    assert (weight, found["own.sum"], found["own.weight"], found["loss.weight"]) == (7, 0.0, 0, 7)
