from __future__ import annotations

import numpy as np
import pytest

from fedmed.preprocess.fused import twin
from fedmed.preprocess.fused.augmentation import AugmentParameters
from fedmed.preprocess.fused.noise import normal


def parameters(matrix=None, **tones) -> AugmentParameters:
    chosen = {"gamma": 1, "contrast": 1, "brightness": 0, "noise": 0, **tones}
    single = {name: np.array([value], np.float32) for name, value in chosen.items()}
    grid = np.eye(4)[None, :3] if matrix is None else np.array(matrix, float)[None]
    return AugmentParameters(grid, **single, key=np.array([5 << 32 | 9], np.uint64))


RAMP = np.linspace(-50, 150, 12, dtype=np.float32).reshape(1, 1, 3, 4)
VALUES = (0.0, 100.0)


def test_gamma_bends_within_the_range_and_clamps_to_it():
    got = twin.augment(RAMP, parameters(gamma=2), values=VALUES)
    assert got == pytest.approx(np.clip(RAMP, 0, 100) ** 2 / 100, abs=1e-4)
    assert (twin.augment(RAMP, parameters(), values=VALUES) == RAMP).all()


def test_contrast_keeps_the_middle_and_brightness_is_a_share():
    assert twin.augment(RAMP, parameters(contrast=1.5), values=VALUES) == pytest.approx(50 + 1.5 * (RAMP - 50), abs=1e-4)
    assert twin.augment(RAMP, parameters(brightness=0.1), values=VALUES) == pytest.approx(RAMP + 10, abs=1e-4)


def test_noise_is_numbered_through_channels_slices_rows():
    images = np.zeros((1, 2, 3, 4, 5), np.float32)
    got = twin.augment(images, parameters(noise=0.5), values=(0, 2))
    assert got == pytest.approx(normal(5 << 32 | 9, np.arange(120, dtype=np.uint32)).reshape(images.shape), abs=1e-6)


def test_a_constant_edge_lies_outside_and_is_toned_like_the_rest():
    shifted = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2]])
    got = twin.augment(RAMP, parameters(shifted, brightness=0.1), values=VALUES, edge="constant", fill=30)
    assert got[..., :2] == pytest.approx(RAMP[..., 2:] + 10, abs=1e-4)
    assert got[..., 2:] == pytest.approx(40)


def test_labels_take_the_nearest_voxel_and_ties_go_up():
    labels = np.arange(4).reshape(1, 1, 1, 4)
    for shift, wanted in ((0.4, [0, 1, 2, 3]), (0.5, [1, 2, 3, 3]), (-0.5, [0, 1, 2, 3]), (-0.6, [0, 0, 1, 2])):
        matrix = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, shift]])
        assert list(twin.augment_labels(labels, parameters(matrix))[0, 0, 0]) == wanted
    matrix[2, 3] = -1
    assert list(twin.augment_labels(labels, parameters(matrix), edge="constant", fill=-100)[0, 0, 0]) == [-100, 0, 1, 2]
