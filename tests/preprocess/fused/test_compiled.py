from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import MissingPart
from fedmed.preprocess.fused import compiled, twin
from fedmed.preprocess.fused.arguments import checked
from fedmed.preprocess.fused.augmentation import bound as augment_bound
from fedmed.preprocess.fused.folding import bound
from fedmed.preprocess.fused.paths import path_of
from tests.preprocess.fused.cases import augmentations, resamples, worst

pytest.importorskip("numba", reason="numba is not installed")


@settings(max_examples=100, deadline=None)
@given(resamples())
def test_it_equals_the_definition(case):
    assert worst(compiled.resample(**case), twin.resample(**case)) <= bound(checked(**case))


@settings(max_examples=25, deadline=None)
@given(resamples(stored=("int16",), results=("float32",)), st.integers(2, 5))
def test_the_number_of_threads_changes_no_bit(case, threads):
    assert compiled.resample(**case, threads=threads).tobytes() == compiled.resample(**case).tobytes()


@settings(max_examples=40, deadline=None)
@given(augmentations(), st.sampled_from(["border", "constant"]))
def test_augmentations_equal_the_definition(case, edge):
    images, parameters = case
    got = compiled.augment(images, parameters, edge=edge, fill=0.3, threads=2)
    limit = augment_bound(images, parameters, (0.0, 1.0), 0.3)
    assert worst(got, twin.augment(images, parameters, edge=edge, fill=0.3)) <= limit
    for kind in (np.int64, np.uint8):
        labels = (images * 9).astype(kind)
        moved = compiled.augment_labels(labels, parameters, edge=edge, fill=7)
        assert (moved == twin.augment_labels(labels, parameters, edge=edge, fill=7)).all()


def test_out_is_written_in_place_whatever_its_strides():
    case = {
        "voxels": np.arange(60, dtype=np.int16).reshape(3, 4, 5),
        "slope": np.ones(3),
        "intercept": np.zeros(3),
        "to_voxel": np.eye(4)[:3],
        "shape": (3, 4, 5),
        "window": None,
    }
    for out in (
        np.zeros((3, 4, 5), np.float32),
        np.zeros((5, 4, 3), np.float32).T,
        np.zeros((3, 4, 10), np.float32)[..., ::2],
    ):
        assert compiled.resample(**case, out=out) is out
        assert (out == case["voxels"]).all()


def test_voxels_may_lie_in_a_files_bytes_in_either_order_at_any_address():
    """Read-only, big-endian, unaligned, or with other strides."""
    from fedmed.preprocess.fused import loops

    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    rest = {"slope": np.ones(3), "intercept": np.zeros(3), "to_voxel": np.eye(4)[:3], "shape": (3, 4, 5), "window": None}
    assert (compiled.resample(voxels, **rest) == voxels).all()
    known = len(loops.stack.signatures)
    for given_as in (
        np.frombuffer(voxels.tobytes(), np.int16).reshape(voxels.shape),
        np.frombuffer(b"\0" + voxels.tobytes(), np.int16, offset=1).reshape(voxels.shape),
        voxels.astype(">i2"),
        np.asfortranarray(voxels),
        np.repeat(voxels, 2, axis=2)[..., ::2],
    ):
        assert (compiled.resample(given_as, **rest) == voxels).all()
        assert (twin.resample(given_as, **rest) == voxels).all()
    assert len(loops.stack.signatures) == known


@pytest.mark.parametrize("tilt", [(0, 0), (1, 0), (1, 2)])
def test_a_volume_of_more_than_two_billion_voxels_is_read_at_its_end(tilt):
    """64-bit indices; most of the volume is never touched, so it takes no memory."""
    voxels, ones = np.zeros((2050, 1024, 1024), np.uint8), np.ones(2050)
    voxels[-1, -1, -32:] = np.arange(32)
    matrix = np.array([[1, 0, 0, 2049], [0, 1, 0, 1023], [0, 0, 1, 992.0]])
    matrix[tilt] += 0 if tilt == (0, 0) else 0.01
    got = compiled.resample(voxels, ones, 0 * ones, matrix, (1, 1, 32), window=None)
    assert (got[0, 0] == np.arange(32)).all()


def test_which_grid_takes_which_path():
    shape, eye = (10, 10, 10), np.eye(4)[:3]
    assert path_of(eye, shape) == "stack"
    tilted = eye.copy()
    tilted[1, 0] = 0.3
    assert path_of(tilted, shape) == "rows"
    assert path_of(eye[[1, 2, 0]], shape) == "turned"
    mixed = eye.copy()
    mixed[1, 2] = 0.01
    assert path_of(mixed, shape) == "oblique"
    mixed[1, 2] = 1e-11  # what inverting a matrix leaves
    assert path_of(mixed, shape) == "stack"


def test_without_numba_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("jit", "loops"):
        monkeypatch.delitem(sys.modules, f"fedmed.preprocess.fused.{name}", raising=False)
    monkeypatch.delattr("fedmed.preprocess.fused.loops", raising=False)
    compiled.why_not.cache_clear()
    try:
        with pytest.raises(MissingPart, match=r"install fedmed\[imaging\]"):
            compiled.resample(np.zeros((1, 1, 1)), np.ones(1), np.ones(1), np.eye(4)[:3], (1, 1, 1), window=None)
    finally:
        monkeypatch.undo()
        compiled.why_not.cache_clear()


READ_ONLY = """
import numpy as np
from fedmed.preprocess.fused import compiled
got = compiled.resample(
    np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.ones(3), np.zeros(3), np.eye(4)[:3], (3, 4, 5), window=None
)
assert (got.ravel() == np.arange(60)).all()
print(compiled.__file__)
"""


def test_it_runs_where_no_cache_can_be_written(tmp_path):
    """Files stand where numba would make its folders: root may write anywhere, but not below a file."""
    package = tmp_path / "site" / "fedmed"
    ours = Path(compiled.__file__).parents[2]
    shutil.copytree(ours, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "preprocess" / "fused" / "__pycache__").touch()
    (tmp_path / "file").touch()
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.update({name: str(tmp_path / "file") for name in ("HOME", "XDG_CACHE_HOME")})
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", READ_ONLY], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(package)
    assert (package / "preprocess" / "fused" / "__pycache__").is_file()
