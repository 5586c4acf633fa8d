from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import stats

from fedmed.errors import ConfigError
from fedmed.privacy.dp.sampling import poisson


def seed(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()[:24]


SINGLE = [np.array([row]) for row in range(300)]


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_sizes_are_those_of_coins(rate):
    sizes = [len(poisson(SINGLE, rate, seed(number))) for number in range(2000)]
    expected = stats.binom(300, rate)
    edges = np.unique(expected.ppf(np.linspace(0.1, 0.9, 9)))
    seen = np.histogram(sizes, [-1, *edges + 0.5, 301])[0]
    wanted = 2000 * np.diff([0, *expected.cdf(edges), 1])
    assert stats.chisquare(seen, wanted).pvalue > 1e-6


def test_every_unit_takes_part_as_often_and_independently_of_the_others():
    taken = np.zeros((3000, 300))
    for number in range(3000):
        taken[number, poisson(SINGLE, 0.25, seed(number))] = 1
    assert abs((taken.mean(0) - 0.25) / np.sqrt(0.25 * 0.75 / 3000)).max() < 5
    correlations = np.corrcoef(taken.T)[np.triu_indices(300, 1)] * np.sqrt(3000)
    assert abs(correlations).max() < 6.5
    assert correlations.std() == pytest.approx(1, abs=0.05)


def test_a_patient_shows_one_record_a_step_drawn_evenly():
    groups = [np.array([0, 1, 2, 3]), np.array([7]), np.array([4, 5])]
    seen = np.zeros(8)
    for number in range(4000):
        rows = poisson(groups, 1.0, seed(number))
        assert [len(np.intersect1d(rows, group)) for group in groups] == [1, 1, 1]
        seen[rows] += 1
    assert seen[7] == 4000
    assert seen[6] == 0
    assert stats.chisquare(seen[:4]).pvalue > 1e-6
    assert stats.chisquare(seen[4:6]).pvalue > 1e-6


def test_a_seed_makes_one_sample_and_more_units_than_a_run_of_words_are_drawn_too():
    many = [np.array([row]) for row in range(40_000)]
    rows = poisson(many, 0.5, seed(1))
    assert rows.tolist() == poisson(many, 0.5, seed(1)).tolist() != poisson(many, 0.5, seed(2)).tolist()
    assert abs(len(rows) - 20_000) < 600
    assert abs((rows >= 32_768).mean() - 7232 / 40_000) < 0.02


def test_nobody_and_everybody():
    assert poisson([], 0.5, seed(0)).tolist() == []
    assert poisson(SINGLE, 1.0, seed(0)).tolist() == list(range(300))
    assert len(poisson(SINGLE, 1e-12, seed(0))) == 0


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_other_rates_are_refused(rate):
    with pytest.raises(ConfigError, match="sampling rate"):
        poisson(SINGLE, rate, seed(0))
