from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.preprocess.image import resample, standardise

sizes = st.integers(1, 40)
spacings = st.floats(0.1, 5)


def test_shrinking_by_a_whole_factor_is_the_mean_of_each_block() -> None:
    pixels = np.random.default_rng(0).normal(size=(12, 12))
    blocks = pixels.reshape(4, 3, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resample(pixels, (0.7, 0.7), 4), blocks, rtol=1e-5)


def test_the_same_grid_gives_the_same_image() -> None:
    pixels = np.random.default_rng(1).normal(size=(9, 9)).astype(np.float32)
    np.testing.assert_allclose(resample(pixels, (2.0, 2.0), 9), pixels, rtol=1e-6, atol=1e-6)


def test_shrinking_a_fine_checkerboard_does_not_alias() -> None:
    board = np.indices((96, 96)).sum(axis=0) % 2
    shrunk = resample(board, (1.0, 1.0), 31)
    assert np.abs(shrunk - 0.5).max() < 0.06
    assert set(np.unique(board[::3, ::3])) == {0, 1}, "picking every third pixel would alias"


def test_enlarging_interpolates_a_ramp_linearly() -> None:
    ramp = np.tile(np.arange(8.0), (8, 1))
    wide = resample(ramp, (1.0, 1.0), 16)
    np.testing.assert_allclose(np.diff(wide[8, 2:-2]), 0.5, atol=1e-6)


@given(sizes, sizes, spacings, spacings, st.integers(1, 24))
def test_an_image_of_one_value_keeps_it_inside_and_outside(
    rows: int, columns: int, row_mm: float, column_mm: float, size: int
) -> None:
    resampled = resample(np.full((rows, columns), 3.25), (row_mm, column_mm), size)
    assert resampled.shape == (size, size)
    np.testing.assert_allclose(resampled, 3.25)


@given(sizes, sizes, spacings, st.integers(1, 24), st.integers(0, 2**32 - 1))
def test_no_value_beyond_the_images_own_range(rows: int, columns: int, mm: float, size: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).normal(size=(rows, columns))
    resampled = resample(pixels, (mm, 1.0), size, 60.0)
    assert resampled.min() >= pixels.min() - 1e-5
    assert resampled.max() <= pixels.max() + 1e-5


def test_a_field_of_view_sees_one_patient_alike_through_two_spacings() -> None:
    def disc(count: int, mm: float) -> np.ndarray:
        axis = (np.arange(count) - (count - 1) / 2) * mm
        return (axis[:, None] ** 2 + axis[None, :] ** 2 < 50**2).astype(float)

    fine = resample(disc(300, 0.6), (0.6, 0.6), 32, 160.0)
    coarse = resample(disc(150, 1.2), (1.2, 1.2), 32, 160.0)
    assert np.abs(fine - coarse).mean() < 0.01
    area = fine.sum() * (160 / 32) ** 2
    assert area == pytest.approx(np.pi * 50**2, rel=0.01)


def test_beyond_the_image_lies_its_minimum() -> None:
    resampled = resample(np.full((4, 4), 7.0) + np.eye(4), (1.0, 1.0), 8, 8.0)
    assert resampled[0, 0] == 7.0


def test_unequal_spacing_keeps_the_aspect() -> None:
    tall = resample(np.ones((10, 10)) + np.eye(10), (2.0, 1.0), 10)
    assert tall[:, 0].std() == 0
    assert tall[5, 5] > 1


@pytest.mark.parametrize(
    ("shape", "spacing", "size", "field"),
    [
        ((4,), (1.0, 1.0), 4, None),
        ((0, 4), (1.0, 1.0), 4, None),
        ((4, 4), (0.0, 1.0), 4, None),
        ((4, 4), (1.0, float("nan")), 4, None),
        ((4, 4), (1.0, 1.0), 0, None),
        ((4, 4), (1.0, 1.0), 4, -1.0),
    ],
)
def test_refuses_what_has_no_grid(shape, spacing, size, field) -> None:
    with pytest.raises(ValueError, match=r"positive|resampled"):
        resample(np.zeros(shape), spacing, size, field)


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e3), st.integers(0, 2**32 - 1))
def test_standardised_images_do_not_depend_on_scale_and_offset(offset: float, scale: float, seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(3, 8, 8))
    once = standardise(image)
    np.testing.assert_allclose(once.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(once.std(axis=(1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(standardise(image * scale + offset), once, atol=1e-3)


@given(st.floats(-1e6, 1e6))
def test_a_constant_image_becomes_zeros(value: float) -> None:
    assert not standardise(np.full((5, 5), value, dtype=np.float32)).any()
