from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from fedmed.dicom.belonging import Belonging, belonging
from fedmed.dicom.reasons import NoImage, Untrusted
from tests.dicom.files import by_hand, dataset, element, encoded

PIXELS = np.zeros((2, 3), "<u2")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_an_image_says_where_it_belongs_and_how_many_there_are(syntax: str):
    said = {"AcquisitionNumber": 4, "ImagesInAcquisition": 30, "NumberOfSeriesRelatedInstances": 60}
    content = encoded(dataset(PIXELS, **said), syntax)
    assert belonging(content) == Belonging("1.2", "1.2.1", "1.2.3", "4", 30, 60)
    assert belonging(encoded(dataset(PIXELS), syntax)) == Belonging("1.2", "1.2.1", "1.2.3", "", None, None)


@pytest.mark.parametrize("count", [b"", b"-3", b"0 ", b"many", b"1e3\\2", b"999999999", b"3.5 "])
def test_a_count_that_makes_no_sense_is_none(count: bytes):
    value = count + b" " * (len(count) % 2)
    parts = [element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0"), element(0x00201002, "IS", value)]
    assert belonging(by_hand(*parts, element(0x7FE00010, "OW", bytes(2)))).in_acquisition in (None, 1000)


def test_what_is_no_image_of_a_series_is_none_and_a_section_without_pixels_is_one_that_lacks_them():
    report = dataset(PIXELS)
    del report.PixelData
    assert belonging(encoded(report)).sop_instance == "1.2.3"  # CT: cut off
    for sop_class in ("1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.66.4"):
        report.SOPClassUID = sop_class
        with pytest.raises(NoImage):
            belonging(encoded(report))
    mask = dataset(PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    with pytest.raises(NoImage):
        belonging(encoded(mask))
    with pytest.raises(NoImage):
        belonging(b"no DICOM")


@given(st.integers(0, 600), st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused(place: int, value: int):
    content = bytearray(encoded(dataset(PIXELS, ImagesInAcquisition=3)))
    content[place % len(content)] = value
    try:
        found = belonging(bytes(content))
    except (Untrusted, NoImage):
        return
    assert found.in_acquisition is None or found.in_acquisition > 0
