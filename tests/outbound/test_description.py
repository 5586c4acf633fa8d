from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.outbound.description import MOST_CHARACTERS, check, declared

TOLD = {"name": "north", "classes": ["well", "ill"], "inputs": [3], "examples": {"train": 50, "validation": 5, "test": 0}}


@given(st.integers(0, 10**18))
def test_a_declared_size_is_the_next_of_the_series(count):
    size = declared(count)
    assert count <= size <= 2.5 * count
    assert size == 0 or str(size).rstrip("0") in {"1", "2", "5"}


@given(st.lists(st.integers(0, 10**6), min_size=2))
def test_a_larger_site_declares_no_less(counts):
    assert all(a <= b for a, b in pairwise(declared(count) for count in sorted(counts)))


def test_declared_sizes():
    counts = (0, 1, 2, 3, 5, 6, 10, 11, 20, 21, 50, 51, 100, 101, 303, 10_015)
    assert [declared(count) for count in counts] == [0, 1, 2, 5, 5, 10, 10, 20, 20, 50, 50, 100, 100, 200, 500, 20_000]


def test_declared_sizes_pass():
    check(json.dumps(TOLD | {"masks": True, "fingerprint": {}}))


@pytest.mark.parametrize(
    "more",
    [
        {"examples": {"train": 43}},
        {"examples": {"train": 50.0}},
        {"examples": {"train": True}},
        {"examples": {"train": [50]}},
        {"class_counts": [20, 23]},
        {"moments": [43, [0.5], [1.5]]},
        {"anything": "else"},
    ],
)
def test_counts_and_sums_do_not_pass(more):
    with pytest.raises(ProtocolRefused, match="declared sizes only") as caught:
        check(json.dumps(TOLD | more))
    assert "43" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"examples": 50}', "[" * 100_000, " " * MOST_CHARACTERS + json.dumps(TOLD)]
)
def test_what_is_no_description_does_not_pass(text):
    with pytest.raises(ProtocolRefused, match="an object with its sizes"):
        check(text)


def test_under_differential_privacy_there_is_no_fingerprint():
    check(json.dumps(TOLD), is_private=True)
    with pytest.raises(ProtocolRefused, match="no fingerprint"):
        check(json.dumps(TOLD | {"fingerprint": {}}), is_private=True)
