from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from fedmed.learning.overlap import (
    decide,
    mask_figures,
    mean_figure,
    mean_over_classes,
    per_case,
    t_quantile,
    tally,
)

MASKS = arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 2))


def counted(drawn, truth, classes=3) -> np.ndarray:
    return tally(torch.tensor(drawn), torch.tensor(truth), classes)


@settings(deadline=None, max_examples=50)
@given(MASKS, MASKS)
def test_a_tally_counts_every_voxel_as_the_definitions_say(drawn, truth):
    for k, (hits, false, missed) in enumerate(counted(drawn, truth), 1):
        assert hits == ((drawn == k) & (truth == k)).sum()
        assert false == ((drawn == k) & (truth != k)).sum()
        assert missed == ((drawn != k) & (truth == k)).sum()


@settings(deadline=None, max_examples=50)
@given(MASKS, MASKS)
def test_dice_and_iou_say_the_same_in_other_words(drawn, truth):
    found = per_case(counted(drawn, truth)[None])
    np.testing.assert_allclose(found["dice"], 2 * found["iou"] / (1 + found["iou"]))
    assert np.isfinite(found["dice"]).tolist() == [[((drawn == k) | (truth == k)).any() for k in (1, 2)]]


@settings(deadline=None, max_examples=50)
@given(MASKS)
def test_a_mask_matches_itself(truth):
    found = mask_figures(counted(truth, truth)[None], ("a", "b", "c"))
    assert found["dice"]["value"] == (1.0 if truth.any() else None)


def test_empty_masks_are_left_out_or_count_nothing():
    empty, drawn = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    tallies = np.stack([counted(empty, empty, 2), counted(drawn, empty, 2), counted(drawn, drawn, 2)])
    found = mask_figures(tallies, ("no", "yes"))
    assert found["dice"]["value"] == 0.5  # of the second and third case; in the first there is nothing to match
    assert found["sensitivity"]["value"] == 1.0  # of the third alone
    assert mask_figures(tallies[:1], ("no", "yes"))["dice"] == {"value": None, "low": None, "high": None}
    assert mask_figures(tallies[:0], ("no", "yes")) == {}


def test_a_case_is_the_mean_over_its_classes_and_each_class_has_its_dice():
    truth, drawn = np.array([1, 1, 2, 2], np.uint8), np.array([1, 1, 0, 0], np.uint8)
    found = mask_figures(counted(drawn, truth)[None], ("none", "liver", "tumour"))
    assert (found["dice"]["value"], found["dice_liver"]["value"], found["dice_tumour"]["value"]) == (0.5, 1.0, 0.0)


def test_the_interval_is_students_where_every_case_is_a_patient():
    values = np.random.default_rng(0).uniform(0.5, 0.9, 12)
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    found = mean_figure(values)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_two_cases_of_a_patient_are_not_two_patients():
    values = np.repeat([0.6, 0.7, 0.9], 2)
    patients = np.repeat(["a", "b", "c"], 2)
    once = mean_figure(values[::2])
    twice = mean_figure(values, patients)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    naive = mean_figure(values)
    assert naive.high - naive.low < twice.high - twice.low
    assert mean_figure(values[:2], patients[:2]).low is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=9))
def test_intervals_hold_their_value_and_stay_within_0_and_1(values):
    found = mean_figure(np.array(values))
    if found.low is not None:
        assert 0 <= found.low <= found.value + 1e-12
        assert found.value - 1e-12 <= found.high <= 1
    assert (found.value is None) == all(np.isnan(values))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 100])
def test_the_quantile_is_students(freedom):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=0.005)


def test_two_classes_are_decided_by_the_threshold_more_by_the_largest():
    assert decide(torch.tensor([[0.6, 0.2], [0.4, 0.8]]), 0.3).tolist() == [1, 1]
    assert decide(torch.tensor([[0.2], [0.5], [0.3]]), 0.3).tolist() == [1]


def test_classes_that_are_undefined_are_passed_over():
    found = mean_over_classes(np.array([[0.4, np.nan], [np.nan, np.nan], [0.2, 0.4]]))
    np.testing.assert_allclose(found, [0.4, np.nan, 0.3])
