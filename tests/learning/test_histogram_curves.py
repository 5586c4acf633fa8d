from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fedmed.errors import ConfigError
from fedmed.learning import metrics
from fedmed.learning.histogram_curves import (
    CALIBRATION_BINS,
    MOST_ROC_POINTS,
    calibration,
    calibration_error,
    operating_point,
    roc,
)
from fedmed.learning.histograms import BINS, histogram


def drawn(count: int, seed: int, digits: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, classes and their histogram."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, count)
    score = 1 / (1 + np.exp(-(random.normal(size=count) + 2 * y - 1)))
    score = score if digits is None else np.round(score, digits)
    return score, y, histogram(np.stack([1 - score, score], 1), y)[0]


many = st.builds(drawn, st.integers(1, 200), st.integers(0, 2**32), st.sampled_from([None, 0, 1, 3]))
shares = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0])


@given(many, shares, st.booleans())
@settings(max_examples=200, deadline=None)
def test_an_operating_point_is_reached_by_the_cases_and_is_the_best_such(case, wanted, of_sensitivity):
    score, y, h = case
    point = operating_point(h, **{"sensitivity" if of_sensitivity else "specificity": wanted})
    if len(set(y)) < 2:
        assert point is None
        return

    def reached(threshold):
        return np.mean(score[y == 1] > threshold), np.mean(score[y == 0] <= threshold)

    assert (point.sensitivity.value, point.specificity.value) == pytest.approx(reached(point.threshold), abs=1e-12)
    leading, other = (0, 1) if of_sensitivity else (1, 0)
    assert reached(point.threshold)[leading] >= wanted
    edges = np.arange(1, BINS + 1)[:, None] / BINS
    both = np.mean(score[y == 1] > edges, axis=1), np.mean(score[y == 0] <= edges, axis=1)
    assert ((both[leading] < wanted) | (both[other] <= reached(point.threshold)[other] + 1e-12)).all()
    assert 0 <= point.sensitivity.low <= point.sensitivity.value <= point.sensitivity.high <= 1


def test_every_case_is_positive_below_every_score():
    scores = np.array([0.0, 0.0, 0.0])
    point = operating_point(histogram(np.stack([1 - scores, scores], 1), np.array([1, 1, 0]))[0], sensitivity=1.0)
    assert point.threshold < 0
    assert (point.sensitivity.value, point.specificity.value) == (1.0, 0.0)


@pytest.mark.parametrize(
    "wanted", [{}, {"sensitivity": 0.5, "specificity": 0.5}, {"sensitivity": 1.1}, {"specificity": -0.1}]
)
def test_one_of_the_two_is_wanted(wanted):
    with pytest.raises(ConfigError, match="name one of them, of 0 to 1"):
        operating_point(drawn(9, 1)[2], **wanted)


@given(many)
@settings(max_examples=100, deadline=None)
def test_the_curve_lies_on_that_of_the_cases(case):
    score, y, h = case
    points = roc(h)
    if len(set(y)) < 2:
        assert points is None
        return
    points = np.array(points)
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert len(points) <= MOST_ROC_POINTS
    assert (np.diff(points, axis=0) >= 0).all()
    edges = np.arange(-1, BINS + 1)[:, None] / BINS
    on_it = np.stack([np.mean(score[y == 0] > edges, axis=1), np.mean(score[y == 1] > edges, axis=1)], axis=1)
    for point in points:
        assert np.abs(on_it - point).max(axis=1).min() <= 5.1e-6  # five digits are told


def test_a_long_curve_is_thinned_and_keeps_its_area():
    score, y, h = drawn(5000, 3)
    points = np.array(roc(h))
    assert len(points) == MOST_ROC_POINTS
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(sk.roc_auc_score(y, score), abs=0.002)


def exact_groups(score, y):
    """The same groups of scores, from the scores themselves."""
    fine = np.clip(np.ceil(score * BINS) - 1, 0, BINS - 1)
    group = ((fine + 0.5) / BINS * CALIBRATION_BINS).astype(int)
    return [(score[group == k], y[group == k]) for k in np.unique(group)]


@given(many)
@settings(max_examples=100, deadline=None)
def test_calibration_is_that_of_the_cases_within_half_a_bin(case):
    score, y, h = case
    groups, points = exact_groups(score, y), calibration(h)
    assert len(points) == len(groups)
    for (mean, share, n), (scores, classes) in zip(points, groups, strict=True):
        assert n == len(scores)
        assert share == pytest.approx(classes.mean(), abs=5.1e-6)
        assert abs(mean - scores.mean()) <= 0.5 / BINS + 5.1e-6
    error, bound = calibration_error(h)
    exact = sum(len(scores) * abs(scores.mean() - classes.mean()) for scores, classes in groups) / len(score)
    assert bound == 0.5 / BINS
    assert abs(error - exact) <= bound + 1e-12


def test_without_cases_there_is_nothing():
    none = np.zeros((2, BINS), np.int64)
    assert calibration(none) == []
    assert calibration_error(none) == (None, 0.0)
    assert roc(none) is None
    assert operating_point(none, sensitivity=0.9) is None


def test_it_tells_what_the_report_draws_of_a_site_that_shows_its_scores():
    score, y, h = drawn(3000, 4)
    shown = metrics.curves(torch.from_numpy(np.stack([1 - score, score], 1)), torch.from_numpy(y))
    assert (CALIBRATION_BINS, MOST_ROC_POINTS) == (metrics.CALIBRATION_BINS, metrics.MAX_ROC_POINTS)
    for ours, theirs in zip(calibration(h), shown["calibration"], strict=True):
        assert ours == pytest.approx(theirs, rel=0.1, abs=0.02)  # groups differ by the cases between an edge and .1, .2, ...
