from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.preprocess.moments import Moments, moments

seeds = st.integers(0, 2**32 - 1)


@given(
    seeds,
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.floats(-1e3, 1e3),
    st.floats(1e-2, 1e3),
    st.booleans(),
)
def test_sites_together_equal_the_pooled_set(
    seed: int, counts: list[int], mean: float, scale: float, unbiased: bool
) -> None:
    counts = [*counts, 2]
    rng = np.random.default_rng(seed)
    parts = [rng.normal(mean, scale, size=(count, 3)).astype(np.float32) for count in counts]
    pooled = np.concatenate(parts).astype(np.float64)
    total = sum((moments(part) for part in parts[1:]), moments(parts[0]))
    got_mean, got_std = total.mean_std(unbiased=unbiased)
    size = np.abs(pooled).max()
    np.testing.assert_allclose(got_mean, pooled.mean(axis=0), rtol=1e-9, atol=1e-12 * size)
    np.testing.assert_allclose(got_std, pooled.std(axis=0, ddof=int(unbiased)), rtol=1e-4, atol=1e-6 * size)


@given(st.floats(-1e6, 1e6, width=32), st.integers(1, 500))
def test_a_constant_feature_has_deviation_exactly_zero(value: float, count: int) -> None:
    _, deviation = moments(np.full((count, 1), value, dtype=np.float32)).mean_std()
    assert deviation[0] == 0


def test_images_are_flattened_into_features() -> None:
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert moments(x).sum.tolist() == x.reshape(2, 12).sum(axis=0).tolist()


def test_uint8_squares_do_not_overflow() -> None:
    assert moments(np.full((3, 1), 255, dtype=np.uint8)).sumsq[0] == 3 * 255**2


def test_an_empty_site_adds_nothing() -> None:
    some = moments(np.ones((4, 2)))
    total = some + moments(np.zeros((0, 2)))
    assert total.n == 4
    assert total.sum.tolist() == some.sum.tolist()


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="cannot be added"):
        moments(np.ones((2, 2))) + moments(np.ones((2, 3)))


@pytest.mark.parametrize(("n", "unbiased"), [(0, False), (1, True)])
def test_too_few_cases(n: int, unbiased: bool) -> None:
    with pytest.raises(ValueError, match=f"{n} cases"):
        Moments(n, np.zeros(1), np.zeros(1)).mean_std(unbiased=unbiased)
