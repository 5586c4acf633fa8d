"""What is read of a source: its patient, study and references, or why not."""

from __future__ import annotations

import struct

import pytest

from fedmed.dicom.reasons import NoImage, Reason, Untrusted
from fedmed.dicom.results import origin
from fedmed.dicom.results.origin import read_origin, without_pixels
from fedmed.dicom.sources import of_bytes
from tests.dicom.files import by_hand, element, encoded
from tests.dicom.results.samples import image, series, source


def reason(content: bytes) -> Reason:
    with pytest.raises(Untrusted) as refused:
        read_origin(content)
    assert "Doe" not in str(refused.value)
    return refused.value.reason


def test_an_image_says_what_results_need():
    read = read_origin(source())
    assert (read.study, read.series, read.sop_instance) == ("1.2", "1.2.1", "1.2.3")
    assert (read.modality, read.instance_number, read.rows, read.columns, read.frames) == ("CR", 12, 6, 5, 1)
    assert read.carried.PatientName == "Doe^Jane"
    assert read.character_set == ()
    assert read_origin(series()[0]).modality == "CT"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
@pytest.mark.parametrize("value", [b"", b"abc\0", b"1.2..3", b"1." + b"2" * 64, b"1.2\\1.3 "])
def test_without_a_uid_nothing_can_refer_to_it(keyword, value):
    tags = {"StudyInstanceUID": 0x0020000D, "SeriesInstanceUID": 0x0020000E, "SOPInstanceUID": 0x00080018}
    tags["SOPClassUID"] = 0x00080016
    values = {name: (value if name == keyword else b"1.2") for name in tags}
    parts = [(tag, "UI", values[name] + b"\0" * (len(values[name]) % 2)) for name, tag in tags.items()]
    parts += [(0x00100020, "LO", b"P1"), (0x00280010, "US", struct.pack("<H", 4)), (0x00280011, "US", struct.pack("<H", 4))]
    parts += [(0x7FE00010, "OB", bytes(16))]
    assert reason(by_hand(*[element(*part) for part in sorted(parts)])) is Reason.NO_IDENTITY


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"PatientID": "", "PatientName": "^^"}, Reason.NO_PATIENT),
        ({"PatientID": None, "PatientName": None}, Reason.NO_PATIENT),
        ({"SpecificCharacterSet": "ISO_IR 999"}, Reason.BAD_TEXT),
        ({"SpecificCharacterSet": "idna"}, Reason.BAD_TEXT),
        ({"PatientComments": "x" * (origin.MAX_CARRIED_CHARACTERS + 1)}, Reason.TOO_LARGE),
        ({"Rows": None}, Reason.BAD_ATTRIBUTE),
    ],
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_what_cannot_carry_a_result_is_refused(changes, expected):
    assert reason(source(**changes)) is expected


def test_a_name_in_another_set_than_declared_is_refused():
    made = image(SpecificCharacterSet="ISO_IR 192")
    made.PatientComments = "PLACE"
    content = source(SpecificCharacterSet="ISO_IR 192", PatientComments="PLACEX").replace(b"PLACEX", "王小明".encode("gbk"))
    assert reason(content) is Reason.BAD_TEXT


def test_an_identifier_alone_or_a_name_alone_is_a_patient():
    assert read_origin(source(PatientName="")).carried.PatientID == "P1"
    assert read_origin(source(PatientID="")).carried.PatientName == "Doe^Jane"


@pytest.mark.parametrize("content", [b"", b"x" * 500])
def test_what_is_no_dicom_is_no_image(content):
    with pytest.raises(NoImage):
        read_origin(content)


@pytest.mark.parametrize("cut", [140, 180, 300, 420])
def test_a_cut_off_source_is_refused(cut):
    assert reason(source()[:cut]) in (Reason.UNREADABLE, Reason.TRUNCATED, Reason.NO_IDENTITY, Reason.NO_PATIENT)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
def test_all_that_a_result_takes_over_stands_before_the_pixels(syntax: str):
    whole = encoded(image(), syntax)
    head = without_pixels(of_bytes("one", whole))
    assert whole.startswith(head)
    assert len(head) == len(whole) - 60 - (8 if syntax == "1.2.840.10008.1.2" else 12)
    read, same = read_origin(head), read_origin(whole)
    assert (read.sop_instance, read.rows, str(read.carried)) == (same.sop_instance, same.rows, str(same.carried))


def test_a_file_whose_pixels_have_no_place_in_it_stays_whole():
    deflated = encoded(image(), "1.2.840.10008.1.2.1.99")
    assert without_pixels(of_bytes("one", deflated)) == deflated
    report = image()
    del report.PixelData
    assert without_pixels(of_bytes("one", encoded(report))) == encoded(report)
