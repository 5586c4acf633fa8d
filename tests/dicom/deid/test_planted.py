"""Values planted in every row of the profile's table, at every depth and in every corner of a file: none may survive."""

from __future__ import annotations

import re

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.deid.table import Row, rows
from tests.dicom.deid.objects import KEYS, item, nested, put, reread, small_ct, to_bytes

IMAGE = re.compile(
    "Rows|Columns|Bits.*|HighBit|Pixel(?!Data).*|Image(Position|Orientation)Patient|Rescale.*|SliceThickness|KVP|Exposure.*|"
    "XRay.*|ConvolutionKernel|Modality|Manufacturer.*|DeviceSerialNumber|ImageType|SeriesNumber|InstanceNumber|Gantry.*"
)
NAME = "ZZTOPPHI"
# A text in a number's, a time's or an age's place is what a careless or hostile writer would put there.
GRAMMAR = ("US", "UL", "FL", "FD", "DS", "IS", "AS", "TM")
# They hold the whole object up: an encapsulated document is set aside, as test_engine.py shows.
SET_ASIDE = {"00420011"}


def tag_of(row: Row) -> int:
    return 0x00091010 if row.tag == "private" else int(row.tag.replace("x", "0"), 16)


def vr_of(row: Row) -> str:
    tag = tag_of(row)
    known = bool(keyword_for_tag(tag)) and row.tag != "private"
    return str(dictionary_VR(tag)).split(" or ")[0] if known else "OB" if row.keyword == "OverlayData" else "LO"


def token(row: Row) -> str:
    return f"ZQ{tag_of(row):08X}QZ"


def plant(dataset: Dataset, row: Row, text: str) -> bytes:
    """Puts something that is found again into the row's attribute; what to search for."""
    tag, vr = tag_of(row), vr_of(row)
    if vr in GRAMMAR:
        data = text.encode() + b" " * (-len(text) % 8)
        dataset[tag] = RawDataElement(Tag(tag), vr, len(data), data, 0, False, True)
        return text.encode()
    value: object = text
    if vr == "SQ":
        inner = item(PatientName=text)
        value = Sequence([item(PatientName=text, PatientID=text, ReferencedImageSequence=Sequence([inner]))])
    elif vr in ("DA", "DT"):
        value = "19610203" if vr == "DA" else "19610203112233"
    elif vr == "UI":
        value = f"1.2.752.99.{tag}"
    elif vr in ("OB", "UN", "OW"):
        value = text.encode()
    put(dataset, tag, vr, value)
    return b"19610203" if vr in ("DA", "DT") else str(value).encode() if vr == "UI" else text.encode()


def planted(place: str, tokens: bool) -> tuple[pydicom.FileDataset, dict[str, bytes]]:
    """A CT with every row planted at `place`, and what was planted by row."""
    dataset = small_ct(PatientName=NAME, PatientID=NAME)
    target = dataset if place == "top level" else Dataset()
    found = {}
    for row in rows():
        tag = tag_of(row)
        if row.tag in SET_ASIDE or tag >> 16 < 8 or (place == "top level" and row.keyword in ("RequestAttributesSequence",)):
            continue
        found[row.tag] = plant(target, row, token(row) if tokens else NAME)
    if place == "nested":
        dataset.RequestAttributesSequence = nested(target)
    return reread(dataset), found


def kept(row: Row) -> bool:
    """Whether the Retain Device option lets the value stay."""
    return row.device == "K" and not row.dates and vr_of(row) not in ("SQ", *GRAMMAR)


@pytest.mark.parametrize("place", ["top level", "nested"])
def test_what_is_planted_in_a_row_is_gone_but_for_the_device(place):
    dataset, found = planted(place, tokens=True)
    assert len(found) >= len(rows()) - 6
    if place == "top level":
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    written = to_bytes(deidentify(dataset, KEYS)[0])
    left = {row.tag for row in rows() if row.tag in found and found[row.tag] in written}
    assert left == {row.tag for row in rows() if kept(row) and row.tag in found}


@pytest.mark.parametrize("place", ["top level", "nested"])
def test_the_patients_name_is_gone_from_every_row_the_devices_too(place):
    dataset, found = planted(place, tokens=False)
    dataset.Manufacturer = dataset.SoftwareVersions = f"made for {NAME}"
    dataset.add_new(0x00180015, "CS", NAME)
    out, findings = deidentify(dataset, KEYS)
    assert len(found) >= len(rows()) - 6
    assert NAME.encode() not in to_bytes(out)
    assert findings.lost["BodyPartExamined"] == 1


def test_what_is_planted_in_private_blocks_preamble_and_meta_is_gone():
    dataset = small_ct(PatientName=NAME)
    for place in (dataset, inner := Dataset()):
        block = place.private_block(0x0099, f"{NAME} ACME", create=True)
        block.add_new(1, "LO", NAME)
        block.add_new(2, "SQ", [item(PatientName=NAME)])
        block.add_new(3, "UN", NAME.encode())
    dataset.RequestAttributesSequence = nested(inner)
    dataset.preamble = (NAME.encode() * 16)[:128]
    dataset.file_meta.ImplementationVersionName = NAME
    dataset.file_meta.SourceApplicationEntityTitle = NAME
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.752.99.1"
    dataset.file_meta.PrivateInformation = NAME.encode()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    before = str(dataset.SOPInstanceUID)
    dataset = reread(dataset)
    written = to_bytes(deidentify(dataset, KEYS)[0])
    again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(written))
    assert NAME.encode() in dataset.preamble
    assert NAME.encode() not in written
    assert before.encode() not in written
    assert again.preamble == bytes(128)
    assert not [tag for tag in (*again.keys(), *again.RequestAttributesSequence[0].keys()) if tag.is_private]


def test_groups_that_belong_to_no_object_go():
    dataset = small_ct()
    for tag in (0x00001000, 0x00020003, 0x00041511):
        put(dataset, tag, "UI", "1.2.752.99.7")
    put(dataset, 0x00080000, "UL", 4)
    put(dataset, 0x00080001, "UL", 4)
    put(dataset, 0xFFFCFFFC, "OB", NAME.encode())
    out, _ = deidentify(dataset, KEYS)
    assert not {0x00001000, 0x00020003, 0x00041511, 0x00080000, 0x00080001, 0xFFFCFFFC} & {
        int(element.tag) for element in out
    }


def test_bytes_behind_the_pixels_go():
    dataset = small_ct()
    size = len(dataset.PixelData)
    dataset.PixelData += NAME.encode() * 4
    out, _ = deidentify(reread(dataset), KEYS)
    assert len(out.PixelData) == size
    assert out.PixelData == dataset.PixelData[:size]


def test_over_deletion_is_counted_and_is_nothing():
    dataset = small_ct()
    out, findings = deidentify(dataset, KEYS)
    assert not findings.lost
    assert findings.done["kept"] > 40
    image = [element for element in dataset if IMAGE.fullmatch(element.keyword)]
    assert len(image) == 25
    assert [out.get(element.tag) for element in image] == image
    assert out.pixel_array.tobytes() == dataset.pixel_array.tobytes()
