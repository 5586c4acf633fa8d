from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedmed.errors import ConfigError
from fedmed.privacy.dp import gaussian
from fedmed.privacy.dp.gaussian import (
    add_noise,
    decided,
    noise,
    rounded_sensitivity,
    share_sigma,
    smoothed,
    sum_divergence,
)
from fedmed.privacy.dp.searching import by_numpy
from fedmed.privacy.dp.tables import levels, table
from fedmed.privacy.dp.words import RUN, SEGMENTS
from tests.privacy.dp.test_words import SEED, counter_mode

ALARM = 1e-6
"""Probability with which a right sampler would have failed one test; as the seeds are fixed, it passes or it does not."""


def seed(number: int) -> bytes:
    return hashlib.sha256(f"noise {number}".encode()).digest()[:24]


def pmf(sigma: float, reach: int) -> np.ndarray:
    weights = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def chi_square(draws: np.ndarray, sigma: float) -> float:
    """p-value against the definition; the rare ends are counted together."""
    reach = 1
    while pmf(sigma, reach + 1)[0] * len(draws) > 50:
        reach += 1
    wide = pmf(sigma, int(14 * sigma) + 2)
    middle, far = len(wide) // 2, np.abs(draws) > reach
    wanted = wide[middle - reach : middle + reach + 1] * len(draws)
    found = np.bincount(draws[~far] + reach, minlength=2 * reach + 1)
    return stats.chisquare([*found, far.sum()], [*wanted, len(draws) - wanted.sum()]).pvalue


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 30.0])
def test_draws_have_the_probabilities_of_the_definition(sigma):
    assert chi_square(noise(400_000, sigma, seed(1)), sigma) > ALARM


def test_over_a_hundred_seeds_the_p_values_are_those_of_a_right_sampler():
    values = [chi_square(noise(20_000, 3.0, seed(number)), 3.0) for number in range(100)]
    assert stats.kstest(values, "uniform").pvalue > ALARM
    assert sum(value < 0.01 for value in values) <= 9  # P[binomial(100, .01) > 9] = 8e-8


@pytest.mark.parametrize("sigma", [700.0, 5e3, 1e5, 1e7, 1e10])
def test_wide_noise_has_the_law_and_the_moments(sigma):
    draws = noise(200_000, sigma, seed(2)) / sigma
    assert stats.kstest(draws, "norm").pvalue > ALARM
    count = len(draws)
    scores = [draws.mean() * count**0.5, (draws.var() - 1) * (count / 2) ** 0.5]
    scores += [(draws**3).mean() * (count / 15) ** 0.5, ((draws**4).mean() - 3) * (count / 96) ** 0.5]
    assert np.abs(scores).max() < 5


@pytest.mark.parametrize("modulus", [2, 7, 221, 256, 512])
def test_the_low_digits_of_wide_noise_are_even(modulus):
    """A sum of tables that were too narrow for their steps would show its steps here."""
    found = np.bincount(noise(300_000, 1e6, seed(3)) % modulus, minlength=modulus)
    assert stats.chisquare(found).pvalue > ALARM


@pytest.mark.parametrize("sigma", [3.0, 1e6])
def test_lanes_and_seeds_are_independent(sigma):
    draws, other = noise(300_000, sigma, seed(4)) / sigma, noise(300_000, sigma, seed(5)) / sigma
    for lag in (1, 2, 3, RUN, 2 * RUN, 3 * RUN):
        assert abs((draws[lag:] * draws[:-lag]).mean()) * (len(draws) - lag) ** 0.5 < 5
    assert abs((draws * other).mean()) * len(draws) ** 0.5 < 5


def test_sums_of_shares_have_the_variance_that_is_accounted_for():
    honest, total = 7, 40.0
    share = share_sigma(total, honest)
    opened = sum(noise(200_000, share, seed(100 + clinic)) for clinic in range(honest))
    assert abs(opened.var() / total**2 - 1) * (len(opened) / 2) ** 0.5 < 5
    assert chi_square(opened, total) > ALARM


def by_definition(count: int, sigma: float) -> list[int]:
    """Lane by lane, with all 127 bits of every word, from counter mode: no GCM, no search among upper bits."""
    terms = levels(sigma)
    size = -(-count // RUN) * RUN * len(terms)
    first, second = counter_mode(0, size), counter_mode(SEGMENTS, size)
    drawn = []
    for lane in range(count):
        chunk, within = divmod(lane, RUN)
        value = 0
        for level, term in enumerate(terms):
            at = (chunk * len(terms) + level) * RUN + within
            value = value * term.step + decided(int(first[at]), int(second[at]), term.table)
        drawn.append(value)
    return drawn


@pytest.mark.parametrize(("count", "sigma"), [(RUN + 100, 3.0), (RUN + 5, 1e5)])
def test_the_noise_is_what_the_definition_says(count, sigma):
    assert noise(count, sigma, SEED).tolist() == by_definition(count, sigma)


def test_known_answers_hold_for_other_implementations():
    assert noise(8, 3.0, SEED).tolist() == KNOWN[3.0]
    assert noise(8, 1e6, SEED).tolist() == KNOWN[1e6]
    assert noise(8, 123_456_789.0, SEED).tolist() == KNOWN[123_456_789.0]


KNOWN = {
    3.0: [5, -3, 3, 4, 4, -2, -2, -2],
    1e6: [1505627, -747765, 779501, 1240457, 1308196, -585838, -498277, -463175],
    123_456_789.0: [170834956, -89698696, 75125302, 133820733, 148791432, -86294729, -56150672, -48392963],
}


@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
def test_noise_is_added_to_every_lane_around_the_end(kind):
    lanes = np.full(RUN + 3, 7, kind)
    add_noise(lanes, 1e6, SEED)
    wanted = (noise(RUN + 3, 1e6, SEED) + 7) % (1 << np.dtype(kind).itemsize * 8)
    assert (lanes == wanted).all()


def test_without_compiled_code_the_noise_is_the_same(monkeypatch):
    wanted = noise(140_000, 1e6, SEED)
    monkeypatch.setattr(gaussian, "search_for", lambda count: by_numpy)
    assert (noise(140_000, 1e6, SEED) == wanted).all()


def test_a_word_on_a_bound_is_decided_by_64_more_bits():
    made = table(30.0)
    words = np.array([made.high[4] << np.uint64(1), made.high[4] << np.uint64(1) | np.uint64(1), 5], np.uint64)
    low = counter_mode(SEGMENTS, 2)
    exact = made.bounds[4] & (2**64 - 1)
    drawn = gaussian._draw(words, made, by_numpy, SEED, 0)
    assert drawn.tolist() == [5 if int(low[0]) >= exact else 4, -5 if int(low[1]) >= exact else -4, 0]
    assert [decided(int(words[0]), exact - 1, made), decided(int(words[0]), exact, made)] == [4, 5]


@pytest.mark.parametrize("lanes", [np.zeros(4, np.int32), np.zeros(4, np.float32), np.zeros((2, 2), np.uint32)])
def test_lanes_of_another_kind_are_refused(lanes):
    with pytest.raises(ValueError, match="uint16 or uint32"):
        add_noise(lanes, 3.0, SEED)


def test_shares_of_too_coarse_a_lattice_are_refused_with_what_to_change():
    assert share_sigma(30, 9) == 10
    with pytest.raises(ConfigError, match=r"2\.83 lattice units .* at least 3 .* finer lattice"):
        share_sigma(8, 8)
    with pytest.raises(ConfigError, match="0 honest clinics"):
        share_sigma(8, 0)
    with pytest.raises(ConfigError, match="nan lattice units"):
        share_sigma(math.nan, 2)


def test_what_a_sum_of_discrete_gaussians_is_off_by():
    """The figures of the theorem, and the bound itself against exact sums of narrow shares."""
    assert sum_divergence(3.0, 10, 1) == pytest.approx(2.7e-38, rel=0.1)
    assert sum_divergence(3.0, 128, 10**9) < 1e-27
    with pytest.raises(ConfigError, match="finer lattice"):
        sum_divergence(1.0, 10, 1)
    for share, shares in ((0.8, 2), (0.8, 5), (1.0, 3)):
        summed, one = np.ones(1), pmf(share, 20)
        for _ in range(shares):
            summed = np.convolve(summed, one)
        inner = slice(20 * (shares - 1), len(summed) - 20 * (shares - 1))
        ratio = np.log(summed[inner] / pmf(share * shares**0.5, 20))
        tau = 10 * sum(math.exp(-2 * (math.pi * share) ** 2 * k / (k + 1)) for k in range(1, shares))
        assert np.abs(ratio[10:-10]).max() <= tau


@pytest.mark.parametrize("sigma", [3.0, 5.0, 20.0])
@pytest.mark.parametrize("step", [1, 3])
def test_the_discrete_gaussian_hides_what_its_smoothed_twin_hides(sigma, step):
    """delta(epsilon) of the discrete one, summed exactly, is never above that of the continuous one of variance less 4."""
    twin = math.sqrt(sigma**2 - 4)
    assert smoothed(twin) == pytest.approx(sigma)
    law = np.pad(pmf(sigma, int(12 * sigma)), step)
    for epsilon in (0.0, 0.1, 0.5, 1.0, 2.0):
        exact = np.maximum(law[step:] - math.exp(epsilon) * law[:-step], 0).sum()
        normal = stats.norm.cdf(step / (2 * twin) - epsilon * twin / step)
        normal -= math.exp(epsilon) * stats.norm.cdf(-step / (2 * twin) - epsilon * twin / step)
        assert exact <= normal + 1e-15


@given(
    st.integers(1, 4000),
    st.floats(0, 300),
    st.sampled_from([0.5, 0.1, 0.01]),
    st.integers(0, 2**32),
)
@settings(max_examples=50, deadline=None)
def test_rounding_lengthens_a_vector_by_no_more_than_its_bound(dimensions, length, beta, number):
    random = np.random.default_rng(number)
    vector = random.normal(size=dimensions)
    vector *= length / max(np.linalg.norm(vector), 1e-300)
    norms = np.linalg.norm([np.floor(vector + random.random(dimensions)) for _ in range(60)], axis=1)
    assert norms.max() <= rounded_sensitivity(length, dimensions, 0) + 1e-9
    over = (norms > rounded_sensitivity(length, dimensions, beta) + 1e-9).sum()
    assert stats.binom.sf(over - 1, 60, beta) > 1e-9


def test_rounding_costs_nothing_on_a_fine_lattice_and_is_refused_for_nonsense():
    assert rounded_sensitivity(2e7, 10_000_000, 2**-40) / 2e7 < 1 + 4e-7
    assert rounded_sensitivity(10, 100, 0) == 20
    for wrong in ((-1, 10, 0.1), (1, 0, 0.1), (1, 10, 1), (1, 10, -0.1)):
        with pytest.raises(ValueError, match="not a vector's norm"):
            rounded_sensitivity(*wrong)
