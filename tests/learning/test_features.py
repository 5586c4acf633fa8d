from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedmed.errors import DataError
from fedmed.learning.features import TABLE, image, invariants, plain, standardised_image

SIDE = 12
PARTS = {"pixels": 144, "sorted": 144, "spectrum": SIDE * (SIDE // 2 + 1), "averaged": 144, "statistics": 6}


def grey(count: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE)).astype(np.uint8)


def parts(x: np.ndarray) -> dict[str, np.ndarray]:
    cuts = np.cumsum(list(PARTS.values()))
    features = invariants(x)
    assert features.shape == (len(x), cuts[-1])
    return dict(zip(PARTS, np.split(features, cuts[:-1], axis=1), strict=True))


TURNS = [(k, mirror) for k in range(4) for mirror in (False, True)]


@pytest.mark.parametrize(("k", "mirror"), TURNS)
def test_a_lesion_has_no_upright(k, mirror):
    x = grey()
    turned = np.rot90(x[:, :, ::-1] if mirror else x, k, (1, 2))
    before, after = parts(x), parts(np.ascontiguousarray(turned))
    for name in ("sorted", "averaged", "statistics"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-4, atol=1e-5, err_msg=name)
    if (k, mirror) != (0, False):
        assert not np.allclose(after["pixels"], before["pixels"])


@given(st.integers(0, SIDE - 1), st.integers(0, SIDE - 1), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_spectrum_does_not_know_where_in_the_image(down, right, seed):
    x = grey(1, seed)
    np.testing.assert_allclose(
        parts(np.roll(x, (down, right), (1, 2)))["spectrum"], parts(x)["spectrum"], rtol=1e-3, atol=1e-4
    )


def test_the_average_does_not_know_gain_and_offset():
    x = grey().astype(np.float32) / 255
    np.testing.assert_allclose(parts(x * 0.3 + 0.2)["averaged"], parts(x)["averaged"], rtol=1e-3, atol=1e-4)


def test_parts_are_what_they_are_called():
    x = grey()
    got, scaled = parts(x), x.reshape(3, -1) / 255.0
    np.testing.assert_allclose(got["pixels"], scaled, atol=1e-6)
    np.testing.assert_allclose(got["sorted"], np.sort(scaled, 1), atol=1e-6)
    np.testing.assert_allclose(
        got["spectrum"], np.abs(np.fft.rfft2(scaled.reshape(x.shape))).reshape(3, -1) / SIDE, rtol=1e-4, atol=1e-5
    )
    expected = [scaled.mean(1), scaled.std(1), scaled.min(1), scaled.max(1), stats.skew(scaled, axis=1)]
    expected.append(stats.kurtosis(scaled, axis=1, fisher=False))
    np.testing.assert_allclose(got["statistics"], np.stack(expected, 1), rtol=1e-4, atol=1e-5)


def test_a_flat_image_has_finite_features():
    features = invariants(np.full((2, SIDE, SIDE), 7, np.uint8))
    assert np.isfinite(features).all()
    assert np.isfinite(standardised_image(np.zeros((2, SIDE, SIDE), np.float32))).all()


def test_no_images_have_no_features():
    for name, width in (("invariants", sum(PARTS.values())), ("image", SIDE * SIDE)):
        assert TABLE[name](grey()[:0]).reshape(0, width).shape == (0, width)


@pytest.mark.parametrize(
    ("dtype", "top", "scaled"),
    [(np.uint8, 255, 1.0), (np.uint16, 65535, 1.0), (np.float32, 0.5, 0.5), (np.int16, 900, 900.0)],
)
def test_intensities_of_stored_images_become_shares_of_the_scale(dtype, top, scaled):
    made = image(np.full((2, 3, 4), top, dtype))
    assert (made.dtype, made.shape) == (np.float32, (2, 1, 3, 4))
    assert np.unique(made).tolist() == [scaled]


def test_channels_come_first():
    assert image(np.zeros((2, 3, 8, 9), np.uint8)).shape == (2, 3, 8, 9)


@given(st.floats(0.1, 50), st.floats(-1000, 1000), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_standardised_image_does_not_know_its_scanner(gain, offset, seed):
    x = grey(2, seed).astype(np.float32)
    made = standardised_image(x)
    np.testing.assert_allclose(made.mean((1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(made.std((1, 2, 3)), 1, atol=1e-4)
    np.testing.assert_allclose(standardised_image(x * np.float32(gain) + np.float32(offset)), made, atol=5e-3)


def test_numbers_stay_as_they_are():
    made = plain(np.array([[1, 2], [3, 4]], np.float64))
    assert made.dtype == np.float32
    assert made.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("name", TABLE)
def test_the_cases_themselves_are_not_changed(name):
    x = grey().astype(np.float32)
    before = x.copy()
    TABLE[name](x)[...] *= 1
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [
        ("image", (2, 5), r"shape \(5,\) are no images"),
        ("standardised-image", (2, 5), "tabular task"),
        ("invariants", (2, 5), "no images"),
        ("invariants", (2, 6, 8), r"\(1, 6, 8\).*grey and square"),
        ("invariants", (2, 3, 8, 8), r"\(3, 8, 8\).*grey and square"),
    ],
)
def test_what_is_no_such_image_is_refused(name, shape, why):
    with pytest.raises(DataError, match=why):
        TABLE[name](np.zeros(shape, np.uint8))
