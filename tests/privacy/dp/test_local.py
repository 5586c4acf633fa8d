from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fedmed.errors import ConfigError, UpdateRefused
from fedmed.privacy.dp.local import WIDTH, noised

SEED = bytes(range(24))


@pytest.mark.parametrize(("clip", "multiplier"), [(1.5, 1.3), (1e-3, 0.5), (1e4, 20.0)])
def test_noise_is_what_is_accounted_for_and_hardly_more(clip, multiplier):
    size = 200_000
    drawn = noised(np.zeros(size), clip, multiplier, SEED)
    rounding = multiplier * math.sqrt(size) / WIDTH
    wanted = clip * multiplier * (1 + rounding)
    assert drawn.std() == pytest.approx(wanted, rel=5 / math.sqrt(2 * size))
    assert stats.kstest(drawn / wanted, "norm").pvalue > 1e-6


def test_all_that_leaves_lies_on_the_lattice():
    total = np.random.default_rng(0).normal(size=5000) * 40
    unit = 1.5 * 1.3 / WIDTH
    found = noised(total, 1.5, 1.3, SEED) / unit
    assert abs(found - np.rint(found)).max() < 1e-6
    assert abs(noised(total + unit, 1.5, 1.3, SEED) / unit - found - 1).max() < 1e-6


def test_the_sum_is_in_it():
    total = np.random.default_rng(0).normal(size=5000) * 1e6
    np.testing.assert_allclose(noised(total, 1.0, 1.0, SEED), total, atol=6)


def test_another_seed_makes_other_noise():
    first, again, other = (noised(np.zeros(100), 1.0, 1.0, key) for key in (SEED, SEED, SEED[::-1]))
    assert first.tolist() == again.tolist()
    assert (first != other).all()


@pytest.mark.parametrize(("clip", "multiplier"), [(0.0, 1.0), (1.0, 0.0), (math.inf, 1.0), (1.0, math.nan)])
def test_no_noise_is_refused(clip, multiplier):
    with pytest.raises(ConfigError, match="must be above 0"):
        noised(np.zeros(3), clip, multiplier, SEED)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_sums_that_are_not_finite_are_refused(value):
    with pytest.raises(UpdateRefused, match="not finite"):
        noised(np.array([0.0, value]), 1.0, 1.0, SEED)
