from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedmed.dicom.arrivals import MOST_META, Door, Kept, as_file, facts_of
from fedmed.dicom.network.acceptor import stores
from fedmed.dicom.network.commands import Outcome
from fedmed.dicom.reasons import NoImage, Reason, Untrusted
from fedmed.errors import DataError, StoreError
from tests.dicom.files import compressed, dataset, element, encoded
from tests.dicom.senders import MR, data_set_of, image

FACTS = {
    "sop_class": MR,
    "sop_instance": "1.2.826.9.1",
    "study": "1.2",
    "series": "1.2.1",
    "modality": "MR",
    "transfer_syntax": ExplicitVRLittleEndian,
}
SLICE = {
    "SOPClassUID": MR,
    "SOPInstanceUID": "1.2.826.9.1",
    "Modality": "MR",
    "PatientName": "Doe^Jane",
    "PatientID": "4711",
}
PIXELS = np.arange(64, dtype="u2").reshape(8, 8)


def ends(content: bytes, *keep: Any, **changes: Any) -> tuple[int, str]:
    return taken(content, *keep, **changes)[:2]


def taken(content: bytes, keep: Any = None, named: Any = None, study: str = "", **door: Any) -> tuple[int, str, bool]:
    known = {"stores": stores(frozenset()), "transfers": frozenset([ExplicitVRLittleEndian]), **door}
    found = Door(keep or (lambda content, facts: Kept(True)), **known).take(content, {"by": "test"}, named, study)
    return found.outcome, found.why, found.is_half


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_facts_are_read_in_every_encoding_and_name_nobody(syntax):
    facts = facts_of(encoded(dataset(PIXELS, **SLICE), syntax))
    assert facts == {**FACTS, "transfer_syntax": syntax}
    assert facts_of(compressed(dataset(PIXELS, **SLICE), [b"abcd"], "1.2.840.10008.1.2.5"))["study"] == "1.2"


def test_a_data_set_as_received_becomes_a_file_that_pydicom_reads():
    data_set = data_set_of(image(1))
    content = as_file(MR, "1.2.826.9.1", ExplicitVRLittleEndian, bytearray(data_set))
    assert content == as_file(MR, "1.2.826.9.1", ExplicitVRLittleEndian, data_set)
    assert content.endswith(data_set)
    assert len(content) - len(data_set) < MOST_META
    found = pydicom.dcmread(io.BytesIO(content))
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID == "1.2.826.9.1"
    assert found.file_meta.FileMetaInformationGroupLength == len(content) - len(data_set) - 144
    assert len(as_file("1" * 64, "2" * 64, "3" * 64, b"")) < MOST_META


@pytest.mark.parametrize("cut", [1, 50, 127])
def test_half_a_file_is_seen(cut):
    native = encoded(dataset(PIXELS, **SLICE))
    packed = compressed(dataset(PIXELS, **SLICE), [bytes(300)], "1.2.840.10008.1.2.5")
    for whole in (native, packed):
        with pytest.raises(Untrusted) as raised:
            facts_of(whole[:-cut])
        assert raised.value.reason == Reason.TRUNCATED
    assert taken(native[:-cut])[2]


def test_what_follows_the_pixels_is_no_matter():
    content = encoded(dataset(PIXELS, **SLICE)) + element(0xFFFCFFFC, "OB", bytes(10))
    assert facts_of(content) == FACTS


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_uid_that_is_missing_or_none_is_refused(keyword):
    for value in ("", "1.2.x"):
        found = dataset(PIXELS, **SLICE)
        content = encoded(found)
        data_set = pydicom.dcmread(io.BytesIO(content))
        with pydicom.config.disable_value_validation():
            setattr(data_set, keyword, value)
            file = io.BytesIO()
            data_set.file_meta.MediaStorageSOPClassUID = MR
            data_set.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
            pydicom.dcmwrite(file, data_set)
        with pytest.raises(Untrusted, match="no UID"):
            facts_of(file.getvalue())


def test_every_end_has_its_status():
    content = image(1)

    def failing(error: Exception) -> Any:
        def keep(content: bytes, facts: Mapping[str, Any]) -> Kept:
            raise error

        return keep

    assert ends(content) == (Outcome.SUCCESS, "")
    assert ends(content, named=(MR, "1.2.826.9.1"), study="1.2")[0] == Outcome.SUCCESS
    assert ends(content, named=(MR, "1.2.3"))[0] == Outcome.NOT_AS_ANNOUNCED
    assert ends(content, study="1.3")[0] == Outcome.NOT_AS_ANNOUNCED
    assert ends(content, stores=stores(frozenset(["1.2"])))[0] == Outcome.SOP_CLASS_NOT_SUPPORTED
    assert ends(content, transfers=frozenset())[0] == Outcome.NO_SUCH_SYNTAX
    assert ends(content, most_bytes=100)[0] == Outcome.OUT_OF_RESOURCES
    assert ends(b"noise")[0] == Outcome.NOT_UNDERSTOOD
    assert ends(b"")[0] == Outcome.NOT_UNDERSTOOD
    assert ends(content, failing(StoreError("x")))[0] == Outcome.OUT_OF_RESOURCES
    assert ends(content, failing(OSError(28, "x")))[0] == Outcome.OUT_OF_RESOURCES
    assert ends(content, failing(DataError("x")))[0] == Outcome.NOT_UNDERSTOOD


def test_what_is_refused_is_never_kept():
    came = []

    def keep(content: bytes, facts: Mapping[str, Any]) -> Kept:
        came.append((content, facts))
        return Kept(True)

    ends(b"noise", keep)
    ends(image(1)[:-10], keep)
    ends(image(1), keep, transfers=frozenset())
    assert not came
    ends(image(1), keep)
    assert came == [(image(1), {**FACTS, "by": "test"})]


def test_a_bomb_is_not_inflated_beyond_what_one_instance_may_have():
    found = dataset(np.zeros((2048, 2048), "u2"), **SLICE)
    content = encoded(found, DeflatedExplicitVRLittleEndian)
    assert len(content) < 100_000
    with pytest.raises(Untrusted) as raised:
        facts_of(content, 10**6)
    assert raised.value.reason == Reason.TOO_LARGE


@given(st.binary(max_size=400), st.integers(0, 900), st.integers(0, 255))
def test_any_bytes_have_facts_or_a_reason(tail, at, value):
    damaged = bytearray(image(1, 8))
    damaged[min(at, len(damaged) - 1)] = value
    for content in (bytes(128) + b"DICM" + tail, tail, bytes(damaged), bytes(damaged[: -len(tail) or None])):
        try:
            facts_of(content)
        except (NoImage, Untrusted):
            continue


def test_the_standards_storage_classes_are_taken_and_nothing_else():
    every = stores(frozenset())
    assert every(MR)
    assert every("1.2.840.10008.5.1.4.1.1.6")  # ultrasound as it was before 1993
    for other in (
        "1.2.840.10008.1.1",
        "1.2.840.10008.5.1.4.1.2.1.1",
        "1.2.840.10008.5.1.4.1.1.200.4",
        "1.3.12.2.1107.5.9.1",
    ):
        assert not every(other)
    assert stores(frozenset(["1.3.12"]))("1.3.12")
    assert not stores(frozenset(["1.3.12"]))(MR)
