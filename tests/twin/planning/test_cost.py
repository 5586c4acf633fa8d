from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.twin.planning.cost import checkpointed, operations_by_tokens, tokens_a_second

sizes = st.lists(st.integers(1, 10**9), min_size=1, max_size=60)


@given(sizes)
def test_checkpointing_never_keeps_more_and_never_less_than_the_largest(kept):
    assert max(kept) <= checkpointed(kept) <= sum(kept)


@given(st.integers(4, 400), st.integers(1, 1000))
def test_of_equal_layers_it_keeps_about_twice_their_root(layers, size):
    found = checkpointed([size] * layers) / size
    assert 2 * math.sqrt(layers) - 2 <= found <= 2 * math.sqrt(layers) + 2


def test_32_g_parameters_at_445_tflops_are_2318_tokens_a_second_and_not_millions():
    one = tokens_a_second(445e12, 32e9)
    assert one == pytest.approx(2318, abs=1)
    assert tokens_a_second(445e12, 32e9, 32) == pytest.approx(74_166, abs=10)
    days = operations_by_tokens(32e9, 1e12) / (32 * 445e12) / 86_400
    assert days == pytest.approx(156, abs=1)
