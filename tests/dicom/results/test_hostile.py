"""Sources that are damaged or made to do harm: a result or a typed error, never anything else."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import NoImage, Reason, Untrusted
from fedmed.dicom.results.report import report
from fedmed.dicom.results.segments import segmentation
from tests.dicom.files import UNDEFINED, by_hand, element, item
from tests.dicom.results.samples import FINDING, masked, reread, series, source

FLAT = source(SpecificCharacterSet="GB18030", PatientName="王^小明", PatientWeight="70", OtherPatientNames=["A^B", "C^D"])
SLICE = series()[0]
MASK = np.ones((1, 12, 10), np.uint8)
damage = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6)


def damaged(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    """Bytes changed after the preamble and before the pixels."""
    found = bytearray(content)
    for place, value in changes:
        found[132 + place % (len(content) - 132)] = value
    return bytes(found)


@settings(max_examples=120, deadline=None)
@given(damage)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_image_is_reported_or_refused(changes):
    try:
        content = report(damaged(FLAT, changes), FINDING)
    except (Untrusted, NoImage):
        return
    assert reread(content).Modality == "SR"


@settings(max_examples=80, deadline=None)
@given(damage)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_slice_is_segmented_or_refused(changes):
    try:
        content = segmentation([damaged(SLICE, changes)], masked(MASK))
    except (Untrusted, NoImage):
        return
    assert reread(content).Modality == "SEG"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(FLAT)))
@pytest.mark.filterwarnings("ignore")
def test_a_cut_off_image_is_reported_or_refused(length):
    try:
        report(FLAT[:length], FINDING)
    except (Untrusted, NoImage):
        return


def test_a_deflated_bomb_is_refused_before_it_grows():
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(element(0x00100010, "PN", b"A") + bytes(64 * 1024**2)) + packer.flush()
    bomb = bytes(128) + b"DICM" + element(0x00020010, "UI", b"1.2.840.10008.1.2.1.99") + packed
    with pytest.raises(Untrusted) as refused:
        report(bomb, FINDING, Limits(file_bytes=1024**2))
    assert refused.value.reason is Reason.TOO_LARGE


def test_sequences_nested_without_end_are_refused():
    nested = b""
    for _ in range(2000):
        nested = element(0x00101002, "SQ", item(nested, UNDEFINED) + b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED)
    with pytest.raises(Untrusted):
        report(by_hand(element(0x00080018, "UI", b"1.2\0"), nested), FINDING)
