from __future__ import annotations

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from fedmed.dicom.deid import values
from fedmed.dicom.deid.values import items_of, known_tag, settled, sound, text_of, vr_of
from tests.dicom.deid.objects import item, small_ct


def raw(tag: int, vr: str | None, data: bytes | None, implicit: bool = False) -> Dataset:
    dataset = Dataset()
    dataset.set_original_encoding(implicit, True, "iso8859")
    dataset[tag] = RawDataElement(Tag(tag), vr, len(data or b""), data, 0, implicit, True)
    return dataset


@pytest.mark.parametrize(
    ("tag", "vr", "data"),
    [
        (0x00180050, "DS", b"5.0\\-1e-3 "), (0x00200013, "IS", b" 12\\+3"),
        (0x00101010, "AS", b"045Y"), (0x00080060, "CS", b"MR"),
        (0x0020000D, "UI", b"1.2.3\0"), (0x00280010, "US", b"\1\0"), (0x00280120, "US", b"\1\0"), (0x00289411, "FL", b""),
        (0x00281201, "OW", bytes(512)), (0x00180050, "DS", b""), (0x00081090, "LO", b"any model"),
    ],
)  # fmt: skip
def test_what_is_written_as_it_should_be_is_sound(tag, vr, data):
    assert sound(raw(tag, vr, data), Tag(tag), vr)


@pytest.mark.parametrize(
    ("tag", "vr", "data"),
    [
        (0x00180050, "DS", b"Jane"), (0x00200013, "IS", b"12;Jane"), (0x00200013, "LO", b"Jane"),
        (0x00101010, "AS", b"Jane"), (0x00080060, "CS", b"DOE^JANE"), (0x0020000D, "UI", b"1.2.Jane"),
        (0x00280010, "US", b"Jane"), (0x00280010, "US", b"J"),
        (0x00280120, None, b"Jane"), (0x00081090, "Q?", b"Jane"),
    ],
)  # fmt: skip
def test_a_text_in_another_values_place_is_not(tag, vr, data):
    assert not sound(raw(tag, vr, data), Tag(tag), vr or "US")


def test_the_representation_is_the_files_or_the_dictionarys():
    assert vr_of(raw(0x00280010, "UL", b""), Tag(0x00280010)) == "UL"
    assert vr_of(raw(0x00280010, "UN", b""), Tag(0x00280010)) == "US"
    assert vr_of(raw(0x00280010, None, b"", True), Tag(0x00280010)) == "US"
    assert vr_of(raw(0x00289999, None, b"", True), Tag(0x00289999)) == "UN"


def test_texts_of_all_kinds():
    dataset = small_ct(ImageType=["A", "B"], PatientName="Doe^Jane", SliceThickness="5.0")
    assert text_of(dataset, 0x00080008) == "A\\B"
    assert text_of(dataset, 0x00100010) == "Doe^Jane"
    assert text_of(raw(0x00100010, "PN", None), 0x00100010) == ""
    assert text_of(raw(0x00280010, "FD", b"abc"), 0x00280010) is None
    assert text_of(dataset, 0x7FE00010) is None
    assert text_of(raw(0x00081090, "LO", b"x" * values.LONGEST["LO"]), 0x00081090)
    assert text_of(raw(0x00081090, "LO", b"x" * (values.LONGEST["LO"] + 1)), 0x00081090) is None


def test_items_of_what_is_no_sequence():
    assert items_of(raw(0x00081140, "OB", b"Jane"), 0x00081140) is None
    [one] = items_of(small_ct(ReferencedImageSequence=[item(CodeValue="1")]), 0x00081140)
    assert one.CodeValue == "1"


def test_a_choice_of_representations_is_settled():
    dataset = raw(0x00280106, None, b"\xff\xff", True)
    dataset.PixelRepresentation = 1
    assert (settled(dataset, 0x00280106).VR, settled(dataset, 0x00280106).value) == ("SS", -1)
    assert settled(raw(0x00280106, None, b"\xff", True), 0x00280106) is None


def test_tags_of_the_standard():
    assert known_tag(0x00280010)
    assert known_tag(0x60020010)
    assert not known_tag(0x00289999)
