"""SEG: the mask read back by foreign readers, on the right images, or an SR that says that there is nothing."""

from __future__ import annotations

import io
import subprocess

import highdicom as hd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.results.origin import without_pixels
from fedmed.dicom.results.segments import segmentation
from fedmed.dicom.segmentation import masks_of
from fedmed.dicom.sources import of_bytes
from fedmed.dicom.synthetic.ct_phantom import Protocol
from fedmed.dicom.synthetic.traps import _enhanced
from tests.dicom.files import encoded
from tests.dicom.results.samples import SMALL, found, items, masked, reread, series, source

SHAPE = SMALL.shape


def drawn(seed: int = 0, shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def reason(sources, mask, **changes) -> Reason:
    with pytest.raises(Untrusted) as refused:
        segmentation(sources, masked(mask, **changes))
    return refused.value.reason


def test_our_own_reader_finds_the_mask_on_the_series(tmp_path):
    sources, mask = series(), drawn()
    mask[2] = 0
    (tmp_path / "seg.dcm").write_bytes(segmentation(sources, masked(mask)))
    uids = [str(reread(each).SOPInstanceUID) for each in sources]
    read, labels = masks_of(tmp_path / "seg.dcm", SMALL.affine, uids, SHAPE)
    assert labels == ("liver", "tumour")
    assert np.array_equal(read, mask)


def test_the_order_of_the_sources_is_the_order_of_the_mask(tmp_path):
    sources, mask = series(), drawn(1)
    content = segmentation(sources[::-1], masked(mask))
    read = hd.seg.segread(io.BytesIO(content))
    uids = [str(reread(each).SOPInstanceUID) for each in sources[::-1]]
    back = read.get_pixels_by_source_instance(uids, combine_segments=True, ignore_spatial_locations=True)
    assert np.array_equal(back, mask)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**24 - 1))
def test_any_mask_on_a_flat_image_is_read_back(bits):
    mask = np.array([(bits >> k) & 1 for k in range(30)], np.uint8).reshape(6, 5)
    content = segmentation([source()], masked(mask, ("spot",)))
    made = reread(content)
    if not mask.any():
        assert made.Modality == "SR"
        return
    read = hd.seg.segread(io.BytesIO(content))
    back = read.get_pixels_by_source_instance(["1.2.3"], ignore_spatial_locations=True)
    assert np.array_equal(back[0, ..., 0], mask)
    assert list(made.PatientOrientation) == ["L", "F"]


def test_patient_study_labels_and_algorithm_are_stated():
    made = reread(segmentation([source()], masked(drawn(shape=(6, 5)))))
    assert (made.PatientID, made.StudyInstanceUID, made.PatientName, made.AccessionNumber) == (
        "P1",
        "1.2",
        "Doe^Jane",
        "A17",
    )
    assert (made.Modality, made.SegmentationType, made.ContentLabel) == ("SEG", "BINARY", "AI")
    assert [segment.SegmentLabel for segment in made.SegmentSequence] == ["liver", "tumour"]
    for segment in made.SegmentSequence:
        [algorithm] = segment.SegmentationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("chest", "1.2.0")
        assert "ab" * 32 in algorithm.AlgorithmParameters
        assert "cd" * 32 in algorithm.AlgorithmParameters
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert "not for diagnosis" in made.SeriesDescription
    assert {item.CodingSchemeDesignator for item in made.CodingSchemeIdentificationSequence} == {"99FEDMED"}


def test_an_empty_mask_is_a_report_and_a_full_one_is_none():
    empty = reread(segmentation(series(), masked(np.zeros(SHAPE, np.uint8))))
    assert empty.SOPClassUID.name == "Comprehensive SR Storage"
    assert len(items(empty, "Imaging Measurements", "Measurement Group")) == 2
    assert reread(segmentation(series(), masked(np.ones(SHAPE, np.uint8)))).Modality == "SEG"


def test_a_repeat_after_a_crash_is_the_same_bytes():
    sources, finding = series(), masked(drawn())
    assert segmentation(sources, finding) == segmentation(sources, finding)


def test_a_multi_frame_image_has_its_frames_marked():
    from fedmed.dicom.synthetic.ct_phantom import synthesise

    [enhanced] = _enhanced(synthesise(3, "enhanced", SMALL).slices)
    mask = drawn(2)
    read = hd.seg.segread(io.BytesIO(segmentation([encoded(enhanced)], masked(mask))))
    back = read.get_pixels_by_source_frame(
        enhanced.SOPInstanceUID, list(range(1, 5)), combine_segments=True, ignore_spatial_locations=True
    )
    assert np.array_equal(back, mask)


def test_frames_or_images_without_a_place_are_refused():
    assert reason([source(NumberOfFrames=2)], drawn(shape=(2, 6, 5))) is Reason.NO_GEOMETRY
    flat = [source(SOPInstanceUID="1.2.3"), source(SOPInstanceUID="1.2.4")]
    assert reason(flat, drawn(shape=(2, 6, 5))) is Reason.NO_GEOMETRY


def test_sources_must_be_one_series_of_one_patient():
    sources, mask = series(), drawn()
    other = encoded_with(sources[1], PatientID="somebody else")
    assert reason([sources[0], other, *sources[2:]], mask) is Reason.MIXED_PATIENTS
    assert (
        reason([sources[0], encoded_with(sources[1], StudyInstanceUID="1.9"), *sources[2:]], mask) is Reason.MIXED_PATIENTS
    )
    assert (
        reason([sources[0], encoded_with(sources[1], SeriesInstanceUID="1.9"), *sources[2:]], mask) is Reason.MIXED_MEANING
    )
    assert reason([sources[0], sources[0], *sources[2:]], mask) is Reason.DUPLICATE_INSTANCE
    tall = series(Protocol(slices=1, rows=14, columns=10))[0]
    assert reason([encoded_as(tall, sources[0]), *sources[1:]], mask) is Reason.MIXED_SHAPE


def encoded_with(content: bytes, **changes) -> bytes:
    made = reread(content)
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return encoded(made)


def encoded_as(content: bytes, model: bytes) -> bytes:
    """`content` in the study and series of `model`."""
    named = reread(model)
    return encoded_with(
        content, **{name: named[name].value for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")}
    )


@pytest.mark.parametrize("shape", [(3, 12, 10), (4, 10, 12), (12, 10), (5, 12, 10)])
def test_a_mask_of_another_shape_is_refused(shape):
    assert reason(series(), drawn(shape=shape)) is Reason.MASK_MISMATCH


def test_a_slices_thickness_is_its_distance_where_it_is_not_stated():
    thin = [encoded_with(each, SliceThickness=None) for each in series()]
    made = reread(segmentation(thin, masked(drawn())))
    [measures] = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert float(measures.SliceThickness) == pytest.approx(5.0)
    assert reason(thin[:1], drawn(shape=(1, 12, 10))) is Reason.NO_GEOMETRY


def test_a_private_class_is_named_as_such():
    with pytest.raises(Untrusted, match=r"SOP class 1\.3\.46\.670589\.11\.0\.0\.12\.1 is private"):
        segmentation([source(SOPClassUID="1.3.46.670589.11.0.0.12.1")], masked(drawn(shape=(6, 5))))


def test_probabilities_are_no_mask():
    with pytest.raises(ValueError, match=r"report\(\) tells them"):
        segmentation(series(), found())
    with pytest.raises(ValueError, match="one image at least"):
        segmentation([], masked(drawn()))


def test_dcmtk_reads_it(tmp_path):
    (tmp_path / "seg.dcm").write_bytes(segmentation(series(), masked(drawn())))
    shown = subprocess.run(["dcmdump", tmp_path / "seg.dcm"], capture_output=True, text=True, check=True)
    assert not shown.stderr
    assert "tumour" in shown.stdout


def test_a_mask_in_place_of_another_names_it_in_words():
    replaces = ("1.2.840.10008.5.1.4.1.1.66.4", "1.9", "1.9.1")
    made = reread(segmentation(series(), masked(drawn(), replaces=replaces)))
    assert made.DerivationDescription == "It replaces 1.9.1: more images of the series came."
    assert "DerivationDescription" not in reread(segmentation(series(), masked(drawn())))


def test_headers_alone_give_the_same_mask_as_whole_files():
    heads = [without_pixels(of_bytes("one", each)) for each in series()]
    assert segmentation(heads, masked(drawn())) == segmentation(series(), masked(drawn()))
