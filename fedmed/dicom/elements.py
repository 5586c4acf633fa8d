"""Data elements of a DICOM file, only those that are asked for, read with every length checked against the file.

A file is untrusted: each element must lie within what encloses it, and elements and nesting are counted (PS3.5 section 7).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import product
from typing import Union

from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import NoImage, Reason, Status, Untrusted
from fedmed.dicom.sources import Source, of_bytes

Wanted = dict[int, Union[str, "Wanted"]]
"""Tag -> its VR in the standard (what an implicit file leaves out), or what is wanted in the items of a sequence."""
Elements = dict[int, tuple[str, bytes, "list[Elements]"]]
"""Tag -> VR, value, and the items of a sequence."""

PREAMBLE = 128
FIRST_READ = 16 * 1024
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
PIXEL_TAGS = (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS)
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
PADDING_GROUP = 0xFFFC
"""Data Set Trailing Padding, PS3.10 section 7.2."""
NOTHING: Wanted = {}
NO_ITEMS: list[Elements] = []

# PS3.5 table 7.1-1: these VRs have two reserved bytes and a length of four.
WIDE_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
VRS = (
    WIDE_VRS
    | frozenset(
        (
            b"AE",
            b"AS",
            b"AT",
            b"CS",
            b"DA",
            b"DS",
            b"DT",
            b"FL",
            b"FD",
            b"IS",
            b"LO",
            b"LT",
            b"PN",
            b"SH",
            b"SL",
            b"SS",
            b"ST",
        )
    )
    | frozenset((b"TM", b"UI", b"UL", b"US"))
)


LETTERS = frozenset(bytes(pair) for pair in product(range(65, 91), repeat=2))
"""What looks like a VR: some of them are of later editions than this table."""


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


class _Short(Exception):
    """The part of the file that was read ends before this byte, the file itself does not."""

    def __init__(self, needed: int) -> None:
        self.needed = needed


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
        except _Short as short:
            length = min(source.size, max(4 * length, short.needed + FIRST_READ))
            if length > limits.header_bytes:
                raise Untrusted(Reason.TOO_LARGE, f"Its header has more than {limits.header_bytes} bytes.") from None


def _skim(source: Source, data: bytes, wanted: Wanted, limits: Limits) -> Skimmed:
    start, syntax = _file_meta(source, data, limits)
    if syntax == DEFLATED:
        source = of_bytes(source.name, _inflated(source.span(start, source.size - start), limits))
        data, start = source.head(source.size), 0
    walk = _Walk(data, source.size, limits, big_endian=syntax == BIG_ENDIAN)
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
    elements, end = _Walk(data, source.size, limits).top(start, False, {TRANSFER_SYNTAX: "UI"}, last_group=2)
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


class _Walk:
    """Reader of one buffer: every method takes where it begins and what it may not pass, and counts what it meets."""

    def __init__(self, data: bytes, size: int, limits: Limits, *, big_endian: bool = False) -> None:
        self.data, self.size, self.limits = data, size, limits
        mark = ">" if big_endian else "<"
        self.explicit = struct.Struct(mark + "HH2sH").unpack_from
        self.implicit = struct.Struct(mark + "HHI").unpack_from
        self.wide = struct.Struct(mark + "I").unpack_from
        self.left = limits.elements
        self.pixels: tuple[int, int, int | None, str] | None = None

    def top(self, at: int, implicit: bool, wanted: Wanted, last_group: int = 0xFFFF) -> tuple[Elements, int]:
        """The data set from `at` on, to the pixels or the first element after `last_group`; and where that is."""
        return self._dataset(at, self.size, implicit, wanted, 0, last_group=last_group)

    def _dataset(
        self,
        at: int,
        end: int,
        implicit: bool,
        wanted: Wanted,
        depth: int,
        *,
        closed: bool = False,
        last_group: int = 0xFFFF,
    ) -> tuple[Elements, int]:
        """Elements between `at` and `end`, or to the delimiter of an item that is `closed` by one; the place after."""
        found: Elements = {}
        data, have, explicit = self.data, len(self.data), self.explicit
        left, undefined = self.left, UNDEFINED
        while at < end:
            if at + 12 > have:
                self._refuse_short(at, min(12, self.size - at), end)
            group, number, vr, length = explicit(data, at)
            tag = group << 16 | number
            if left == 0:
                raise Untrusted(Reason.TOO_LARGE, f"It has more than {self.limits.elements} data elements.")
            left -= 1
            if implicit or vr not in LETTERS:
                # Some writers switch to implicit within an explicit file: what is no VR is half of a length.
                vr, value, length = b"", at + 8, self.wide(data, at + 4)[0]
            elif vr in WIDE_VRS:
                if at + 12 > end:
                    raise Untrusted(Reason.UNREADABLE, f"Data element {tag:08X} is cut off.")
                value, length = at + 12, self.wide(data, at + 8)[0]
            else:
                value = at + 8
            if group >= 0x7FE0 or group > last_group:
                if group > last_group or group == PADDING_GROUP:
                    return found, at
                if tag == ITEM_END and closed:
                    self.left = left
                    return found, at + 8
                if tag in PIXEL_TAGS and depth == 0:
                    self.pixels = tag, value, None if length == undefined else length, vr.decode()
                    return found, at
            inner = wanted.get(tag)
            if length == undefined:
                self.left = left
                items, at = self._items(value, end, implicit or vr == b"UN", inner, depth, closed=True)
                left = self.left
                if isinstance(inner, dict):
                    found[tag] = "SQ", b"", items
                continue
            at = value + length
            if at > end:
                raise Untrusted(Reason.UNREADABLE, f"Data element {tag:08X} claims {length} bytes of {end - value} left.")
            if inner is None:
                continue
            if at > have:
                raise _Short(at)
            if isinstance(inner, str):
                found[tag] = vr.decode() if vr and vr != b"UN" else inner, data[value:at], NO_ITEMS
            else:
                self.left = left
                items, at = self._items(value, at, implicit or vr == b"UN", inner, depth)
                left = self.left
                found[tag] = "SQ", b"", items
        self.left = left
        if closed:
            raise Untrusted(Reason.UNREADABLE, "An item of a sequence has no end.")
        return found, at

    def _items(
        self, at: int, end: int, implicit: bool, wanted: str | Wanted | None, depth: int, *, closed: bool = False
    ) -> tuple[list[Elements], int]:
        """The items of a sequence, or the fragments of an encapsulated value (PS3.5 section 7.5, annex A.4)."""
        if depth == self.limits.depth:
            raise Untrusted(Reason.TOO_LARGE, f"Its sequences are nested deeper than {self.limits.depth}.")
        inner = wanted if isinstance(wanted, dict) else NOTHING
        items: list[Elements] = []
        while at < end:
            if at + 8 > len(self.data):
                self._refuse_short(at, 8, end)
            group, number, length = self.implicit(self.data, at)
            tag = group << 16 | number
            if self.left == 0:
                raise Untrusted(Reason.TOO_LARGE, f"It has more than {self.limits.elements} data elements.")
            self.left -= 1
            at += 8
            if tag == SEQUENCE_END and closed:
                return items, at
            if tag != ITEM:
                raise Untrusted(Reason.UNREADABLE, f"A sequence holds {tag:08X} where an item must begin.")
            if length == UNDEFINED:
                item, at = self._dataset(at, end, implicit, inner, depth + 1, closed=True)
            elif at + length > end:
                raise Untrusted(Reason.UNREADABLE, f"An item claims {length} bytes of {end - at} left.")
            else:
                stop = at + length
                item = self._dataset(at, stop, implicit, inner, depth + 1)[0] if inner else {}
                at = stop
            if inner:
                items.append(item)
        if closed:
            raise Untrusted(Reason.UNREADABLE, "A sequence has no end.")
        return items, at

    def _refuse_short(self, at: int, length: int, end: int) -> None:
        """The buffer ends within the next `length` bytes: read more of the file, or say that there is no more."""
        if length < 8 or at + 8 > end:
            raise Untrusted(Reason.UNREADABLE, f"{end - at} bytes are left where a data element must begin.")
        if at + length <= len(self.data):
            return
        raise _Short(at + length)
