from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedmed.dicom.instance import read_instance
from fedmed.dicom.pixels import decode, decode_into, pixel_sha256
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.sources import of_file
from tests.dicom.files import UNDEFINED, dataset, element, encoded, opened


def noise(shape, dtype="<u2", top=None, seed=5) -> np.ndarray:
    info = np.iinfo(dtype)
    low, high = (info.min, info.max + 1) if top is None else (0, top)
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.int64).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["<u1", "<i1", "<u2", "<i2", "<u4", "<i4"]),
    spare=st.integers(0, 7),
    samples=st.sampled_from([1, 3]),
    frames=st.integers(1, 3),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    planar=st.booleans(),
    syntax=st.sampled_from([ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]),
)
def test_uncompressed_pixels_equal_pydicom(kind, spare, samples, frames, rows, columns, planar, syntax) -> None:
    shape = (*((frames,) if frames > 1 else ()), rows, columns, *((samples,) if samples > 1 else ()))
    bits = np.dtype(kind).itemsize * 8 - spare
    found = dataset(noise(shape, kind), bits, "RGB" if samples == 3 else "MONOCHROME2", samples=samples, frames=frames)
    if samples == 3:
        found.PlanarConfiguration = int(planar)
    data = encoded(found, syntax)
    instance = opened(data)
    pixels, peer = decode(instance), pydicom.dcmread(io.BytesIO(data)).pixel_array
    assert pixels.dtype == peer.dtype.newbyteorder("=")
    assert pixels.shape == peer.shape
    np.testing.assert_array_equal(pixels, peer)
    assert pixel_sha256(instance, pixels) == hashlib.sha256(np.ascontiguousarray(peer).tobytes()).hexdigest()


@pytest.mark.parametrize("frames", [1, 3])
def test_bits_are_unpacked_across_frames_that_end_within_a_byte(frames: int) -> None:
    bits = noise((frames, 3, 5), "<u1", top=2)
    found = dataset(bits if frames > 1 else bits[0], frames=frames)
    found.BitsAllocated = found.BitsStored = 1
    found.HighBit = 0
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    found.PixelData = packed + b"\0" * (len(packed) % 2)
    np.testing.assert_array_equal(decode(opened(encoded(found))), bits if frames > 1 else bits[0])


@pytest.mark.parametrize(("tag", "kind"), [(0x7FE00008, "<f4"), (0x7FE00009, "<f8")])
def test_float_pixels(tag: int, kind: str) -> None:
    values = np.array([[1.5, -2.25], [np.pi, 1e30]], kind)
    found = dataset(np.zeros((2, 2), "<u4"))
    found.BitsAllocated = values.itemsize * 8
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(found, keyword)
    data = encoded(found) + element(tag, "OW", values.tobytes())
    pixels = decode(opened(data))
    assert pixels.dtype == values.dtype
    np.testing.assert_array_equal(pixels, values)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_uncompressed_ybr_becomes_rgb_as_in_pydicom(photometric: str) -> None:
    stored = noise((4, 6, 3), "<u1")
    found = dataset(stored, photometric=photometric, samples=3)
    if photometric == "YBR_FULL_422":
        found.PixelData = stored.tobytes()[: 4 * 6 * 2]
    data = encoded(found)
    np.testing.assert_array_equal(decode(opened(data)), pydicom.dcmread(io.BytesIO(data)).pixel_array)


def refused(data: bytes) -> Reason:
    with pytest.raises(Untrusted) as error:
        decode(opened(data))
    return error.value.reason


def test_short_pixels_are_truncated_and_a_padded_tail_is_no_fault() -> None:
    found = dataset(noise((4, 4)))
    whole = found.PixelData
    found.PixelData = whole[:-2]
    assert refused(encoded(found)) is Reason.TRUNCATED
    found.PixelData = whole + bytes(30)
    np.testing.assert_array_equal(decode(opened(encoded(found))), np.frombuffer(whole, "<u2").reshape(4, 4))
    found.PixelData = b""
    assert refused(encoded(found)) is Reason.TRUNCATED


def test_more_whole_frames_than_the_header_says_are_not_chosen_from() -> None:
    found = dataset(noise((4, 4)))
    found.PixelData = found.PixelData * 2
    assert refused(encoded(found)) is Reason.BAD_ATTRIBUTE


def test_a_file_that_is_cut_off_in_its_pixels() -> None:
    data = encoded(dataset(noise((16, 16))))
    assert refused(data[:-1]) is Reason.TRUNCATED
    decode(opened(data))


def test_uncompressed_pixels_that_are_ended_by_a_delimiter() -> None:
    stored = noise((4, 4))
    found = dataset(stored)
    del found.PixelData
    data = encoded(found) + element(0x7FE00010, "OW", stored.tobytes(), UNDEFINED) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    np.testing.assert_array_equal(decode(opened(data)), stored)


def test_decodes_into_a_slice_of_a_volume(tmp_path: Path) -> None:
    stored = noise((5, 7))
    path = tmp_path / "one.dcm"
    path.write_bytes(encoded(dataset(stored)))
    instance = read_instance(of_file(path, "one.dcm"))
    volume = np.zeros((3, 5, 7), "u2")
    decode_into(instance, volume[1])
    decode_into(instance, volume[2:])
    assert not volume[0].any()
    for filled in volume[1:]:
        np.testing.assert_array_equal(filled, stored)
    wide = np.zeros((5, 7), "i4")
    decode_into(instance, wide)
    np.testing.assert_array_equal(wide, stored)
    across = np.zeros((7, 5), "u2")
    decode_into(instance, across.T)
    np.testing.assert_array_equal(across.T, stored)


def test_an_array_that_does_not_fit_is_our_own_fault() -> None:
    instance = opened(encoded(dataset(noise((5, 7)))))
    for shape, kind in (((7, 5), "u2"), ((2, 5, 7), "u2"), ((5, 7), "i2"), ((5, 7), "u1")):
        with pytest.raises(ValueError, match=r"cannot be decoded|do not fit"):
            decode_into(instance, np.zeros(shape, kind))


@pytest.mark.parametrize("change", ["shorter", "other", "gone"])
def test_a_file_that_changes_after_its_header_was_read_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "one.dcm"
    data = encoded(dataset(noise((64, 64))))
    path.write_bytes(data)
    instance = read_instance(of_file(path, "one.dcm"))
    decode(instance)
    (tmp_path / "new").write_bytes(data[:-9] if change == "shorter" else data)
    (tmp_path / "new").rename(path)
    if change == "gone":
        path.unlink()
    with pytest.raises(Untrusted, match="failed" if change == "gone" else "changed") as error:
        decode(instance)
    assert error.value.reason is Reason.UNREADABLE


@pytest.mark.parametrize(
    ("syntax", "reason", "detail"),
    [
        ("1.2.840.10008.1.2.4.100", Reason.NO_DECODER, "video"),
        ("1.2.840.10008.1.2.4.94", Reason.NO_DECODER, "JPIP"),
        ("1.2.3.4", Reason.UNKNOWN_TRANSFER_SYNTAX, "1.2.3.4"),
        ("1.2.840.10008.1.2.5", Reason.DECODE_FAILED, "begins no fragment"),
    ],
)
def test_transfer_syntaxes_that_are_not_decoded_are_named(syntax: str, reason: Reason, detail: str) -> None:
    data = encoded(dataset(noise((4, 4)) | 1))
    told = element(0x00020010, "UI", b"1.2.840.10008.1.2.1\0")
    assert told in data
    lies = element(0x00020010, "UI", syntax.encode() + b"\0" * (len(syntax) % 2))
    with pytest.raises(Untrusted, match=detail) as error:
        decode(opened(data.replace(told, lies)))
    assert error.value.reason is reason
