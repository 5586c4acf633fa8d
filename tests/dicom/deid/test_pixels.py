from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Untrusted
from tests.dicom.deid.objects import KEYS, item, reread, small_ct, to_bytes

US = "1.2.840.10008.5.1.4.1.1.6.1"


def region(left: int, top: int, right: int, bottom: int, space: int = 1) -> Dataset:
    return item(
        RegionLocationMinX0=left,
        RegionLocationMinY0=top,
        RegionLocationMaxX1=right,
        RegionLocationMaxY1=bottom,
        RegionSpatialFormat=space,
    )


def ultrasound(*regions: Dataset, **values: object) -> pydicom.FileDataset:
    """128 x 128 of an ultrasound class, all pixels above 0, with regions."""
    dataset = small_ct(SOPClassUID=US, Modality="US", ImageType=["ORIGINAL", "PRIMARY"], **values)
    dataset.PixelData = (np.abs(dataset.pixel_array) + 1).astype("<i2").tobytes()
    if regions:
        dataset.SequenceOfUltrasoundRegions = Sequence(list(regions))
    return dataset


def test_outside_the_regions_is_black_and_inside_is_as_it_was():
    dataset = ultrasound(region(10, 20, 49, 59), region(60, 20, 99, 59), region(0, 0, 9, 9, space=0))
    before = dataset.pixel_array
    out, findings = deidentify(dataset, KEYS)
    after = reread(out).pixel_array
    inside = np.zeros((128, 128), bool)
    inside[20:60, 10:50] = inside[20:60, 60:100] = True
    assert (after[inside] == before[inside]).all()
    assert not after[~inside].any()
    assert findings.pixels == "regions"
    assert "113101" in findings.options
    assert out.BurnedInAnnotation == "NO"


@pytest.mark.parametrize("burned", [None, "YES"])
def test_without_a_word_of_where_it_is_set_aside(burned):
    values = {} if burned is None else {"BurnedInAnnotation": burned}
    for dataset in (
        ultrasound(**values),
        ultrasound(region(0, 0, 127, 127), **values),
        ultrasound(region(9, 9, 3, 3), **values),
    ):
        with pytest.raises(Untrusted) as caught:
            deidentify(dataset, KEYS)
        assert caught.value.reason is Reason.BURNED_IN_TEXT


def test_no_is_believed():
    dataset = ultrasound(BurnedInAnnotation="NO")
    out, findings = deidentify(dataset, KEYS)
    assert findings.pixels == "untouched"
    assert out.PixelData == dataset.PixelData


def test_regions_beyond_the_frame_are_cut_to_it():
    out, _ = deidentify(ultrasound(region(100, 100, 400, 4_000_000_000)), KEYS)
    assert out.pixel_array[100:, 100:].all()
    assert not out.pixel_array[:100].any()


def test_compressed_colours_of_several_frames_are_cleaned_and_become_uncompressed():
    frames = np.random.default_rng(1).integers(1, 255, (2, 32, 40, 3), np.uint8)
    dataset = ultrasound(region(8, 4, 31, 27))
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames, dataset.SamplesPerPixel = 32, 40, 2, 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration, dataset.PixelRepresentation = "RGB", 0, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = frames.tobytes()
    dataset.compress(RLELossless, generate_instance_uid=False)
    out = reread(deidentify(dataset, KEYS)[0])
    assert out.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (out.pixel_array[:, 4:28, 8:32] == frames[:, 4:28, 8:32]).all()
    assert out.pixel_array.sum() == frames[:, 4:28, 8:32].sum()


def test_white_is_the_ground_of_an_inverted_image():
    dataset = ultrasound(region(10, 10, 20, 20), PhotometricInterpretation="MONOCHROME1", PixelRepresentation=0)
    assert deidentify(dataset, KEYS)[0].pixel_array[0, 0] == 65535


def test_what_says_it_is_larger_than_the_limits_is_not_decoded():
    dataset = ultrasound(region(10, 10, 20, 20))
    dataset.Rows = dataset.Columns = 60000
    with pytest.raises(Untrusted) as caught:
        deidentify(dataset, KEYS, limits=Limits(pixels_per_frame=1_000_000))
    assert caught.value.reason is Reason.TOO_LARGE


def test_overlays_go_also_those_in_unused_bits():
    dataset = small_ct(BitsStored=12, HighBit=11)
    dataset.PixelData = (np.abs(dataset.pixel_array) % 2048 | 0x4000).astype("<i2").tobytes()
    dataset.add_new(0x60000010, "US", 128)
    dataset.add_new(0x60000011, "US", 128)
    dataset.add_new(0x60000022, "LO", "Jane Doe")
    dataset.add_new(0x60000102, "US", 14)
    out, _ = deidentify(dataset, KEYS)
    assert not [element for element in out if element.tag.group == 0x6000]
    stored = np.frombuffer(out.PixelData, "<i2")
    assert (stored >= 0).all()
    assert (stored < 2048).all()
    assert (stored == np.frombuffer(dataset.PixelData, "<i2") & 0x7FF).all()


def test_the_wrapping_of_compressed_frames_is_made_anew():
    dataset = small_ct()
    dataset.compress(RLELossless, generate_instance_uid=False)
    [frame] = generate_frames(dataset.PixelData, number_of_frames=1)
    wrapped = bytearray(encapsulate([frame], has_bot=True))
    assert wrapped[4:8] == b"\x04\0\0\0"
    wrapped[8:12] = b"JANE"
    dataset.PixelData = bytes(wrapped)
    out, _ = deidentify(dataset, KEYS)
    assert b"JANE" not in to_bytes(out)
    assert (reread(out).pixel_array == small_ct().pixel_array).all()


def test_an_icon_goes():
    dataset = small_ct(IconImageSequence=Sequence([item(Rows=8, Columns=8, PixelData=b"JANE" * 16)]))
    dataset.IconImageSequence[0]["PixelData"].VR = "OB"
    assert b"JANE" not in to_bytes(deidentify(dataset, KEYS)[0])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4"}, "photograph"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a screen"),
        ({"ConversionType": "WSD"}, "a workstation"),
        ({"Modality": "XC"}, "a photograph"),
        ({"ImageType": ["DERIVED", "SECONDARY"], "ImagePositionPatient": None}, "an image without a place"),
    ],
)
def test_objects_that_usually_show_text(change, why):
    with pytest.raises(Untrusted) as caught:
        deidentify(small_ct(**change), KEYS)
    assert caught.value.reason is Reason.BURNED_IN_TEXT, why


def test_a_reformatted_slice_is_no_screen():
    assert deidentify(small_ct(ImageType=["DERIVED", "SECONDARY", "MPR"]), KEYS)[1].pixels == "untouched"


def test_a_real_ultrasound_with_a_name_in_its_pixels(shared_data: Path):
    # The banner with name, birth date and hospital is in rows 0 to 90, the settings left of column 140: looked at by eye.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(shared_data / "dicom_zoo" / "misc" / "us_monochrome2.dcm")
    assert dataset.pixel_array[:90].any()
    out, findings = deidentify(dataset, KEYS)
    after = out.pixel_array
    assert findings.pixels == "regions"
    assert not after[:140].any()
    assert not after[:, :140].any()
    assert not after[715:].any()
    assert (after[191:634, 140:621] == dataset.pixel_array[191:634, 140:621]).all()
    assert b"Cady" not in to_bytes(out)
    assert b"DDS-49848" not in to_bytes(out)


@pytest.mark.parametrize(
    "name", ["fo-dicom/GH364.dcm", "fo-dicom/JPEGwithIcon.dcm", "wg04/US1_RLE", "wg04/XA1_JPLL", "fo-dicom/GH355.dcm"]
)
def test_real_captures_that_do_not_say_where_their_text_is(shared_data: Path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(shared_data / "dicom_zoo" / name)
    with pytest.raises(Untrusted) as caught:
        deidentify(dataset, KEYS)
    assert caught.value.reason is Reason.BURNED_IN_TEXT
