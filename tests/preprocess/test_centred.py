from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.preprocess.centred import image_on_grid, mask_on_grid, steps_for
from fedmed.preprocess.image import resample


@pytest.mark.parametrize("size", [8, 20, 33])
def test_a_square_image_is_resampled_as_it_always_was(size):
    image = np.random.default_rng(0).normal(size=(17, 23))
    steps = steps_for(image.shape, (0.7, 0.5), (size, size), None)
    np.testing.assert_allclose(
        image_on_grid(image, (0.7, 0.5), (size, size), steps), resample(image, (0.7, 0.5), size), rtol=1e-5, atol=1e-5
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 7), min_size=2, max_size=3))
def test_on_its_own_grid_nothing_changes(shape):
    rng = np.random.default_rng(1)
    image, mask = rng.normal(size=shape), rng.integers(0, 3, shape).astype(np.uint8)
    spacing = (1.5,) * len(shape)
    np.testing.assert_allclose(image_on_grid(image, spacing, shape, spacing), image, rtol=1e-5, atol=1e-6)
    assert np.array_equal(mask_on_grid(mask, spacing, shape, spacing), mask)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_finer_grid_repeats_mask_voxels_and_invents_no_class(factor):
    mask = np.random.default_rng(2).integers(0, 4, (3, 4, 5)).astype(np.uint8)
    size = [side * factor for side in mask.shape]
    made = mask_on_grid(mask, (3.0, 3.0, 3.0), size, (3.0 / factor,) * 3)
    expected = mask
    for axis in range(3):
        expected = np.repeat(expected, factor, axis)
    assert np.array_equal(made, expected)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 1.0, 0.7)])
def test_image_and_mask_stay_on_each_other(spacing):
    mask = np.zeros((20, 30, 30), np.uint8)
    mask[6:14, 8:20, 10:26] = 1
    size, steps = (16, 24, 20), (1.9, 1.3, 1.4)
    moved = mask_on_grid(mask, spacing, size, steps)
    image = image_on_grid(mask, spacing, size, steps)
    assert moved.any()
    assert (image[moved == 1] > 0.45).mean() > 0.95
    assert (image[moved == 0] < 0.55).mean() > 0.95


def test_beyond_the_image_lies_air_and_background():
    image, mask = np.full((4, 4), 7.0), np.ones((4, 4), np.uint8)
    image[0, 0] = -3
    made = image_on_grid(image, (1, 1), (8, 8), (1, 1))
    assert (made[0] == -3).all()
    assert mask_on_grid(mask, (1, 1), (8, 8), (1, 1)).sum() == 16


def test_without_a_step_the_whole_image_fits_and_keeps_its_aspect():
    assert steps_for((10, 40), (1.0, 0.5), (20, 20), None) == (1.0, 1.0)
    assert steps_for((10, 40), (1.0, 0.5), (20, 20), (0.3, 0.4)) == (0.3, 0.4)
