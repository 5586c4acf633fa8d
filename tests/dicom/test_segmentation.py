"""SEG objects made by highdicom for a small series, and the real ones of the zoo."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from fedmed.dicom.limits import LIMITS
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.segmentation import masks_of
from fedmed.errors import MissingPart
from tests.dicom.segments import LIVER, TUMOUR, written
from tests.dicom.test_single_frame import dicom

SHAPE = (4, 6, 5)
SPACING = (3.0, 1.5, 0.5)
ORIGIN = (-20.0, 11.0, 7.0)
AFFINE = np.array([[0, 0, 0.5, -20], [0, 1.5, 0, 11], [3.0, 0, 0, 7], [0, 0, 0, 1]])


def series() -> list[Dataset]:
    """Four CT slices."""
    study, whole, frame = generate_uid(), generate_uid(), generate_uid()
    made = []
    for d in range(SHAPE[0]):
        one = dicom(np.zeros(SHAPE[1:], "<u2"))
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, whole, frame
        one.PatientID = one.PatientName = one.AccessionNumber = one.StudyID = ""
        one.PatientBirthDate = one.PatientSex = one.StudyDate = one.StudyTime = one.ReferringPhysicianName = ""
        one.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + d * SPACING[0]]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness = [SPACING[1], SPACING[2]], SPACING[0]
        one.InstanceNumber = d + 1
        made.append(one)
    return made


def drawn(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, SHAPE)
    classes[2] = 0  # a slice in which nothing is drawn has no frame
    return np.stack([classes == 1, classes == 2], -1)


def uids(slices: list[Dataset]) -> list[str]:
    return [str(one.SOPInstanceUID) for one in slices]


def reason(path: Path, slices: list[Dataset], affine: np.ndarray = AFFINE, shape=SHAPE, limits=LIMITS) -> Reason:
    with pytest.raises(Untrusted) as refused:
        masks_of(path, affine, uids(slices), shape, limits)
    return refused.value.reason


def test_masks_lie_on_the_slices_that_they_refer_to(tmp_path):
    slices, masks = series(), drawn()
    found, labels = masks_of(written(tmp_path / "seg.dcm", slices, masks), AFFINE, uids(slices), SHAPE)
    assert labels == (LIVER, TUMOUR)
    assert (found.dtype, found.shape) == (np.uint8, SHAPE)
    assert np.array_equal(found, masks[..., 0] + 2 * masks[..., 1])


def test_the_order_is_that_of_the_volume_not_of_the_file(tmp_path):
    slices, masks = series(), drawn(1)
    path = written(tmp_path / "seg.dcm", slices, masks)
    turned = AFFINE.copy()
    turned[:, 0], turned[2, 3] = -AFFINE[:, 0], ORIGIN[2] + 9.0
    found, _ = masks_of(path, turned, uids(slices)[::-1], SHAPE)
    assert np.array_equal(found[::-1], masks[..., 0] + 2 * masks[..., 1])


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another slice", lambda a: a @ np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
        ("mirrored rows", lambda a: a @ np.array([[1, 0, 0, 0], [0, -1, 0, 5], [0, 0, 1, 0], [0, 0, 0, 1]])),
        ("another spacing", lambda a: a @ np.diag([1, 1, 1.1, 1])),
    ],
)
def test_a_reference_alone_does_not_make_a_place(tmp_path, what, change):
    slices = series()
    path = written(tmp_path / "seg.dcm", slices, drawn())
    assert reason(path, slices, affine=np.asarray(change(AFFINE))) is Reason.MASK_MISMATCH


def test_slices_of_another_series_are_refused(tmp_path):
    path = written(tmp_path / "seg.dcm", series(), drawn())
    assert reason(path, series()) is Reason.MASK_MISMATCH


def test_segments_that_overlap_have_no_one_class(tmp_path):
    slices, masks = series(), drawn()
    masks[0, 0, 0] = True
    assert reason(written(tmp_path / "seg.dcm", slices, masks), slices) is Reason.MASK_MISMATCH


def test_another_grid_is_refused(tmp_path):
    slices = series()
    path = written(tmp_path / "seg.dcm", slices, drawn())
    assert reason(path, slices, shape=(4, 6, 7)) is Reason.MASK_MISMATCH


def test_frames_without_a_place_or_a_source_are_refused(tmp_path):
    slices = series()
    path = written(tmp_path / "seg.dcm", slices, drawn())
    for sequence in ("PlanePositionSequence", "DerivationImageSequence"):
        dataset = pydicom.dcmread(path)
        del dataset.PerFrameFunctionalGroupsSequence[1][sequence]
        dataset.save_as(tmp_path / "less.dcm")
        assert reason(tmp_path / "less.dcm", slices) is Reason.NO_GEOMETRY


@pytest.mark.parametrize("limits", [replace(LIMITS, file_bytes=100), replace(LIMITS, decoded_bytes=50)])
def test_size_is_checked_before_anything_is_decoded(tmp_path, limits):
    slices = series()
    assert reason(written(tmp_path / "seg.dcm", slices, drawn()), slices, limits=limits) is Reason.TOO_LARGE


def test_what_is_no_seg_is_refused(tmp_path):
    slices = series()
    slices[0].save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    assert reason(tmp_path / "ct.dcm", slices) in (Reason.UNREADABLE, Reason.MASK_MISMATCH)
    (tmp_path / "text.dcm").write_bytes(b"no DICOM at all" * 20)
    assert reason(tmp_path / "text.dcm", slices) is Reason.UNREADABLE


@pytest.mark.parametrize("cut", [200, 1500, 2500, -7])
def test_a_cut_off_file_is_refused(tmp_path, cut):
    slices = series()
    content = written(tmp_path / "seg.dcm", slices, drawn()).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[:cut])
    assert reason(tmp_path / "cut.dcm", slices) in (Reason.UNREADABLE, Reason.NO_GEOMETRY, Reason.MASK_MISMATCH)


@pytest.mark.parametrize("name", ["liver", "liver_nonbyte_aligned", "liver_nonbyte_aligned_j2k"])
def test_the_real_livers_are_read_to_the_voxel(shared_data, name):
    path = shared_data / "dicom_zoo" / "pydicom-data" / f"{name}.dcm"
    dataset = pydicom.dcmread(path)
    frames = dataset.PerFrameFunctionalGroupsSequence
    sources = [str(f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID) for f in frames]
    first = [float(mm) for mm in frames[0].PlanePositionSequence[0].ImagePositionPatient]
    pitch = 0.810547
    affine = np.array([[0, 0, pitch, first[0]], [0, pitch, 0, first[1]], [1, 0, 0, first[2]], [0, 0, 0, 1]])
    shape = (len(frames), dataset.Rows, dataset.Columns)
    found, labels = masks_of(path, affine, sources, shape)
    assert labels == ("Liver",)
    assert np.array_equal(found, dataset.pixel_array)
    assert found.sum() > 1000


def test_a_compression_that_no_decoder_knows_is_named_as_such(shared_data):
    path = shared_data / "dicom_zoo" / "pydicom-data" / "liver_rle.dcm"  # one bit a sample in RLE
    with pytest.raises(Untrusted) as refused:
        masks_of(path, np.eye(4), ["1", "2", "3"], (3, 512, 512))
    assert refused.value.reason is Reason.DECODE_FAILED


def test_without_highdicom_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingPart, match=r"pip install 'fedmed\[imaging\]'"):
        masks_of(tmp_path / "seg.dcm", AFFINE, [""] * 4, SHAPE)
