from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedmed.learning import intervals
from fedmed.learning.intervals import Z, auc_figure, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 10), (10, 10), (7, 10), (81, 263), (1, 100_000)])
def test_wilson_is_scipys(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    got = wilson(successes, trials)
    assert got.value == successes / trials
    assert got.low == pytest.approx(expected.low, abs=1e-12)
    assert got.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_of_the_textbook():
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
    got = [wilson(*pair) for pair in ((81, 263), (15, 148), (0, 20), (1, 29))]
    assert [(round(one.low, 4), round(one.high, 4)) for one in got] == [
        (0.2553, 0.3662),
        (0.0624, 0.1605),
        (0.0, 0.1611),
        (0.0061, 0.1718),
    ]


def test_nothing_tried_is_undefined():
    assert wilson(0, 0).value is None


def test_the_quantile_is_that_of_the_normal_distribution():
    assert pytest.approx(stats.norm.ppf(0.975)) == Z


def test_the_standard_error_of_the_auc_is_hanleys_and_mcneils():
    """Hanley & McNeil 1982: an area of .893 from 58 and 51 cases has a standard error of .032."""
    assert intervals._auc_standard_error(0.893, 58, 51) == pytest.approx(0.032, abs=0.001)


def test_the_interval_of_the_auc_ends_where_the_area_is_z_standard_errors_away():
    found = auc_figure(0.893, 58, 51)
    for bound in (found.low, found.high):
        assert abs(bound - 0.893) == pytest.approx(Z * intervals._auc_standard_error(bound, 58, 51), rel=1e-6)


def test_a_perfect_separation_of_few_cases_is_not_certain():
    found = auc_figure(1.0, 5, 6)
    assert found.high == 1.0
    assert 0.5 < found.low < 0.8


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_share(pair):
    got = wilson(*pair)
    assert 0 <= got.low <= got.value <= got.high <= 1
