from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fedmed.dicom.limits import LIMITS
from fedmed.errors import DataError
from fedmed.sites.readers.nifti import is_nifti, read_nifti

SHAPE = (5, 6, 7)
ORIENTATIONS = ["RAS", "LPS", "PIR", "SAL", "ILA"]


def written(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.Nifti1Image(values, affine).to_filename(path)
    return path


def turned(values: np.ndarray, affine: np.ndarray, axes: str) -> nibabel.Nifti1Image:
    """The same volume with its axes along other directions."""
    image = nibabel.Nifti1Image(values, affine)
    start = nibabel.io_orientation(affine)
    transform = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(axes))
    return image.as_reoriented(transform)


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_every_orientation_becomes_the_same_volume(tmp_path, axes):
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    affine = np.array([[1.5, 0, 0, -20], [0, 2.0, 0, 7], [0, 0, 3.0, 11], [0, 0, 0, 1]])
    turned(values, affine, axes).to_filename(tmp_path / "scan.nii.gz")
    scan = read_nifti(tmp_path / "scan.nii.gz")
    assert scan.values.shape == (7, 6, 5)
    assert scan.values.dtype == np.int16
    assert scan.spacing_mm == pytest.approx((3.0, 2.0, 1.5))
    # right, anterior, superior of the file are the last column, the first row and the last slice
    assert np.array_equal(scan.values, values[::-1, ::-1].transpose(2, 1, 0))


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_every_voxel_keeps_its_place_in_the_patient(tmp_path, axes):
    affine = np.array([[1.4, 0.2, 0, -20], [-0.2, 2.0, 0.1, 7], [0, 0.1, 3.0, 11], [0, 0, 0, 1]])
    values = np.random.default_rng(0).permutation(int(np.prod(SHAPE))).reshape(SHAPE).astype(np.int32)
    image = turned(values, affine, axes)
    image.to_filename(tmp_path / "scan.nii")
    scan, stored = read_nifti(tmp_path / "scan.nii"), np.asarray(image.dataobj)
    for value in (0, 17, 101):
        there = image.affine @ [*np.argwhere(stored == value)[0], 1]
        here = scan.affine @ [*np.argwhere(scan.values == value)[0], 1]
        np.testing.assert_allclose(here[:3], there[:3] * [-1, -1, 1], atol=1e-4)


def test_slope_and_intercept_are_applied(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4))
    image.header.set_slope_inter(2.0, -1000.0)
    image.to_filename(tmp_path / "ct.nii")
    assert (read_nifti(tmp_path / "ct.nii").values == -1000).all()


def test_a_fourth_axis_of_one_is_no_fourth_axis(tmp_path):
    assert read_nifti(written(tmp_path / "a.nii", np.ones((3, 4, 5, 1), np.uint8), np.eye(4))).values.shape == (5, 4, 3)
    with pytest.raises(DataError, match=r"b\.nii: has shape \(3, 4, 5, 2\)"):
        read_nifti(written(tmp_path / "b.nii", np.ones((3, 4, 5, 2), np.uint8), np.eye(4)))


def test_a_bomb_is_refused_by_its_header(tmp_path):
    written(tmp_path / "bomb.nii.gz", np.zeros((200, 200, 200), np.uint8), np.eye(4))
    with pytest.raises(DataError, match=r"bytes would become 8000000 voxels"):
        read_nifti(tmp_path / "bomb.nii.gz", replace(LIMITS, expansion=100))
    with pytest.raises(DataError, match=r"bytes would become 8000000 voxels"):
        read_nifti(tmp_path / "bomb.nii.gz", replace(LIMITS, decoded_bytes=10_000_000))


@pytest.mark.parametrize("cut", [0, 100, 300, 400])
@pytest.mark.parametrize("packed", [True, False])
def test_a_cut_off_file_is_refused_by_name(tmp_path, cut, packed):
    whole = written(tmp_path / "whole.nii", np.random.default_rng(0).integers(0, 99, (6, 6, 6), np.uint8), np.eye(4))
    content = whole.read_bytes()[:cut]
    path = tmp_path / ("cut.nii.gz" if packed else "cut.nii")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=r"cut\.nii"):
        read_nifti(path)


def test_a_grid_without_volume_is_refused(tmp_path):
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), None)
    image.header["sform_code"] = 1
    image.header["srow_x"] = image.header["srow_y"] = image.header["srow_z"] = [1, 1, 1, 0]
    image.to_filename(tmp_path / "flat.nii")
    content = bytearray((tmp_path / "flat.nii").read_bytes())
    for at in (280, 296, 312):  # srow_x, srow_y, srow_z
        content[at : at + 16] = np.array([1, 1, 1, 0], "<f4").tobytes()
    content[254:256] = np.array([1], "<i2").tobytes()
    (tmp_path / "flat.nii").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"flat\.nii: its affine cannot be a grid"):
        read_nifti(tmp_path / "flat.nii")


def test_names_say_what_is_nifti():
    assert is_nifti(Path("a.nii"))
    assert is_nifti(Path("A.NII.GZ"))
    assert not is_nifti(Path("a.png"))
