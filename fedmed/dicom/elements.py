"""Of a DICOM file only the elements that are asked for, read no further than its pixels (PS3.10 section 7)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import NoImage, Reason, Status, Untrusted
from fedmed.dicom.sources import Source, of_bytes
from fedmed.dicom.walking import VRS, Elements, Short, Walk, Wanted

PREAMBLE = 128
FIRST_READ = 16 * 1024
TRANSFER_SYNTAX = 0x00020010

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
GE_BIG_ENDIAN_PIXELS = "1.2.840.113619.5.2"
"""GE's own: implicit little endian, the pixels big endian."""
IMPLICIT_SYNTAXES = (IMPLICIT, GE_BIG_ENDIAN_PIXELS)


@dataclass(frozen=True)
class Span:
    """Where the pixels lie in a source."""

    source: Source
    """The file, or what it inflates to."""
    tag: int
    offset: int
    length: int | None
    """None: encapsulated, or ended by a delimiter (PS3.5 annex A.4)."""
    vr: str


@dataclass(frozen=True)
class Skimmed:
    """What was asked for of one file."""

    elements: Elements
    transfer_syntax: str
    """Empty where the file does not say."""
    pixels: Span | None


def skim(source: Source, wanted: Wanted, limits: Limits = LIMITS) -> Skimmed:
    """Reads as little of `source` as the elements of `wanted` need; stops at the pixels.

    Raises NoImage for what is no DICOM, and Untrusted for what begins as DICOM and cannot be followed to the pixels.
    """
    length = min(FIRST_READ, source.size) or FIRST_READ
    while True:
        data = source.head(length)
        if len(data) < min(length, source.size):
            raise Untrusted(Reason.TRUNCATED, f"It ends at byte {len(data)} of {source.size}.")
        try:
            return _skim(source, data, wanted, limits)
        except Short as short:
            length = min(source.size, max(4 * length, short.needed + FIRST_READ))
            if length > limits.header_bytes:
                raise Untrusted(Reason.TOO_LARGE, f"Its header has more than {limits.header_bytes} bytes.") from None


def _skim(source: Source, data: bytes, wanted: Wanted, limits: Limits) -> Skimmed:
    start, syntax = _file_meta(source, data, limits)
    if syntax == DEFLATED:
        source = of_bytes(source.name, _inflated(source.span(start, source.size - start), limits))
        data, start = source.head(source.size), 0
    walk = Walk(data, source.size, limits, big_endian=syntax == BIG_ENDIAN)
    # What the first element looks like decides, as in pydicom: writers have got the transfer syntax wrong.
    elements, _ = walk.top(start, not _looks_explicit(data, start), wanted)
    if walk.pixels is None:
        return Skimmed(elements, syntax, None)
    return Skimmed(elements, syntax, Span(source, *walk.pixels))


def _file_meta(source: Source, data: bytes, limits: Limits) -> tuple[int, str]:
    """Where the data set begins, and its transfer syntax, empty if it is not told (PS3.10 section 7.1)."""
    start = PREAMBLE + 4 if data[PREAMBLE : PREAMBLE + 4] == b"DICM" else 0
    if start == 0 and not _looks_like_dicom(data):
        raise NoImage(Status.NOT_DICOM, "It has no 'DICM' at byte 128 (PS3.10 section 7.1).")
    # Group 0002 is explicit little endian whatever follows it.
    elements, end = Walk(data, source.size, limits).top(start, False, {TRANSFER_SYNTAX: "UI"}, last_group=2)
    value = elements[TRANSFER_SYNTAX][1] if TRANSFER_SYNTAX in elements else b""
    return end, value.rstrip(b"\0 ").decode("ascii", "replace")


def _looks_like_dicom(data: bytes) -> bool:
    """Without preamble: a first element of group 0002 or 0008 with a VR, or else (implicit) of a short length."""
    if len(data) < 8 or data[:2] not in (b"\2\0", b"\x08\0") or data[3] != 0:
        return False
    return _looks_explicit(data, 0) or int.from_bytes(data[4:8], "little") <= 256


def _looks_explicit(data: bytes, at: int) -> bool:
    return data[at + 4 : at + 6] in VRS


def _inflated(packed: bytearray, limits: Limits) -> bytes:
    """PS3.5 annex A.5: a raw deflate stream, at most as large as the limits allow."""
    most = min(limits.file_bytes, limits.expansion * max(len(packed), 1))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(packed, most)
    except zlib.error as error:
        raise Untrusted(Reason.UNREADABLE, f"Its deflated data set is damaged ({error}).") from error
    if inflater.unconsumed_tail:
        raise Untrusted(Reason.TOO_LARGE, f"Its data set inflates to more than {most} bytes.")
    if not inflater.eof:
        raise Untrusted(Reason.TRUNCATED, "Its deflated data set has no end.")
    return content
