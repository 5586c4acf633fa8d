from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fedmed.errors import ConfigError, DataError, ProtocolRefused, UpdateRefused
from fedmed.learning import metrics
from fedmed.learning.histograms import (
    BINS,
    Scores,
    auc,
    decided,
    figures,
    histogram,
    layout_fields,
    macro_auc,
    put_scores,
    read_scores,
)
from fedmed.privacy.secagg.layout import Layout


@st.composite
def cases(draw, classes: int | None = None):
    """Probabilities `(N, K)` float32 and classes `(N,)`: spread, crowded into few bins, tied, or on edges."""
    k = classes or draw(st.integers(2, 5))
    count = draw(st.integers(1, 80))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    y = random.integers(0, k, count)
    logits = random.normal(size=(count, k)) * draw(st.sampled_from([0.0, 0.001, 1.0, 30.0]))
    logits += np.eye(k)[y] * draw(st.sampled_from([0.0, 0.002, 1.0]))
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    digits = draw(st.sampled_from([None, 2, 1024]))
    p = p if digits is None else np.round(p * digits) / digits
    return p.astype(np.float32), y


def summed(clinics, bits=32, bins=BINS) -> Scores:
    """Through lanes, as in a federation."""
    classes = clinics[0][0].shape[1]
    agreed = Layout((), layout_fields(classes, bins, 1000), bits, 10, 1.0, 1)
    vectors = [agreed.write({}, 0, put_scores(p, y, bins), bytes(24)) for p, y in clinics]
    return read_scores(agreed.read(np.sum(vectors, axis=0, dtype=vectors[0].dtype), len(vectors)), classes, bins)


@given(cases(classes=2), st.sampled_from([2, 64, BINS]))
@settings(max_examples=200, deadline=None)
def test_the_auc_is_within_its_bound_of_scikit_learns_and_torchmetrics(drawn, bins):
    p, y = drawn
    area, bound = auc(histogram(p, y, bins)[0])
    if len(set(y)) < 2:
        assert (area, bound) == (None, 0.0)
        return
    assert abs(area - sk.roc_auc_score(y, p[:, 1])) <= bound + 1e-12
    assert abs(area - metrics.binary_auc(torch.from_numpy(p[:, 1]), torch.from_numpy(y))) <= bound + 1e-6


def test_the_bound_is_reached_and_not_passed():
    """All cases in one bin: the exact area is anything, and the bound says so."""
    scores = np.linspace(0.50001, 0.5009, 40)
    p = np.stack([1 - scores, scores], 1)
    for y, exact in ((np.arange(40) >= 20, 1.0), (np.arange(40) < 20, 0.0)):
        assert sk.roc_auc_score(y, scores) == exact
        assert auc(histogram(p, y.astype(int))[0]) == (0.5, 0.5)


def test_the_bound_is_small_for_scores_that_spread():
    random = np.random.default_rng(1)
    y = random.integers(0, 2, 5000)
    scores = 1 / (1 + np.exp(-random.normal(size=5000) - y))
    area, bound = auc(histogram(np.stack([1 - scores, scores], 1), y)[0])
    assert abs(area - sk.roc_auc_score(y, scores)) < bound < 0.001


@given(cases())
@settings(max_examples=150, deadline=None)
def test_the_macro_auc_is_within_its_bound_of_the_classes_present(drawn):
    p, y = drawn
    area, bound = macro_auc(histogram(p, y))
    exact = metrics.figures(torch.from_numpy(p), torch.from_numpy(y), 0.5)["auc"]["value"]
    assert (area is None) == (exact is None)
    if exact is not None:
        assert abs(area - exact) <= bound + 1e-6


@given(st.integers(2, 5).flatmap(lambda k: st.lists(cases(classes=k), min_size=1, max_size=4)), st.data())
@settings(max_examples=150, deadline=None)
def test_figures_of_a_sum_are_those_of_all_cases_together(clinics, data):
    """The exact figures are within the stated error, and their intervals within the stated ones."""
    threshold = data.draw(st.sampled_from([0.0, 0.5, 0.25, 1023 / 1024, 1.0, 0.3, 0.4999]))
    found = figures(summed(clinics, data.draw(st.sampled_from([16, 32]))), threshold)
    p, y = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*clinics, strict=True))
    exact = metrics.figures(p, y, threshold)
    assert list(found) == list(exact)
    for name, figure in found.items():
        wanted = exact[name]
        assert (figure["value"] is None) == (wanted["value"] is None), name
        if figure["value"] is None:
            assert figure["low"] is figure["high"] is figure["error"] is None
            continue
        assert abs(figure["value"] - wanted["value"]) <= figure["error"] + 1e-6, name
        assert figure["low"] <= figure["value"] <= figure["high"]
        if name != "balanced_accuracy" and p.shape[1] == 2:  # means have symmetric intervals
            assert figure["low"] - 1e-6 <= wanted["low"] <= wanted["high"] <= figure["high"] + 1e-6
        if name != "auc" and (p.shape[1] > 2 or (threshold * BINS == int(threshold * BINS) > 0)):
            assert figure["error"] == 0
            for part in ("value", "low", "high"):
                assert figure[part] == pytest.approx(wanted[part], abs=1e-12)


def test_a_score_on_the_threshold_is_negative_and_one_above_it_is_not():
    edge = np.float32(0.5)
    scores = np.array([np.nextafter(edge, np.float32(0)), edge, np.nextafter(edge, np.float32(1))])
    h = histogram(np.stack([1 - scores, scores], 1), np.ones(3, int))[0]
    assert decided(h, 0.5) == ([0, 1], [0, 1])
    assert np.flatnonzero(h[1]).tolist() == [511, 512]


def test_certain_scores_lie_in_the_outer_bins():
    p = np.array([[0.0, 1.0], [1.0, 0.0]])
    h = histogram(p, np.array([1, 0]))
    assert h.shape == (1, 2, BINS)
    assert h.dtype == np.int64
    assert h[0, 1, BINS - 1] == h[0, 0, 0] == 1
    assert h.sum() == 2
    assert decided(h[0], 0.0) == ([0, 1], [1, 1])  # of bin 0 nobody knows whether it is 0 itself
    assert decided(h[0], 1.0) == ([0, 0], [0, 0])


def test_each_class_against_the_rest():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], np.float32)
    h = histogram(p, np.array([0, 2]), 4)
    assert h.tolist() == [
        [[1, 0, 0, 0], [0, 0, 1, 0]],
        [[1, 0, 1, 0], [0, 0, 0, 0]],
        [[1, 0, 0, 0], [0, 1, 0, 0]],
    ]


def test_no_cases_have_no_figures():
    for classes in (2, 4):
        none = (np.zeros((0, classes), np.float32), np.zeros(0, np.int64))
        assert figures(summed([none, none]), 0.5) == {}


def test_rounding_of_a_softmax_is_forgiven_and_nothing_else():
    assert histogram(np.array([[-1e-7, 1 + 1e-7]]), np.array([1]))[0, 1, -1] == 1
    for wrong in (math.nan, math.inf, 1.1, -0.1):
        with pytest.raises(UpdateRefused, match="1 of 4 scores are not within 0 to 1"):
            histogram(np.array([[0.5, wrong], [0.5, 0.5]]), np.array([1, 0]))


@pytest.mark.parametrize("y", [[-1, 0], [0, 2]])
def test_a_class_that_is_none_is_refused(y):
    with pytest.raises(DataError, match="the task has classes 0 to 1"):
        histogram(np.full((2, 2), 0.5), np.array(y))


@pytest.mark.parametrize("bins", [0, 1, 1000, 1 << 17])
def test_bins_whose_edges_would_be_rounded_are_refused(bins):
    with pytest.raises(ConfigError, match=f"{bins} bins; allowed are powers of two"):
        histogram(np.full((2, 2), 0.5), np.array([0, 1]), bins)
    with pytest.raises(ConfigError, match="powers of two"):
        layout_fields(2, bins, 10)


def test_one_class_has_no_scores():
    with pytest.raises(ConfigError, match="1 classes"):
        layout_fields(1, BINS, 10)


def test_more_cases_than_agreed_on_are_refused():
    agreed = Layout((), layout_fields(2, BINS, 5), 32, 3, 1.0, 1)
    with pytest.raises(UpdateRefused, match="'scores' holds 6; allowed is 0 to 5"):
        agreed.write({}, 0, put_scores(np.full((6, 2), 0.5), np.zeros(6, int)), bytes(24))


@pytest.mark.parametrize("change", ["more rightly than there are", "a case of two classes", "a case of no class"])
def test_counts_that_contradict_each_other_are_refused(change):
    agreed = Layout((), layout_fields(3, BINS, 100), 32, 3, 1.0, 1)
    put = put_scores(np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 2]))
    if change == "more rightly than there are":
        put["correct"][0] = 2
    elif change == "a case of two classes":
        put["scores"][0, :, -1] = put["scores"][0, ::-1, -1]  # row by row it is still four cases
        put["scores"][0, :, 0] = put["scores"][0, ::-1, 0]
    else:
        put["scores"][2, 1, -1] -= 1
    with pytest.raises(ProtocolRefused, match="do not count the same cases"):
        read_scores(agreed.read(agreed.write({}, 0, put, bytes(24)), 1), 3)


def test_neither_torch_nor_flower_nor_numba_is_loaded():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from fedmed.privacy.secagg import metrics, layout, quantise\n"
        "from fedmed.learning import histogram_curves, histograms\n"
        "assert not {'torch', 'flwr', 'numba.core'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
