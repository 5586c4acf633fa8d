from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.decoders.encapsulated import frames_of
from fedmed.dicom.reasons import Reason, Untrusted
from tests.dicom.files import item

END = b"\xfe\xff\xdd\xe0\0\0\0\0"
NONE = Attributes({})


def joined(data: bytes, count: int, attributes: Attributes = NONE) -> list[bytes]:
    view = memoryview(data)
    return [b"".join(view[begin:end] for begin, end in parts) for parts in frames_of(view, count, attributes)]


def encapsulated(frames: list[list[bytes]], *, table: bool) -> bytes:
    offsets, at = [], 0
    for frame in frames:
        offsets.append(at)
        at += sum(8 + len(part) for part in frame)
    basic = struct.pack(f"<{len(offsets)}I", *offsets) if table else b""
    return item(basic) + b"".join(item(part) for frame in frames for part in frame) + END


parts = st.lists(
    st.binary(min_size=2, max_size=6).map(lambda part: part.replace(b"\xff", b"\0") + b"\0" * (len(part) % 2)), max_size=3
)


@settings(max_examples=80, deadline=None)
@given(st.lists(parts, min_size=1, max_size=4), st.booleans())
def test_frames_are_those_that_pydicom_finds(fronts: list[list[bytes]], table: bool) -> None:
    frames = [[*front, b"ab\xff\xd9"] for front in fronts]
    data = encapsulated(frames, table=table)
    assert joined(data, len(frames)) == list(generate_frames(io.BytesIO(data), number_of_frames=len(frames)))
    assert joined(data, len(frames)) == [b"".join(frame) for frame in frames]


def test_one_frame_takes_all_fragments_whatever_the_table_says() -> None:
    data = item(b"\1\0\0\0") + item(b"abcd") + item(b"efgh") + END
    assert joined(data, 1) == [b"abcdefgh"]


def test_a_missing_end_is_overlooked_and_a_cut_off_fragment_is_not() -> None:
    data = encapsulated([[b"abcd"]], table=False)
    assert joined(data[:-8], 1) == [b"abcd"]
    with pytest.raises(Untrusted) as error:
        joined(data[:-9], 1)
    assert error.value.reason is Reason.TRUNCATED


@pytest.mark.parametrize(
    ("data", "count", "reason"),
    [
        (b"", 1, Reason.TRUNCATED),
        (item(b""), 1, Reason.TRUNCATED),
        (item(b"") + END, 1, Reason.TRUNCATED),
        (item(b"") + item(b"ab") + item(b"cd") + END, 3, Reason.TRUNCATED),
        (item(b"") + item(b"ab") + item(b"cd") + item(b"ef") + END, 2, Reason.DECODE_FAILED),
        (b"\x01\x02" * 20, 1, Reason.DECODE_FAILED),
        (item(b"") + b"\x01\x02" * 20, 1, Reason.DECODE_FAILED),
        (item(b"") + item(b"ab", 0xFFFFFFFE) + END, 1, Reason.TRUNCATED),
    ],
)
def test_what_cannot_be_told_apart_is_refused(data: bytes, count: int, reason: Reason) -> None:
    with pytest.raises(Untrusted) as error:
        joined(data, count)
    assert error.value.reason is reason


def extended(offsets: list[int], lengths: list[int]) -> Attributes:
    return Attributes(
        {
            tags.EXTENDED_OFFSETS: ("OV", struct.pack(f"<{len(offsets)}Q", *offsets), []),
            tags.EXTENDED_LENGTHS: ("OV", struct.pack(f"<{len(lengths)}Q", *lengths), []),
        }
    )


def test_the_extended_table_leaves_padding_out() -> None:
    data = encapsulated([[b"abc\0"], [b"defgh\0"]], table=False)
    assert joined(data, 2, extended([0, 12], [3, 5])) == [b"abc", b"defgh"]
    assert joined(data, 2, extended([0], [3])) == [b"abc\0", b"defgh\0"]


@pytest.mark.parametrize(("offsets", "lengths"), [([0, 13], [3, 5]), ([0, 2**63], [3, 5]), ([0, 12], [3, 2**62])])
def test_an_extended_table_that_leaves_its_fragments_is_refused(offsets, lengths) -> None:
    with pytest.raises(Untrusted, match="extended offset table"):
        joined(encapsulated([[b"abc\0"], [b"defgh\0"]], table=False), 2, extended(offsets, lengths))
