"""Whatever the roster and whoever is gone when: the sum over the survivors to the last bit, or none at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from tests.privacy.secagg.federation import Federation, federation, play, random_lanes


@pytest.fixture(scope="module")
def federations() -> dict[tuple[int, int], Federation]:
    return {}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_sum_is_exact(data):
    count = data.draw(st.integers(3, 12), "members")
    there = federation(count, seed=data.draw(st.integers(0, 3)), rounds=2)
    terms, everybody = there.terms, list(there.clinics)
    dtype = data.draw(st.sampled_from([np.uint16, np.uint32]))
    for number in (1, 2):
        least_cohort = next(size for size in range(3, count + 1) if terms.least_survivors(size) <= size)
        cohort = sorted(data.draw(st.permutations(everybody))[: data.draw(st.integers(least_cohort, count))])
        least = terms.least_survivors(len(cohort))
        survivors = sorted(data.draw(st.permutations(cohort))[: data.draw(st.integers(least, len(cohort)))])
        order = data.draw(st.permutations(everybody))
        absent = data.draw(st.integers(0, count - max(terms.quorum, terms.design.threshold)))
        split = data.draw(st.integers(0, absent))
        values = {index: random_lanes(100 * number + index, 33, dtype) for index in survivors}
        header = there.header(number, cohort, 33, 8 * np.dtype(dtype).itemsize)
        played = play(there, values, header, order[:split], order[split:absent])
        expected = np.sum([value.astype(np.uint64) for value in values.values()], 0).astype(dtype)
        assert np.array_equal(played.total, expected)
        assert played.opened.accused == ()


@pytest.mark.parametrize(("count", "gone"), [(40, 9), pytest.param(140, 10, marks=pytest.mark.nightly)])
def test_larger_rosters(count, gone):
    there = federation(count, rounds=1)
    assert there.terms.design.is_complete == (count <= 128)
    values = {index: random_lanes(index) for index in list(there.clinics)[gone:]}
    last = list(there.clinics)[-1]
    played = play(there, values, there.header(), gone_before_confirm=[1], gone_before_reveal=[last])
    assert np.array_equal(played.total, np.sum(list(values.values()), 0, np.uint32))


def test_mode_hbc_opens_without_confirmations():
    there = federation(5, policy={"modes": ("hbc",)}, mode="hbc")
    values = {index: random_lanes(index) for index in (1, 2, 4, 5)}
    played = play(there, values, there.header())
    assert np.array_equal(played.total, np.sum(list(values.values()), 0, np.uint32))
    assert played.state.confirmed == {}


def test_too_few_uploads_open_nothing():
    there = federation(10)
    values = {index: random_lanes(index) for index in (1, 2, 3, 4)}
    with pytest.raises(ProtocolRefused, match="4 clinics sent their update, 5 are needed"):
        play(there, values, there.header())


def test_a_helper_that_is_not_in_the_cohort_helps_to_open():
    there = federation(10)
    cohort = [1, 2, 3, 4, 5, 6]
    values = {index: random_lanes(index) for index in cohort}
    played = play(there, values, there.header(cohort=cohort), gone_before_confirm=[1, 2], gone_before_reveal=[3])
    assert np.array_equal(played.total, np.sum(list(values.values()), 0, np.uint32))


def test_of_three_all_three_are_in_the_sum():
    there = federation(3)
    with pytest.raises(ProtocolRefused, match="2 clinics sent their update, 3 are needed"):
        play(there, {1: random_lanes(1), 2: random_lanes(2)}, there.header())
