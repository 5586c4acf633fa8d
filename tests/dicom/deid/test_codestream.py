from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from fedmed.dicom.deid.codestream import NotParsed, without_comments
from fedmed.dicom.deid.engine import deidentify
from tests.dicom.deid.objects import KEYS, reread

NAME = b"Jane Doe 1950-01-01"


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"
FRAME = segment(0xC0, b"\x08\x00\x01\x00\x01\x01\x01\x11\x00")
END = b"\xff\xd9"
J2K_TILE = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 12 + 2 + 4, 0, 1) + b"\xff\x93" + b"data"
J2K_MAIN = b"\xff\x4f" + b"\xff\x51" + struct.pack(">H", 6) + b"size"


def test_comments_and_application_data_of_a_jpeg_go():
    jfif, adobe = segment(0xE0, b"JFIF\0" + bytes(9)), segment(0xEE, b"Adobe" + bytes(7))
    plain = b"\xff\xd8" + jfif + adobe + FRAME + SCAN + SCAN + END
    spoilt = b"\xff\xd8" + jfif + segment(0xE1, b"Exif" + NAME) + adobe + segment(0xFE, NAME) + FRAME + SCAN
    spoilt += segment(0xFE, NAME) + SCAN + END + NAME
    assert without_comments(spoilt) == plain
    assert without_comments(plain) == plain


def test_a_thumbnail_goes():
    assert NAME not in without_comments(b"\xff\xd8" + segment(0xE0, b"JFIF\0" + bytes(9) + NAME) + FRAME + SCAN + END)


def test_comments_of_a_jpeg_2000_go_and_what_follows_its_end():
    plain = J2K_MAIN + J2K_TILE + b"\xff\xd9"
    comment = b"\xff\x64" + struct.pack(">HH", len(NAME) + 4, 1) + NAME
    assert without_comments(J2K_MAIN + comment + J2K_TILE + b"\xff\xd9" + NAME) == plain
    assert without_comments(plain) == plain
    boxes = struct.pack(">I4sI", 12, b"jP  ", 0x0D0A870A) + struct.pack(">I4s", 8 + len(NAME), b"xml ") + NAME
    boxes += struct.pack(">I4s", 8 + len(plain), b"jp2c") + plain
    assert NAME not in without_comments(boxes + NAME)
    assert plain in without_comments(boxes)


@given(st.binary(max_size=200))
def test_any_bytes_are_cut_or_refused(data):
    for begin in (b"", b"\xff\xd8", b"\xff\x4f", b"\0\0\0\x0cjP  "):
        try:
            assert len(without_comments(begin + data)) <= len(begin + data)
        except NotParsed:
            continue


@pytest.mark.parametrize(
    "name",
    ["wg04/CT2_JLSN", "wg04/MR1_JPLL", "wg04/MR4_J2KR", "pydicom-data/emri_small_jpeg_ls_lossless.dcm", "wg04/MR4_J2KI"],
)
def test_real_frames_decode_to_what_they_were(shared_data: Path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(shared_data / "dicom_zoo" / name)
        out = reread(deidentify(dataset, KEYS)[0])
        before, after = dataset.pixel_array, out.pixel_array
    assert np.array_equal(before, after)
    frames = list(generate_frames(out.PixelData, number_of_frames=int(out.get("NumberOfFrames") or 1)))
    assert not [frame for frame in frames if b"\xff\xfe" in frame[:200] or b"Created by" in frame]
