from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.preprocess import grid
from fedmed.preprocess.fused import twin
from fedmed.preprocess.fused.paths import path_of

AXIAL = np.array([[0.0, 0, 0.8, -100], [0, 0.7, 0, -90], [2.5, 0, 0, 30], [0, 0, 0, 1]])
"""(d, h, w): slices to the head 2.5 mm apart, rows to the back .7 mm, columns to the left .8 mm."""
SAGITTAL = np.array([[3.0, 0, 0, -40], [0, 0, 0.9, -90], [0, -0.9, 0, 120], [0, 0, 0, 1]])
TILTED = AXIAL + np.array([[0.0, 0, 0, 0], [-0.67, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
SHAPE = (20, 30, 40)


def ball(affine: np.ndarray, shape, centre, radius: float = 9.0) -> np.ndarray:
    """A smooth ball in the patient, as this volume would show it."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    place = index @ affine[:3, :3].T + affine[:3, 3]
    return (1000 * np.exp(-((place - centre) ** 2).sum(axis=-1) / (2 * radius**2))).astype(np.int16)


def on(affine: np.ndarray, made: grid.Grid, voxels: np.ndarray) -> np.ndarray:
    ones = np.ones(len(voxels))
    return twin.resample(voxels, ones, 0 * ones, grid.to_voxel(affine, made), made.shape, window=None, edge="constant")


@pytest.mark.parametrize("affine", [AXIAL, SAGITTAL, TILTED])
@pytest.mark.parametrize("maker", [grid.patient_grid, grid.own_grid, grid.nearest_axes_grid])
def test_what_lies_somewhere_in_the_patient_stays_there(affine, maker):
    middle = affine @ [*((np.array(SHAPE) - 1) / 2), 1]
    made = maker(affine, SHAPE, (1.0, 1.0, 1.0))
    got = on(affine, made, ball(affine, SHAPE, middle[:3], 5))
    wanted = ball(made.affine, made.shape, middle[:3], 5)
    inner = tuple(slice(size // 2 - 5, size // 2 + 6) for size in made.shape)
    assert np.abs(got - wanted)[inner].max() < 60  # linear interpolation of a ball of 1000


def test_the_patients_axes():
    made = grid.patient_grid(SAGITTAL, SHAPE, (2.0, 1.5, 1.0))
    assert (made.affine[:3, 0] == [0, 0, 2.0]).all()  # k to the head
    assert (made.affine[:3, 1] == [0, 1.5, 0]).all()  # j to the back
    assert (made.affine[:3, 2] == [1.0, 0, 0]).all()  # i to the left
    assert made.shape == (14, 24, 60)  # 30 x .9 mm, 40 x .9 mm, 20 x 3 mm


def test_straight_grids_take_the_fast_paths():
    for affine, maker, path in (
        (AXIAL, grid.patient_grid, "stack"),
        (SAGITTAL, grid.patient_grid, "turned"),
        (SAGITTAL, grid.own_grid, "stack"),
        (TILTED, grid.own_grid, "rows"),
    ):
        made = maker(affine, SHAPE, (1.5, 1.5, 1.5))
        assert path_of(grid.to_voxel(affine, made), made.shape) == path


def test_a_tilt_is_straightened():
    directions = grid.own_directions(TILTED)
    assert np.allclose(directions.T @ directions, np.eye(3))
    assert np.allclose(directions[:, 0], [0, 0, 1])
    assert grid.spacing_of(TILTED) == pytest.approx((2.5, 0.7, 0.8))


def test_a_slightly_oblique_series_keeps_its_rows():
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    for affine, path in ((turn @ AXIAL, "stack"), (turn @ SAGITTAL, "turned")):
        made = grid.nearest_axes_grid(affine, SHAPE, (1.0, 1.0, 1.0))
        assert path_of(grid.to_voxel(affine, made), made.shape) == path
        assert (np.abs(made.affine[:3, :3] - grid.AXIAL) < 0.11).all()


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(1, 30)] * 3), st.tuples(*[st.floats(0.3, 9)] * 3), st.sampled_from([AXIAL, SAGITTAL, TILTED]))
def test_the_whole_field_of_view_is_covered_and_a_size_is_kept(shape, spacing, affine):
    whole = grid.patient_grid(affine, shape, spacing)
    corners = np.array(
        [[d, h, w, 1] for d in (-0.5, shape[0] - 0.5) for h in (-0.5, shape[1] - 0.5) for w in (-0.5, shape[2] - 0.5)]
    )
    index = corners @ affine.T @ np.linalg.inv(whole.affine).T
    assert (index[:, :3] >= -0.5 - 1e-5).all()
    assert (index[:, :3] <= np.array(whole.shape) - 0.5 + 1e-5).all()
    cropped = grid.patient_grid(affine, shape, spacing, (5, 6, 7))
    assert cropped.shape == (5, 6, 7)
    middle = cropped.affine @ [2, 2.5, 3, 1]
    assert np.allclose(middle, affine @ [*((np.array(shape) - 1) / 2), 1])


def test_what_is_no_grid_is_refused():
    for affine in (np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan)):
        with pytest.raises(ValueError, match="affine"):
            grid.own_grid(affine, SHAPE, (1, 1, 1))
    for spacing, size in (((0, 1, 1), None), ((1, np.inf, 1), None), ((1, 1, 1), (0, 4, 4))):
        with pytest.raises(ValueError, match="positive"):
            grid.own_grid(AXIAL, SHAPE, spacing, size)
    with pytest.raises(ValueError, match="right angles"):
        grid.patient_grid(AXIAL, SHAPE, (1, 1, 1), None, np.ones((3, 3)))
