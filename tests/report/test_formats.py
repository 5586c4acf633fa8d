from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.report import formats


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.004, "4.0 ms"),
        (0, "0.00 s"),
        (0.82, "0.82 s"),
        (9.996, "10.0 s"),
        (12.4, "12.4 s"),
        (59.97, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (640, "640 B"), (12_500, "12.5 kB"), (3.2e6, "3.2 MB"), (246e9, "246 GB"), (5e12, "5,000 GB")],
)
def test_sizes(size, text):
    assert formats.data_size(size) == text


def test_signs_are_true_and_zero_has_no_minus():
    assert (formats.signed(0.0414), formats.signed(-0.012), formats.signed(-0.0001)) == ("+0.041", "−0.012", "+0.000")


def test_lists_of_words():
    assert formats.listed([]) == ""
    assert formats.listed(["a"]) == "a"
    assert formats.listed(["a", "b", "c"]) == "a, b and c"
    assert formats.listed(list("abcdefgh"), 3) == "a, b and 6 more"


@given(st.sets(st.integers(1, 60)))
def test_ranges_name_each_number_and_no_other(numbers):
    text = formats.ranges(list(numbers))
    named = set()
    for part in filter(None, text.split(", ")):
        low, _, high = part.partition("–")
        named |= set(range(int(low), int(high or low) + 1))
    assert named == numbers


@pytest.mark.parametrize(
    ("kwh", "text"),
    [
        (0, "0 kWh"),
        (7.44e-8, "0.0744 mWh"),
        (7.44e-5, "74.4 mWh"),
        (2.5e-4, "0.25 Wh"),
        (12.5, "12.5 kWh"),
        (12345.6, "12,346 kWh"),
    ],
)
def test_energies(kwh, text):
    assert formats.energy(kwh) == text


@pytest.mark.parametrize(
    ("dollars", "text"), [(0, "0.00 USD"), (0.004, "under 0.01 USD"), (0.006, "0.01 USD"), (1234.5, "1,234.50 USD")]
)
def test_costs(dollars, text):
    assert formats.cost(dollars) == text
