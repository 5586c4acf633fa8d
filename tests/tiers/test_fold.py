from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import UpdateRefused
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.questions import update_fields
from fedmed.tiers import fold
from fedmed.tiers.fold import of_one, of_sum

MODEL = {"w": np.zeros(2, np.float32)}


def part(value: float, weight: int, **metrics):
    return of_one({"w": np.full(2, value, np.float32)}, weight, metrics)


def test_the_mean_is_weighted_by_cases():
    folded = fold.fold([part(1.0, 3, loss=1.0), part(5.0, 1, loss=2.0)], MODEL)
    assert folded.change.tensors["w"].tolist() == [2.0, 2.0]
    assert folded.change.tensors["w"].dtype == np.float32
    assert folded.change.norm == pytest.approx(math.sqrt(8))
    assert folded.values == {"num-examples": 4, "loss": 1.25}


def test_a_metric_that_some_cannot_tell_is_the_mean_of_those_that_can():
    folded = fold.fold([part(0, 3, loss=None, auc=0.5), part(0, 1, loss=2.0), part(0, 4, loss=math.nan)], MODEL)
    assert (folded.values["loss"], folded.values["auc"]) == (2.0, 0.5)
    assert math.isnan(fold.fold([part(0, 3, loss=None)], MODEL).values["loss"])


def test_whoever_has_no_case_moves_nothing():
    assert fold.fold([part(9.0, 0), part(1.0, 2)], MODEL).change.tensors["w"].tolist() == [1.0, 1.0]
    with pytest.raises(UpdateRefused, match="nothing to fold"):
        fold.fold([part(9.0, 0)], MODEL)


def test_parts_of_other_tensors_are_not_folded():
    with pytest.raises(UpdateRefused, match="other tensors"):
        fold.fold([part(1.0, 1), of_one({"b": np.zeros(1)}, 1, {})], MODEL)


@given(st.lists(st.tuples(st.floats(-64, 64, width=32), st.integers(1, 10**6)), min_size=1, max_size=8), st.integers(1, 7))
def test_folding_a_fold_is_folding_once(given_, cut):
    parts = [part(value, weight, loss=0.5) for value, weight in given_]
    first = [each for each in (parts[:cut], parts[cut:]) if each]
    again = [fold.fold(each, {"w": np.zeros(2)}) for each in first]
    twice = fold.fold([of_one(each.change.tensors, each.values["num-examples"], {"loss": 0.5}) for each in again], MODEL)
    once = fold.fold(parts, MODEL)
    assert np.allclose(twice.change.tensors["w"], once.change.tensors["w"], rtol=1e-6, atol=1e-12)
    assert twice.values["num-examples"] == once.values["num-examples"]
    assert np.abs(once.change.tensors["w"]).max() <= max(abs(value) for value, _ in given_), "never beyond the bound"


def summed(weights: list[int], value: float, most: int = 1000):
    layout = Layout((Tensor("w", (2,)),), update_fields(most), 32, len(weights), 64.0, most)
    total = layout.zeros()
    for place, weight in enumerate(weights):
        fields = {"weight": weight, "loss.sum": 0.25 * weight, "loss.weight": weight}
        total += layout.write({"w": np.full(2, value, np.float32)}, weight, fields, bytes([place]) * 24)
    return layout.read(total, len(weights))


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=9), st.sampled_from([64.0, -64.0, 63.99999, 1e-3, 0.0]))
def test_a_sum_is_read_within_its_own_error_and_the_bound(weights, value):
    found = of_sum(summed(weights, value), ["loss"])
    mean = found.sums["w"] / found.weight
    assert np.abs(mean - np.float32(value)).max() <= found.error
    assert np.abs(mean).max() <= 64.0 * (1 + 1e-15)
    assert np.abs(fold.fold([found], MODEL).change.tensors["w"]).max() <= 64.0
    assert found.metrics["loss"] == pytest.approx((0.25 * found.weight, found.weight), abs=1e-3)


def test_a_sum_without_cases_is_none():
    layout = Layout((Tensor("w", (2,)),), update_fields(5), 32, 1, 64.0, 5)
    fields = {"weight": 0, "loss.sum": 0.0, "loss.weight": 0}
    total = layout.write({"w": np.zeros(2, np.float32)}, 0, fields, bytes(24))
    with pytest.raises(UpdateRefused, match="sum up to 0"):
        of_sum(layout.read(total, 1), ["loss"])


def test_what_a_change_has_no_part_of_stays_as_it_was_given():
    model = {"w": np.ones(2, np.float32), "seen": np.array(7)}
    new = fold.trained(model, fold.fold([part(0.5, 2)], model))
    assert new["w"].tolist() == [1.5, 1.5]
    assert new["seen"] is model["seen"]
