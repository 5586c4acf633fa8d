"""Spoilt files go through de-identification: nothing but a refusal is raised, and no name gets through."""

from __future__ import annotations

import random
import warnings
from io import BytesIO

import pydicom
import pytest

from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.deid.folder import encoded
from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.reasons import Untrusted
from tests.dicom.deid.objects import KEYS, item, nested, small_ct, to_bytes

NAME = b"Zappa"


def original() -> bytes:
    dataset = small_ct(PatientName="Zappa^Quentin", PatientID="Zappa77", ReferringPhysicianName="Zappa^F")
    dataset.RequestAttributesSequence = nested(
        item(PatientName="Zappa^Quentin", RequestedProcedureDescription="CT of Zappa")
    )
    return to_bytes(dataset)


def spoilt(data: bytes, choice: random.Random) -> bytes:
    """Bytes of the header changed, left out, put in or copied."""
    found = bytearray(data)
    for _ in range(choice.randint(1, 10)):
        place = choice.randrange(132, 5500)
        kind = choice.randrange(4)
        if kind == 0:
            found[place] = choice.randrange(256)
        elif kind == 1:
            del found[place : place + choice.randint(1, 8)]
        elif kind == 2:
            found[place:place] = choice.randbytes(choice.randint(1, 8))
        else:
            other = choice.randrange(132, 5500)
            found[place : place + 8] = found[other : other + 8]
    return bytes(found)


@pytest.mark.parametrize("seed", range(8))
def test_spoilt_files_are_deidentified_or_refused(seed):
    data, choice, done = original(), random.Random(seed), 0
    for _ in range(40):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(BytesIO(spoilt(data, choice)))
            except UNREADABLE:
                continue
            try:
                written = encoded(deidentify(dataset, KEYS)[0])
                pydicom.dcmread(BytesIO(written))
            except Untrusted:
                continue
        done += 1
        assert NAME not in written
    assert done > 5
