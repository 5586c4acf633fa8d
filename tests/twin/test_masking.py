from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.privacy.secagg.parameters import MAX_MEMBERS, Parameters, least_colluders
from fedmed.twin.masking import neighbours, seconds


@pytest.mark.parametrize("members", [3, 8, 128, 129, 500, 1000])
def test_neighbours_are_those_of_a_real_epoch(members):
    roster = tuple(sorted(number.to_bytes(32, "big") for number in range(1, members + 1)))
    terms = Parameters("f", "r", 1, roster, least_colluders(members), members // 10, 8)
    assert neighbours(members) == terms.design.degree


@given(st.integers(3, 2 * MAX_MEMBERS), st.floats(1, 1e9))
def test_masks_take_longer_the_larger_the_model_and_the_wider_the_lanes(members, words):
    assert 0 < seconds(members, words, 16) < seconds(members, words, 32) < seconds(members, 2 * words, 32)
    assert seconds(max(members, MAX_MEMBERS), words, 32) == seconds(MAX_MEMBERS, words, 32)


def test_the_figure_of_the_decision():
    assert seconds(10, 10e6, 32) == pytest.approx(9 * (40e6 / 8e9 + 60e-6))
