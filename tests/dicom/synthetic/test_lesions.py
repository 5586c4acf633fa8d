from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.clock import generator
from fedmed.dicom.synthetic.lesions import Lesion, fill, scatter

coordinate = st.floats(-20, 20)


@settings(max_examples=40, deadline=None)
@given(
    columns=st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=4, max_size=4),
    index=st.tuples(st.integers(-3, 12), st.integers(-3, 14), st.integers(-3, 16)),
    radius=st.floats(0.5, 60),
)
def test_a_lesion_fills_the_voxels_whose_centre_is_within_its_radius_on_any_grid(columns, index, radius):
    affine = np.eye(4)
    affine[:3] = np.array(columns).T
    x, y, z = affine[:3, :3].T
    if abs(x @ np.cross(y, z)) < 1:  # det warns of columns that are all but nothing
        return
    shape = (10, 12, 14)
    centre = (affine @ [*index, 1])[:3] + 0.1234
    voxels = np.zeros(shape, np.float32)
    mask = fill(voxels, affine, shape, [Lesion(tuple(centre.tolist()), radius, 77.0)])
    grid = np.stack(np.meshgrid(*map(np.arange, shape), np.ones(1), indexing="ij"), axis=-1)[..., 0, :]
    distance = np.linalg.norm((grid @ affine.T)[..., :3] - centre, axis=-1)
    sure = np.abs(distance - radius) > 1e-6
    np.testing.assert_array_equal(mask[sure], (distance <= radius)[sure])
    np.testing.assert_array_equal(voxels, np.where(mask, np.float32(77), np.float32(0)))


def test_the_volume_of_a_lesion_is_that_of_a_ball():
    mask = fill(None, np.diag([1.0, 1.0, 1.0, 1.0]), (50, 50, 50), [Lesion((25, 25, 25), 20)])
    assert abs(mask.sum() / (4 / 3 * math.pi * 20**3) - 1) < 0.01


def test_lesions_beside_the_volume_change_nothing():
    assert not fill(np.zeros((5, 5, 5)), np.eye(4), (5, 5, 5), [Lesion((60, 2, 2), 5), Lesion((-60, 2, 2), 5)]).any()


def test_scattered_lesions_lie_apart_in_their_box_and_follow_the_seed():
    low, high = (-50.0, -40.0, 0.0), (50.0, 40.0, 90.0)
    found = scatter(generator(1, "x"), 6, low, high)
    assert len(found) == 6
    assert found == scatter(generator(1, "x"), 6, low, high)
    for lesion in found:
        assert all(a <= place <= b for a, place, b in zip(low, lesion.centre_mm, high, strict=True))
        assert 6 <= lesion.radius_mm <= 12
    for one in found:
        assert sum(math.dist(one.centre_mm, other.centre_mm) < one.radius_mm + other.radius_mm for other in found) == 1
    assert scatter(generator(1, "x"), 0, low, high) == []
    with pytest.raises(ValueError, match="room for"):
        scatter(generator(1, "x"), 50, (0, 0, 0), (20, 20, 20))
