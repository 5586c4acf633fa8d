from __future__ import annotations

import numpy as np
import pytest

from fedmed.preprocess.fused import twin
from fedmed.preprocess.fused.window import Window

GOOD = {
    "voxels": np.zeros((3, 4, 5), np.int16),
    "slope": np.ones(3),
    "intercept": np.zeros(3),
    "to_voxel": np.eye(4)[:3],
    "shape": (3, 4, 5),
    "window": None,
}
BAD = [
    ({"voxels": np.zeros((4, 5), np.int16)}, r"\(D, H, W\)"),
    ({"voxels": np.zeros((0, 4, 5), np.int16), "slope": np.ones(0), "intercept": np.ones(0)}, "none of them 0"),
    ({"voxels": np.zeros((3, 4, 5), np.complex64)}, "allowed: uint8, int16"),
    ({"slope": np.ones(4)}, "slope"),
    ({"intercept": np.array([0, np.nan, 0])}, "intercept"),
    ({"to_voxel": np.eye(4)}, r"\(3, 4\)"),
    ({"to_voxel": np.full((3, 4), np.nan)}, "finite"),
    ({"to_voxel": np.eye(4)[:3] * 2.0**29}, "reaches voxel"),
    ({"shape": (0, 4, 5)}, "output shape"),
    ({"shape": (1, 2**20, 2**20)}, "output shape"),
    ({"fill": np.inf}, "fill"),
    ({"edge": "mirror"}, "allowed: border, constant"),
    ({"dtype": np.int16}, "allowed: float16, float32"),
    ({"dtype": np.float16, "window": Window(0, 1, 0, 1e6)}, "65504"),
    ({"out": np.zeros((3, 4, 6), np.float32)}, "it must be float32"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_what_cannot_be_right_is_refused(change, message):
    assert twin.resample(**GOOD).shape == (3, 4, 5)
    with pytest.raises(ValueError, match=message):
        twin.resample(**{**GOOD, **change})


def test_other_stored_types_are_converted():
    voxels = np.arange(60).reshape(3, 4, 5)
    for kind in ("int8", "int32", "uint32", "float64"):
        assert (twin.resample(**{**GOOD, "voxels": voxels.astype(kind)}) == voxels).all()
    assert (twin.resample(**{**GOOD, "voxels": voxels % 2 == 1}) == voxels % 2).all()


def test_out_is_filled_and_returned():
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    out = np.zeros((6, 4, 5), np.float32)[::2]
    assert twin.resample(**{**GOOD, "voxels": voxels, "out": out}) is out
    assert (out == voxels).all()
