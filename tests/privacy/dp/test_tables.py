from __future__ import annotations

import decimal
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.dp.tables import ALL, LOW, MOST, NARROW, STEP, levels, table


@pytest.fixture(autouse=True)
def digits():
    with decimal.localcontext(decimal.Context(prec=90)):
        yield


def weight(x: int, sigma: Decimal) -> Decimal:
    return (-(Decimal(x) ** 2) / (2 * sigma**2)).exp()


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0, 3.0, 17.3, 200.0])
def test_every_probability_of_a_table_is_right_to_126_bits(sigma):
    made, width = table(sigma), Decimal(sigma)
    total = 1 + 2 * sum(weight(x, width) for x in range(1, int(30 * sigma) + 12))
    before, most = 0, Decimal(0)
    for magnitude, bound in enumerate(made.bounds):
        exact = weight(magnitude, width) / total * (1 if magnitude == 0 else 2)
        most = max(most, abs(Decimal(bound - before) / ALL - exact))
        before = bound
    assert most < Decimal(2) ** -126
    assert made.bounds[-1] == ALL
    assert len(made.bounds) < 14 * sigma + 8


def test_the_widest_table_is_small_and_ends_in_everything():
    made = table(NARROW)
    assert len(made.bounds) < 2**14
    assert made.bounds[-1] == ALL
    assert all(a <= b for a, b in zip(made.bounds, made.bounds[1:], strict=False))


@given(st.floats(0.5, 1e12))
@settings(max_examples=60, deadline=None)
def test_a_sum_has_the_width_that_was_asked_for_and_no_less(sigma):
    with decimal.localcontext(decimal.Context(prec=90)):
        variance = Decimal(0)
        for term in levels(sigma):
            smoothing = variance.sqrt() * Decimal(LOW) / ((STEP**2 * variance) + Decimal(LOW) ** 2).sqrt() if variance else 9
            assert smoothing >= 2
            variance = variance * term.step**2 + Decimal(term.table.sigma) ** 2
        excess = variance / Decimal(sigma) ** 2 - 1
        assert 0 <= excess < Decimal(2) ** -48
    assert len(levels(sigma)) <= 5


@pytest.mark.parametrize("sigma", [NARROW * 1.0001, 2000.0, 50_000.0])
@pytest.mark.parametrize("widths", [0, 0.3, 1, 4, 9])
def test_a_sum_of_two_is_discrete_gaussian_at_every_point(sigma, widths):
    """P[x] over what it should be is the same at x and x + 1 and at 0, to 2^-111: the bound of the docstring, tails too."""
    top, low = levels(sigma)
    first, second = Decimal(top.table.sigma), Decimal(low.table.sigma)
    exact = (STEP**2 * first**2 + second**2).sqrt()

    def ratio(x: int) -> Decimal:
        middle = round(x * STEP * float(first) ** 2 / float(exact) ** 2)
        terms = (weight(y, first) * weight(x - STEP * y, second) for y in range(middle - 60, middle + 61))
        return sum(terms, Decimal(0)) / weight(x, exact)

    at = int(widths * sigma)
    for x in (at, at + 1, -at - 111):
        assert abs(ratio(x) / ratio(0) - 1) < Decimal(2) ** -111


@pytest.mark.parametrize("sigma", [0.49, 0, -1.0, math.nan, math.inf, MOST * 2])
def test_widths_that_cannot_be_drawn_are_refused(sigma):
    with pytest.raises(ValueError, match=r"from 0\.5 to 2\^40"):
        levels(sigma)
