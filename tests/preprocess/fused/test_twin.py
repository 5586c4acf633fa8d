from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import ndimage

from fedmed.preprocess.fused import twin
from fedmed.preprocess.fused.window import Window
from tests.preprocess.fused.cases import resamples, worst

EYE = np.eye(4)[:3]


def row(values, matrix=EYE, shape=None, kind=np.int16, **options):
    """A volume of one row, resampled to one row."""
    voxels = np.array(values, kind)[None, None]
    chosen = {"slope": np.ones(1), "intercept": np.zeros(1), "window": None, **options}
    return twin.resample(voxels, to_voxel=matrix, shape=shape or voxels.shape, **chosen)[0, 0]


def along(step: float, start: float) -> np.ndarray:
    return np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, step, start]])


@settings(max_examples=60, deadline=None)
@given(resamples(stored=("int16", "uint16"), results=("float32",)))
def test_it_is_what_scipy_computes_volume_by_volume(case):
    """Border, no window: scipy's linear spline with nearest extension, on the rescaled and masked volume."""
    case = {**case, "window": None, "edge": "border"}
    n, depth = case["voxels"].shape[:2]
    slope, intercept = (np.broadcast_to(case[name], (n, depth)).astype(np.float32) for name in ("slope", "intercept"))
    units = case["voxels"].astype(np.float64) * slope[..., None, None] + intercept[..., None, None]
    if case["padding"]:
        masked = (case["voxels"] >= min(case["padding"])) & (case["voxels"] <= max(case["padding"]))
        units = np.where(masked, case["fill"], units)
    for volume, matrix, got in zip(units, case["to_voxel"], twin.resample(**case), strict=True):
        wanted = ndimage.affine_transform(
            volume, matrix[:, :3], matrix[:, 3], output_shape=case["shape"], order=1, mode="nearest"
        )
        assert worst(got, wanted) <= 1e-3


def test_padding_is_masked_before_it_is_interpolated():
    matrix = along(0.5, 0)
    assert list(row([100, -2000, 300], matrix, (1, 1, 5), padding=(-2000, -2000), fill=200)) == [100, 150, 200, 250, 300]
    assert row([100, -2000], along(1, 0.5), (1, 1, 1))[0] == -950


def test_padding_is_a_range_of_stored_values_in_either_order():
    options = {"slope": np.full(1, 2.0), "intercept": np.full(1, -1.0), "fill": 7.0}
    for padding in ((2, 3), (3, 2)):
        assert list(row([1, 2, 3, 4], padding=padding, **options)) == [1, 7, 7, 7]
    assert list(row([1, np.nan, np.inf, 4], kind=np.float32, **options)) == [1, 7, 7, 7]


def test_each_slice_has_its_own_rescale():
    voxels = np.full((2, 1, 1), 10, np.uint16)
    half = np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0]])
    got = twin.resample(voxels, np.array([1, 3]), np.array([0, 100]), half, (1, 1, 1), window=None)
    assert got[0, 0, 0] == 70


def test_a_constant_edge_begins_half_a_voxel_outside():
    places = along(0.25, -1)
    border = row([8, 16], places, (1, 1, 13))
    constant = row([8, 16], places, (1, 1, 13), edge="constant", fill=-1)
    assert list(border) == [8, 8, 8, 8, 8, 10, 12, 14, 16, 16, 16, 16, 16]
    assert list(constant) == [-1, -1, 8, 8, 8, 10, 12, 14, 16, 16, 16, -1, -1]


def test_windows():
    values = [-300, -160, 40, 240, 500]
    assert list(row(values, window=Window(-160, 240))) == [0, 0, 0.5, 1, 1]
    assert list(row(values, window=Window(-160, 240, 1, -1))) == [1, 1, 0, -1, -1]
    sigmoid = row(values, window=Window(-160, 240, 0, 10, "sigmoid"))
    wanted = [10 / (1 + np.exp(-4 * (value - 40) / 400)) for value in values]  # PS3.3 C.11.2.1.3.1
    assert sigmoid == pytest.approx(wanted, rel=1e-6)


def test_float16_rounds_to_even_and_never_to_infinity():
    assert list(row([2049, 2051, 30000], dtype=np.float16)) == [2048, 2052, 30000]
    assert list(row([1, -1], slope=np.full(1, 1e6), dtype=np.float16)) == [65504, -65504]
    assert list(row([1], kind=np.float32, slope=np.full(1, 3e38), intercept=np.full(1, 3e38))) == [np.finfo(np.float32).max]


def test_volumes_of_a_batch_have_their_own_grids():
    voxels = np.arange(24, dtype=np.int16).reshape(2, 1, 3, 4)
    turned = np.array([[1, 0, 0, 0], [0, -1, 0, 2], [0, 0, -1, 3]])
    got = twin.resample(voxels, np.ones(1), np.zeros(1), np.stack([EYE, turned]), (1, 3, 4), window=None)
    assert (got[0] == voxels[0]).all()
    assert (got[1] == voxels[1, :, ::-1, ::-1]).all()
