from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.deid.verify import check
from fedmed.dicom.limits import LIMITS
from tests.dicom.deid.objects import KEYS, item, reread, small_ct, to_bytes

ORIGINAL = {
    "PatientName": "Zappa^Quentin",
    "PatientID": "QX-77123",
    "StudyDate": "20210304",
    "InstitutionName": "Saint Elsewhere",
    "SpecificCharacterSet": "ISO_IR 192",
}


def checked(tmp_path: Path, change=lambda copy: None, spoil=lambda data: data, **values: object):
    original = reread(small_ct(**{**ORIGINAL, **values}))
    copy, _ = deidentify(original, KEYS)
    change(copy)
    (tmp_path / "copy.dcm").write_bytes(spoil(to_bytes(copy)))
    return check(original, tmp_path / "copy.dcm", LIMITS)


def test_a_clean_copy_has_no_leaks_and_lost_nothing(tmp_path):
    found = checked(tmp_path)
    assert not found.leaks
    assert not found.gone
    assert not found.changed
    assert found.searched > 20


@pytest.mark.parametrize(
    ("keyword", "value", "kind"),
    [
        ("SeriesDescription", "CT of ZAPPA", "name or identifier"),
        ("StationName", "qx-77123", "name or identifier"),
        ("ProtocolName", "from saint elsewhere", "name or identifier"),
        ("ProtocolName", "on 20210304", "date"),
        ("SeriesDate", "20210304", "date"),
        ("ProtocolName", "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322", "uid"),
    ],
)
def test_what_was_left_in_the_header_is_found(tmp_path, keyword, value, kind):
    found = checked(
        tmp_path, lambda copy: setattr(copy, keyword, value), StudyInstanceUID="1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
    )
    assert found.leaks[f"header: {kind}"] >= 1


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le"])
def test_names_are_found_in_other_encodings(tmp_path, encoding):
    def change(copy: pydicom.Dataset) -> None:
        copy.ICCProfile = "李小龙".encode(encoding) + b"\0\0"

    assert checked(tmp_path, change, PatientName="Li^Xiaolong=李^小龙").leaks["header: name or identifier"] >= 1


def test_places_are_told_apart(tmp_path):
    def into_pixels(copy: pydicom.Dataset) -> None:
        copy.PixelData = copy.PixelData[:2000] + b" Quentin " + copy.PixelData[2009:]

    assert checked(tmp_path, into_pixels).leaks["pixels: name or identifier"] >= 1
    preamble = checked(tmp_path, spoil=lambda data: b"Quentin".ljust(128, b"\0") + data[128:])
    assert set(preamble.leaks) == {"preamble: name or identifier", "preamble: bytes"}
    after = checked(tmp_path, lambda copy: copy.add_new(0xFFFCFFFC, "OB", b"Quentin."))
    assert after.leaks["after: name or identifier"] >= 1
    private = checked(tmp_path, lambda copy: copy.private_block(0x99, "ACME", create=True).add_new(1, "LO", "x"))
    assert private.leaks == {"private: element": 2}

    def into_meta(copy: pydicom.Dataset) -> None:
        copy.file_meta.SourceApplicationEntityTitle = "QUENTIN"

    assert checked(tmp_path, into_meta).leaks["meta: name or identifier"] >= 1


def test_a_part_of_a_longer_word_is_no_leak(tmp_path):
    assert not checked(tmp_path, lambda copy: setattr(copy, "ProtocolName", "Quentinesque"), PatientName="Quentin").leaks


def test_over_deletion_is_counted(tmp_path):
    def change(copy: pydicom.Dataset) -> None:
        del copy.KVP
        copy.RescaleSlope = "2"
        copy.RequestAttributesSequence = [item(CodeValue="1")]

    found = checked(tmp_path, change)
    assert found.gone == {"KVP": 1}
    assert found.changed == {"RescaleSlope": 1}
