from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedmed.preprocess.fused import twin
from fedmed.preprocess.fused.augmentation import AugmentRanges, draw

WILD = AugmentRanges(
    flip=(0.5, 0.5, 0.5),
    rotation_deg=(30, 20, 10),
    scale=(0.8, 1.25),
    shear=0.1,
    shift_mm=5,
    gamma=(0.7, 1.5),
    contrast=(0.8, 1.2),
    brightness=0.1,
    noise=(0, 0.1),
)


def drawn(ranges=WILD, n=8, shape=(9, 11, 13), seed=1, **options):
    return draw(ranges, np.random.default_rng(seed), n, shape, **options)


def test_the_same_generator_draws_the_same():
    one, two, other = drawn(), drawn(), drawn(seed=2)
    for field in dataclasses.fields(one):
        assert (getattr(one, field.name) == getattr(two, field.name)).all()
        assert (getattr(one, field.name) != getattr(other, field.name)).any()


def test_nothing_asked_is_nothing_done():
    parameters = drawn(AugmentRanges(flip=(0, 0, 0)))
    assert (parameters.to_voxel == np.eye(4)[:3]).all()
    images = np.random.default_rng(0).uniform(0, 1, (8, 2, 9, 11, 13)).astype(np.float32)
    assert np.abs(twin.augment(images, parameters) - images).max() < 1e-7


def test_a_flip_is_exact():
    parameters = drawn(AugmentRanges(flip=(0, 1, 1)))
    images = np.random.default_rng(0).uniform(0, 1, (8, 1, 9, 11, 13)).astype(np.float32)
    assert np.abs(twin.augment(images, parameters) - images[:, :, :, ::-1, ::-1]).max() < 1e-7


def test_an_image_stays_in_its_plane():
    for matrix in drawn(shape=(1, 11, 13)).to_voxel:
        assert list(matrix[0]) == [1, 0, 0, 0]
        assert list(matrix[1:, 0]) == [0, 0]


def test_turns_happen_in_millimetres():
    """Columns of the drawn matrix, in mm, are at right angles and of length 1 / scale, however flat the voxels."""
    spacing = np.array([5.0, 0.7, 0.9])
    ranges = AugmentRanges(rotation_deg=(40, 30, 20), scale=(1.25, 1.25))
    for matrix in drawn(ranges, spacing_mm=(5.0, 0.7, 0.9)).to_voxel:
        in_mm = matrix[:, :3] * spacing[:, None] / spacing[None, :]
        assert np.allclose(in_mm.T @ in_mm, np.eye(3) / 1.25**2)
        centre = (np.array([9, 11, 13]) - 1) / 2
        assert np.allclose(matrix[:, :3] @ centre + matrix[:, 3], centre)


BAD = [
    ({"gamma": np.zeros(8, np.float32)}, "gamma above 0"),
    ({"noise": np.full(8, np.nan, np.float32)}, "finite"),
    ({"contrast": np.ones(7, np.float32)}, "8 finite numbers"),
    ({"key": np.zeros((8, 2), np.uint64)}, "keys"),
    ({"to_voxel": np.zeros((7, 3, 4))}, "matrices"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_parameters_that_cannot_be_right_are_refused(change, message):
    images = np.zeros((8, 1, 9, 11, 13), np.float32)
    with pytest.raises(ValueError, match=message):
        twin.augment(images, dataclasses.replace(drawn(), **change))


def test_batches_that_cannot_be_right_are_refused():
    good = np.zeros((8, 1, 9, 11, 13), np.float32)
    for images, options, message in (
        (good[0, 0], {}, r"\(N, C, H, W\)"),
        (good.astype(np.float64), {}, "float32"),
        (good, {"edge": "mirror"}, "border"),
        (good, {"values": (1, 1)}, "range of values"),
    ):
        with pytest.raises(ValueError, match=message):
            twin.augment(images, drawn(), **options)
    with pytest.raises(ValueError, match="whole numbers"):
        twin.augment_labels(good, drawn())
    assert twin.augment_labels(good.astype(bool), drawn()).dtype == bool
