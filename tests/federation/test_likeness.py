from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedmed.federation.likeness import Pool, Share, brightness, directions, octaves, shares, total_variation
from fedmed.preprocess.fingerprint import statistics
from tests.federation.prints import images

histograms = hnp.arrays(np.float64, 6, elements=st.floats(0.01, 1)).map(lambda values: values / values.sum())


@given(histograms, histograms)
def test_distances_are_distances(one, other):
    for distance in (total_variation, octaves):
        assert distance(one, one) == 0
        assert distance(one, other) == pytest.approx(distance(other, one))
        assert distance(one, other) >= 0
    assert total_variation(one, other) <= 1


def test_octaves_count_factors_of_two():
    one, other = np.zeros(20), np.zeros(20)
    one[3], other[11] = 1, 1
    assert octaves(one, other) == 2


def test_a_large_site_does_not_outvote_the_rest():
    large, small = Share(np.array([0.0]), 1 / 100_000), Share(np.array([1.0]), 1 / 300)
    assert Pool({"a": large, "b": small, "c": small}).without("d").values[0] > 0.55


def test_a_pool_without_one_is_the_pool_of_the_others():
    rng = np.random.default_rng(1)
    parts = {name: Share(rng.dirichlet(np.ones(4)), 1 / int(rng.integers(20, 2000))) for name in "abcde"} | {"f": None}
    for name in parts:
        found = Pool(parts).without(name)
        others = Pool({other: part for other, part in parts.items() if other != name}).without("nobody")
        np.testing.assert_allclose(found.values, others.values)
        assert found.variance == pytest.approx(others.variance)
        assert found.values.sum() == pytest.approx(1)
    assert Pool({"a": None}).without("b") is None
    assert Pool({"a": parts["a"], "b": None}).without("a") is None


def test_what_is_mostly_hidden_is_not_compared():
    few = statistics(images(12, 1))
    assert brightness(few) is None
    assert shares(few, "edges").values.sum() == pytest.approx(1)
    assert shares(few, "orientation") is None
    hidden = statistics(
        np.random.default_rng(1).normal(size=(30, 9, 9)).astype(np.float32) * np.logspace(-3, 3, 30)[:, None, None]
    )
    assert shares(hidden, "deviation") is None


def test_directions_that_are_too_few_to_tell_are_taken_to_be_alike():
    told = statistics(images(40, 1))
    assert directions(told).values.tolist() == [1, 0, 0, 0]
    told.histograms["edges"][:] = [20, 0, 0, 0]
    assert directions(told).values.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    told.histograms["edges"][:] = 0
    assert directions(told).values.tolist() == [1 / 4] * 4
