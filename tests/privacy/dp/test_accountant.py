from __future__ import annotations

import math
import sys
import warnings

import pytest
from scipy import stats

from fedmed.errors import ConfigError, MissingPart
from fedmed.privacy.dp import accountant
from fedmed.privacy.dp.accountant import Release, epsilon, noise_for

TABLE = [
    (256 / 60000, 1.1, 3525, 1.135, 1.146, 1.283),
    (512 / 50000, 1.5, 8820, 3.051, 3.061, 3.314),
    (0.01, 1.0, 1000, 1.828, 1.838, 2.101),
    (1.0, 8.0, 100, 5.680, 5.690, 6.123),
    (0.1, 2.0, 200, 3.360, 3.370, 3.680),
]
"""Rate, noise, releases; epsilon at delta 1e-5 by PLD, by Opacus' PRV and by RDP, as measured with the libraries alone."""


def cost(noise: float, rate: float = 1.0, count: int = 1, delta: float = 1e-5) -> float:
    return epsilon([Release("weights", "gaussian", noise, rate, count)], delta)


@pytest.mark.parametrize(("rate", "noise", "count", "pld", "prv", "rdp"), TABLE)
def test_epsilon_is_that_of_both_libraries(rate, noise, count, pld, prv, rdp):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's, while torch is imported
        accountants = pytest.importorskip("opacus.accountants", reason="opacus is not installed: pip install 'fedmed[dp]'")
        theirs = accountants.PRVAccountant()
        theirs.history = [(noise, rate, count)]
        opacus = float(theirs.get_epsilon(1e-5))
    ours = cost(noise, rate, count)
    assert ours == pytest.approx(pld, abs=5e-4)
    assert opacus == pytest.approx(prv, abs=1e-3)
    assert abs(ours - opacus) < 0.02
    assert accountant._epsilon(((rate, noise, count),), 1e-5, True) == pytest.approx(rdp, rel=0.01)


def delta_of(noise: float, cost: float) -> float:
    """Of the Gaussian mechanism (Balle, Wang: Improving the Gaussian Mechanism, ICML 2018, theorem 8)."""
    return stats.norm.cdf(1 / (2 * noise) - cost * noise) - math.exp(cost) * stats.norm.cdf(-1 / (2 * noise) - cost * noise)


@pytest.mark.parametrize("noise", [0.3, 0.8, 3.0, 50.0])
def test_epsilon_of_one_release_is_the_closed_form_and_never_below_it(noise):
    found = cost(noise)
    assert delta_of(noise, found) <= 1e-5
    assert delta_of(noise, found * (1 - 2e-3) - 3e-4) > 1e-5 or found < 1e-3


def test_epsilon_composes():
    first, second = Release("weights", "gaussian", 2.0, 0.1, 50), Release("histogram", "discrete gaussian", 20.0)
    together = epsilon([first, second], 1e-5)
    assert together == epsilon([second, first], 1e-5)
    assert together > max(epsilon([first], 1e-5), epsilon([second], 1e-5))
    assert together <= epsilon([first], 5e-6) + epsilon([second], 5e-6) + 1e-3
    split = [Release("weights", "gaussian", 2.0, 0.1, 20), Release("weights", "gaussian", 2.0, 0.1, 30), second]
    assert epsilon(split, 1e-5) == pytest.approx(together, abs=1e-9)
    assert epsilon([], 1e-5) == 0
    assert cost(8.0, 1.0, 64) == pytest.approx(cost(1.0), abs=1e-9)


def test_epsilon_is_monotone():
    assert cost(1.0, 0.1, 10) < cost(1.0, 0.1, 20) < cost(1.0, 0.2, 20) < cost(0.9, 0.2, 20)
    assert cost(2.0, delta=1e-6) > cost(2.0, delta=1e-5)
    assert cost(0.26) < cost(0.24) < cost(0.2)


def test_without_noise_epsilon_is_infinite():
    assert cost(0.0) == math.inf
    assert epsilon([Release("weights", "gaussian", 4.0), Release("loss", "gaussian", 0.0)], 1e-5) == math.inf


def test_what_rounding_may_exceed_is_taken_off_delta():
    rounded = Release("weights", "discrete gaussian", 8.0, 1.0, 100, 5e-8)
    assert epsilon([rounded], 1e-5) == pytest.approx(cost(8.0, 1.0, 100, 5e-6), abs=1e-9)
    with pytest.raises(ConfigError, match="taken by stochastic rounding"):
        epsilon([rounded], 4e-6)
    for delta in (0.0, 1.0, -1e-5, math.nan):
        with pytest.raises(ConfigError, match="it must be below 1"):
            cost(1.0, delta=delta)


SLOW = [pytest.param(*each, marks=pytest.mark.nightly) for each in ((0.5, 0.01, 100), (30.0, 1.0, 1))]
"""Seconds each, for their tables of losses are long; the search is the same."""


@pytest.mark.parametrize(("target", "rate", "count"), [(3.0, 1.0, 100), (3.0, 0.05, 3000), (1e-3, 1.0, 1), *SLOW])
def test_the_least_noise_that_does_is_found(target, rate, count):
    tried = []
    noise = noise_for(target, 1e-5, rate, count, lambda: tried.append(1))
    assert cost(noise, rate, count) <= target
    assert cost(noise / 1.0015, rate, count) > target
    assert 2 <= len(tried) < 20


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(ConfigError, match="noise multiplier above"):
        noise_for(1e-6, 1e-12, 1.0, 10**9)
    for target in (0, -1, math.inf, math.nan):
        with pytest.raises(ConfigError, match="above 0 and finite"):
            noise_for(target, 1e-5, 1.0, 1)


def test_all_that_is_wrong_with_a_release_is_said_at_once():
    with pytest.raises(ConfigError) as told:
        Release("weights", "laplace", -1.0, 2.0, 0, 1.0)
    assert all(
        word in str(told.value)
        for word in ("'laplace'", "gaussian, discrete gaussian", "multiplier -1", "rate 2.0", "count 0", "beta 1.0")
    )


def test_without_dp_accounting_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(MissingPart, match=r"fedmed\[dp\]"):
        cost(1.2345)
