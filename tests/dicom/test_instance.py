from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from fedmed.dicom.instance import read_instance
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import NoImage, Reason, Status, Untrusted
from fedmed.dicom.sources import of_bytes, walk
from tests.dicom.files import by_hand, dataset, element, encoded, opened

ZEROS = np.zeros((4, 6), "<u2")
AXIAL = [1, 0, 0, 0, 1, 0]


def header(stored=ZEROS, **attributes):
    return opened(encoded(dataset(stored, **attributes))).header


def refused(stored=ZEROS, limits=None, **attributes) -> Untrusted:
    found = dataset(stored)
    for keyword, value in attributes.items():
        if value is None:
            delattr(found, keyword)
        else:
            setattr(found, keyword, value)
    with pytest.raises(Untrusted) as error:
        opened(encoded(found), limits or Limits())
    return error.value


def test_what_a_plain_slice_says() -> None:
    found = header(
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4",
        AccessionNumber="A7 ",
        PatientID="P1",
        InstanceNumber=12,
        AcquisitionNumber=3,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        ImagePositionPatient=[-1.5, 2, 3],
        ImageOrientationPatient=AXIAL,
        PixelSpacing=["0.5", "0.75"],
        RescaleSlope="2.5",
        RescaleIntercept=-1024,
        BurnedInAnnotation="NO",
        PixelPaddingValue=63536,
        EchoTime="4.2",
    )
    assert (found.study, found.series, found.sop_instance, found.accession, found.patient) == (
        "1.2.3",
        "1.2.3.4",
        "1.2.3",
        "A7",
        "P1",
    )
    assert (found.rows, found.columns, found.frames, found.samples) == (4, 6, 1, 1)
    assert (found.bits_allocated, found.bits_stored, found.high_bit, found.signed) == (16, 16, 15, False)
    assert (found.instance_number, found.acquisition, found.burned_in, found.padding) == (12, "3", "NO", (63536, 63536))
    [plane], [rescale] = found.planes, found.rescales
    assert (plane.position_mm, plane.row, plane.column, plane.spacing_mm) == (
        (-1.5, 2, 3),
        (1, 0, 0),
        (0, 1, 0),
        (0.5, 0.75),
    )
    assert (rescale.slope, rescale.intercept) == (2.5, -1024)
    assert found.kind == ("image-type=AXIAL", "echo-time=4.2")
    assert found.frame_kinds == ()


def test_what_is_absent_is_none_and_values_are_as_stored() -> None:
    found = header()
    [plane], [rescale] = found.planes, found.rescales
    assert (plane.position_mm, plane.row, plane.column, plane.spacing_mm) == (None, None, None, None)
    assert (rescale.slope, rescale.intercept, found.padding, found.instance_number, found.kind) == (1, 0, None, None, ())


@pytest.mark.parametrize(
    ("signed", "value", "limit", "expected"),
    [
        (True, 63536, None, (-2000, -2000)),
        (True, -2000, None, (-2000, -2000)),
        (False, 65535, None, (65535, 65535)),
        (False, 0, 10, (0, 10)),
        (True, 63536, 63546, (-2000, -1990)),
        (False, 4095, 4000, (4000, 4095)),
    ],
)
def test_padding_is_signed_as_the_pixels_are(signed, value, limit, expected) -> None:
    found = dataset(ZEROS.astype("<i2" if signed else "<u2"))
    found.add_new(0x00280120, "SS" if value < 0 else "US", value)
    if limit is not None:
        found.add_new(0x00280121, "US", limit)
    assert opened(encoded(found)).header.padding == expected


def test_numbers_of_a_big_endian_file() -> None:
    found = opened(encoded(dataset(ZEROS, PixelPaddingValue=258), ExplicitVRBigEndian)).header
    assert (found.rows, found.columns, found.padding) == (4, 6, (258, 258))


def enhanced(frames: list[dict], shared: dict | None = None) -> Dataset:
    found = dataset(np.zeros((len(frames), 4, 6), "<u2"), frames=len(frames), ImageType=["ORIGINAL", "PRIMARY", "VOLUME"])
    found.PerFrameFunctionalGroupsSequence = [groups(frame) for frame in frames]
    found.SharedFunctionalGroupsSequence = [groups(shared or {})]
    return found


def groups(values: dict) -> Dataset:
    found = Dataset()
    for keyword, inner in values.items():
        one = Dataset()
        for name, value in inner.items():
            setattr(one, name, value)
        setattr(found, keyword, [one])
    return found


def test_functional_groups_per_frame_and_shared() -> None:
    frames = [
        {
            "PlanePositionSequence": {"ImagePositionPatient": [0, 0, 2.5 * number]},
            "PixelValueTransformationSequence": {"RescaleSlope": number + 1, "RescaleIntercept": -number},
            "FrameContentSequence": {"StackID": "1", "TemporalPositionIndex": 1 + number // 2},
            "MRDiffusionSequence": {"DiffusionBValue": 1000.0 * (number % 2)},
        }
        for number in range(4)
    ]
    shared = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": AXIAL},
        "PixelMeasuresSequence": {"PixelSpacing": [0.5, 0.5]},
        "CTImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]},
    }
    found = opened(encoded(enhanced(frames, shared))).header
    assert [plane.position_mm for plane in found.planes] == [(0, 0, 0), (0, 0, 2.5), (0, 0, 5), (0, 0, 7.5)]
    assert {plane.spacing_mm for plane in found.planes} == {(0.5, 0.5)}
    assert {plane.row for plane in found.planes} == {(1, 0, 0)}
    assert [(one.slope, one.intercept) for one in found.rescales] == [(1, 0), (2, -1), (3, -2), (4, -3)]
    assert found.kind == ("image-type=VOLUME", "image-type=NONE", "stack=1")
    assert [kind[3:] for kind in found.frame_kinds] == [
        (f"temporal-position={time}", f"b-value={value}") for time, value in ((1, 0.0), (1, 1000.0), (2, 0.0), (2, 1000.0))
    ]


def test_frames_without_groups_of_their_own_are_refused() -> None:
    found = enhanced([{}, {}, {}])
    found.NumberOfFrames = 4
    found.PixelData += bytes(48)
    with pytest.raises(Untrusted, match="4 frames and functional groups of 3"):
        opened(encoded(found))


def dose(offsets: list[float], **attributes) -> Dataset:
    found = dataset(np.zeros((3, 4, 6), "<u4"), frames=3, DoseGridScaling="0.001", **attributes)
    found.ImagePositionPatient, found.ImageOrientationPatient, found.PixelSpacing = [1, 2, 30], AXIAL, [2, 2]
    found.GridFrameOffsetVector = offsets
    return found


@pytest.mark.parametrize("offsets", [[0, 2.5, 5], [30, 32.5, 35]])
def test_dose_frames_lie_at_relative_or_absolute_offsets(offsets) -> None:
    found = opened(encoded(dose(offsets))).header
    assert [plane.position_mm for plane in found.planes] == [(1, 2, 30), (1, 2, 32.5), (1, 2, 35)]
    assert {one.slope for one in found.rescales} == {0.001}


def test_dose_offsets_go_along_the_normal_also_when_it_points_down() -> None:
    found = dose([0, 2, 4])
    found.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    assert [plane.position_mm[2] for plane in opened(encoded(found)).header.planes] == [30, 28, 26]


@pytest.mark.parametrize("offsets", [[5, 7, 9], [0, 1]])
def test_dose_offsets_that_begin_elsewhere_or_are_too_few_are_refused(offsets) -> None:
    with pytest.raises(Untrusted, match="Grid Frame Offset Vector"):
        opened(encoded(dose(offsets)))


def test_slices_of_nuclear_medicine() -> None:
    found = dataset(np.zeros((3, 4, 6), "<u2"), frames=3, SpacingBetweenSlices=-4, PixelSpacing=[3, 3])
    found.SliceVector = [1, 2, 3]
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [0, 0, 100], AXIAL
    found.DetectorInformationSequence = [detector]
    assert [plane.position_mm for plane in opened(encoded(found)).header.planes] == [(0, 0, 100), (0, 0, 96), (0, 0, 92)]


def test_frames_of_a_cine_lie_nowhere_in_particular() -> None:
    found = header(np.zeros((3, 4, 6), "<u2"), frames=3, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=AXIAL)
    assert {plane.position_mm for plane in found.planes} == {None}


@pytest.mark.parametrize(
    ("attributes", "reason", "complaint"),
    [
        ({"Rows": None}, Reason.BAD_ATTRIBUTE, "00280010"),
        ({"Columns": 0}, Reason.BAD_ATTRIBUTE, "4 x 0 pixels"),
        ({"BitsAllocated": None}, Reason.BAD_ATTRIBUTE, "00280100"),
        ({"BitsAllocated": 12}, Reason.BAD_ATTRIBUTE, "Bits Allocated is 12"),
        ({"BitsStored": None}, Reason.BAD_ATTRIBUTE, "00280101"),
        ({"BitsStored": 17}, Reason.BAD_ATTRIBUTE, "Bits Stored 17"),
        ({"HighBit": 11}, Reason.BAD_ATTRIBUTE, "High Bit 11"),
        ({"PixelRepresentation": 2}, Reason.BAD_ATTRIBUTE, "Pixel Representation is 2"),
        ({"SamplesPerPixel": 2}, Reason.BAD_ATTRIBUTE, "Samples per Pixel is 2"),
        ({"SamplesPerPixel": 3}, Reason.BAD_ATTRIBUTE, "MONOCHROME2"),
        ({"PhotometricInterpretation": "RGB"}, Reason.BAD_ATTRIBUTE, "RGB"),
        ({"PhotometricInterpretation": None}, Reason.BAD_ATTRIBUTE, "Photometric"),
        ({"NumberOfFrames": "0"}, Reason.BAD_ATTRIBUTE, "0 frames"),
        ({"NumberOfFrames": "100000"}, Reason.TOO_LARGE, "100000 frames"),
        ({"Rows": 60_000, "Columns": 60_000}, Reason.TOO_LARGE, "60000 x 60000"),
        ({"PixelSpacing": [0.5, -0.5]}, Reason.BAD_ATTRIBUTE, "pixel spacing"),
        ({"PixelSpacing": [0.5]}, Reason.BAD_ATTRIBUTE, "1 values"),
        ({"ImagePositionPatient": [1, 2]}, Reason.BAD_ATTRIBUTE, "2 values"),
        ({"RescaleSlope": "0"}, Reason.BAD_ATTRIBUTE, "slope 0"),
    ],
)
def test_image_attributes_that_make_no_sense_are_refused(attributes, reason, complaint) -> None:
    error = refused(**attributes)
    assert error.reason is reason
    assert complaint in error.detail


@pytest.mark.parametrize("value", [b"1A", b"1_0", b"nan ", b"inf ", b"1e999 ", "١٢".encode(), b"1" * 70])
@pytest.mark.parametrize("tag", [0x00280008, 0x00281053, 0x00200032])
def test_text_that_is_no_number_is_refused(tag: int, value: bytes) -> None:
    sizes = [element(code, "US", bytes([number, 0])) for code, number in ((0x00280010, 2), (0x00280011, 2))]
    with pytest.raises(Untrusted) as error:
        opened(by_hand(element(tag, "DS", value + b" " * (len(value) % 2)), *sizes, element(0x7FE00010, "OW", bytes(8))))
    assert error.value.reason is Reason.BAD_ATTRIBUTE


def test_limits_are_checked_before_anything_is_allocated() -> None:
    many = dataset(np.zeros((2, 2), "<u2"))
    many.Rows, many.Columns, many.NumberOfFrames = 10_000, 10_000, 1000
    with pytest.raises(Untrusted, match="decodes to 200000000000 bytes"):
        opened(encoded(many))


def test_no_transfer_syntax_is_never_guessed() -> None:
    data = encoded(dataset(ZEROS))
    start = data.index(b"\x08\0\x16\0UI", 200)
    with pytest.raises(Untrusted) as error:
        opened(data[start:])
    assert error.value.reason is Reason.NO_TRANSFER_SYNTAX


def test_no_pixels_and_no_dicom_are_no_fault() -> None:
    found = dataset(ZEROS)
    del found.PixelData
    for data, status in ((encoded(found), Status.NO_PIXELS), (b"plain text", Status.NOT_DICOM)):
        with pytest.raises(NoImage) as error:
            opened(data)
        assert error.value.status is status


def test_identifiers_beyond_ascii_are_decoded() -> None:
    found = dataset(ZEROS, SpecificCharacterSet="GB18030", PatientID="病人7")
    assert opened(encoded(found)).header.patient == "病人7"


@pytest.mark.parametrize(
    "name", ["idna", "punycode", "unicode_escape", "zlib", "ISO 2022 IR 999", "I\0`\0CS", "ISO_IR 100\\rot13", "\xe9"]
)
def test_character_sets_that_are_none_of_dicoms_are_not_looked_for(name: str) -> None:
    value = "Müller".encode("latin-1")
    sizes = [element(code, "US", bytes([number, 0])) for code, number in IMAGE.items()]
    charset = element(0x00080005, "CS", name.encode("latin-1") + b" " * (len(name) % 2))
    data = by_hand(charset, element(0x00100020, "LO", value), element(0x00280004, "CS", b"MONOCHROME2 "), *sizes)
    assert opened(data + element(0x7FE00010, "OB", b"\1\0")).header.patient == r"M\xfcller"


IMAGE = {0x00280010: 1, 0x00280011: 1, 0x00280100: 8, 0x00280101: 8, 0x00280102: 7, 0x00280103: 0}


def test_headers_of_real_series(shared_data) -> None:
    ct = shared_data / "ct"
    for folder, count, shape in (("acrin_chest_petct_49", 49, (512, 512)), ("philips_phantom_tilt_54", 54, (512, 512))):
        headers = [read_instance(source).header for source in walk(ct / folder) if source.name != "DIRFILE"]
        assert len(headers) == count
        assert {(one.rows, one.columns) for one in headers} == {shape}
        assert len({one.planes[0].position_mm for one in headers}) == count
        assert len({(one.study, one.series, one.kind) for one in headers}) == 1


def test_multi_frame_objects_of_the_zoo(shared_data) -> None:
    zoo = shared_data / "dicom_zoo"

    def read(name: str):
        return read_instance(of_bytes(name, (zoo / name).read_bytes())).header

    dose_grid = read("pydicom/rtdose.dcm")
    peer = pydicom.dcmread(zoo / "pydicom/rtdose.dcm")
    heights = [float(peer.ImagePositionPatient[2] + offset) for offset in peer.GridFrameOffsetVector]
    assert [plane.position_mm[2] for plane in dose_grid.planes] == pytest.approx(heights)
    assert {one.slope for one in dose_grid.rescales} == {float(peer.DoseGridScaling)}
    segments = read("pydicom-data/liver.dcm")
    assert len({plane.position_mm for plane in segments.planes}) == 3
    assert "segment=1" in segments.kind
    ct = read("pydicom-data/eCT_Supplemental.dcm")
    assert len(ct.planes) == 2
    assert ct.planes[0].spacing_mm is not None
