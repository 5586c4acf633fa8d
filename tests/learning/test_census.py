from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataError, ProtocolRefused, UpdateRefused
from fedmed.learning.census import Census, put_census, read_census
from fedmed.learning.clinic import Clinic
from fedmed.learning.inputs import scale_of
from fedmed.learning.order import Inquiry
from fedmed.preprocess.moments import Moments, moments
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.questions import (
    CENSUS_CASES,
    CLASSES,
    MOST_OF_A_CLASS,
    SQUARES,
    SQUARES_RESOLUTION,
    SUM,
    SUM_RESOLUTION,
    census_fields,
)
from tests.learning.parts import site

MOST = 1000


def through_lanes(clinics, classes: int, width: int | None, bits: int = 32) -> Census:
    agreed = Layout((), census_fields(classes, width, MOST), bits, 10, 1.0, 1)
    vectors = [agreed.write({}, 0, put, bytes(24)) for put in clinics]
    return read_census(agreed.read(np.sum(vectors, axis=0, dtype=vectors[0].dtype), len(vectors)), classes, width)


@st.composite
def sites(draw):
    """Class counts and features of some sites, at any scale that is met."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes, width = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    sizes = draw(st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any))
    scale = 10.0 ** draw(st.integers(-6, 8))
    counts = [random.integers(0, MOST_OF_A_CLASS, classes).tolist() for _ in sizes]
    features = [((random.normal(size=(n, width)) + random.normal()) * scale).astype(np.float32) for n in sizes]
    return counts, features


@given(sites(), st.sampled_from([16, 32]))
@settings(deadline=None)
def test_the_census_is_the_sum_of_what_sites_have(drawn, bits):
    counts, features = drawn
    width = features[0].shape[1]
    parts = [moments(each) for each in features]
    got = through_lanes(list(map(put_census, counts, parts)), len(counts[0]), width, bits)
    assert got.class_counts == tuple(np.sum(np.array(counts, object), axis=0))
    assert got.moments.n == sum(map(len, features))
    for told, values, resolution in (
        (got.moments.sum, [part.sum for part in parts], SUM_RESOLUTION),
        (got.moments.sumsq, [part.sumsq for part in parts], SQUARES_RESOLUTION),
    ):
        for place in range(width):
            exact = sum(Fraction(float(value[place])) for value in values)
            off = abs(Fraction(float(told[place])) - exact)
            assert off <= Fraction(resolution) / 2 * len(parts) + Fraction(2) ** -52 * abs(exact)


@given(sites())
@settings(deadline=None)
def test_the_scale_of_the_federation_does_not_change_noticeably(drawn):
    _, features = drawn
    width = features[0].shape[1]
    got = through_lanes([put_census([1, 1], moments(each)) for each in features], 2, width).moments
    told, exact = scale_of(got), scale_of(moments(np.concatenate(features)))
    np.testing.assert_allclose(told.mean, exact.mean, rtol=1e-6, atol=1e-18)
    np.testing.assert_allclose(told.std, exact.std, rtol=1e-5, atol=4e-8)


def test_without_a_common_scale_there_are_no_sums():
    assert through_lanes([put_census([3, 4], None), put_census([0, 1], None)], 2, None) == Census((3, 5), None)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e13, -1e18])
def test_features_that_cannot_be_summed_are_refused_with_what_to_do(value):
    with pytest.raises(DataError, match=r"feature 1 .* allowed is up to .*data.normalise: site"):
        put_census([1, 1], moments(np.array([[1.0, value]])))


def test_more_cases_than_declared_do_not_leave_the_site():
    agreed = Layout((), census_fields(2, 1, 50), 32, 3, 1.0, 1)
    with pytest.raises(UpdateRefused, match=r"moments.n.* holds 51"):
        agreed.write({}, 0, put_census([1, 1], moments(np.zeros((51, 1)))), bytes(24))


@pytest.mark.parametrize(
    "wrong",
    [
        {CENSUS_CASES: 0},
        {SQUARES: [-1.0]},
    ],
)
def test_sums_that_no_cases_have_are_refused(wrong):
    good = put_census([1, 1], moments(np.ones((2, 1))))
    assert through_lanes([good], 2, 1).moments.n == 2
    with pytest.raises(ProtocolRefused, match="a site's sums are wrong"):
        through_lanes([{**good, **wrong}], 2, 1)


def test_a_census_of_another_task_is_not_read():
    agreed = Layout((), census_fields(3, None, MOST), 32, 3, 1.0, 1)
    total = agreed.read(agreed.write({}, 0, put_census([1, 2, 3], None), bytes(24)), 1)
    with pytest.raises(ProtocolRefused, match="a census of 3 classes; the task has 2"):
        read_census(total, 2, None)


def test_a_clinics_census_has_its_counts_and_sums_and_its_description_none():
    north = site("north", train=41, validation=20, test=3)
    request = Inquiry(normalise="federated", masked=True).model_dump_json()
    told = json.loads(Clinic(north).describe(request))
    assert told == {
        "name": "north",
        "classes": ["a", "b"],
        "inputs": [3],
        "examples": {"train": 50, "validation": 20, "test": 5},
    }
    put = Clinic(north).census(request)
    assert put[CLASSES].tolist() == np.bincount(north.train.y).tolist()
    assert put[CENSUS_CASES] == 41
    np.testing.assert_allclose(put[SUM], north.train.x.sum(0, dtype=np.float64))
    np.testing.assert_allclose(put[SQUARES], np.square(north.train.x, dtype=np.float64).sum(0))
    assert set(Clinic(north).census(Inquiry(masked=True).model_dump_json())) == {CLASSES}


def test_a_site_without_training_cases_adds_nothing():
    request = Inquiry(normalise="federated", masked=True).model_dump_json()
    parts = [Clinic(each).census(request) for each in (site(train=0), site("south", train=30))]
    both, one = through_lanes(parts, 2, 3), through_lanes(parts[1:], 2, 3)
    assert both.class_counts == one.class_counts
    assert isinstance(both.moments, Moments)
    np.testing.assert_array_equal(both.moments.sum, one.moments.sum)
