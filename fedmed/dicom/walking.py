"""Data elements one after the other, each length checked against what encloses it (PS3.5 section 7)."""

from __future__ import annotations

import struct
from itertools import product
from typing import Union

from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Untrusted

Wanted = dict[int, Union[str, "Wanted"]]
"""Tag -> its VR in the standard (what an implicit file leaves out), or what is wanted in the items of a sequence."""
Elements = dict[int, tuple[str, bytes, "list[Elements]"]]
"""Tag -> VR, value, and the items of a sequence."""
NOTHING: Wanted = {}
NO_ITEMS: list[Elements] = []

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
PIXEL_TAGS = (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS)
PADDING_GROUP = 0xFFFC
"""Data Set Trailing Padding, PS3.10 section 7.2."""

# PS3.5 table 7.1-1: these VRs have two reserved bytes and a length of four.
WIDE_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
VRS = WIDE_VRS | frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
LETTERS = frozenset(bytes(pair) for pair in product(range(65, 91), repeat=2))
"""What looks like a VR: some of them are of later editions than this table."""
NARROW_VRS = LETTERS - WIDE_VRS


class Short(Exception):
    """The part of the file that was read ends before this byte, the file itself does not."""

    def __init__(self, needed: int) -> None:
        self.needed = needed


class Walk:
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
        data, have, explicit, wide, left = self.data, len(self.data), self.explicit, self.wide, self.left
        while at < end:
            if at + 12 > have:
                self._refuse_short(at, min(12, self.size - at), end)
            group, number, vr, length = explicit(data, at)
            tag = group << 16 | number
            if left == 0:
                raise self._too_many()
            left -= 1
            if not implicit and vr in NARROW_VRS:
                value = at + 8
            elif not implicit and vr in WIDE_VRS:
                if at + 12 > end:
                    raise Untrusted(Reason.UNREADABLE, f"Data element {tag:08X} is cut off.")
                value, length = at + 12, wide(data, at + 8)[0]
            else:
                # Some writers switch to implicit within an explicit file: what is no VR is half of a length.
                vr, value, length = b"", at + 8, wide(data, at + 4)[0]
            if group >= 0x7FE0 or group > last_group:
                if group > last_group or group == PADDING_GROUP or (depth == 0 and self._is_pixels(tag, vr, value, length)):
                    return found, at
                if tag == ITEM_END and closed:
                    self.left = left
                    return found, at + 8
            inner = wanted.get(tag)
            if length == UNDEFINED or (inner is not None and not isinstance(inner, str)):
                self.left = left
                items, at = self._nested(tag, value, length, end, implicit or vr == b"UN", inner, depth)
                left = self.left
                if isinstance(inner, dict):
                    found[tag] = "SQ", b"", items
                continue
            at = value + length
            if at > end:
                raise _too_long(tag, length, end - value)
            if inner is not None:
                found[tag] = vr.decode() if vr and vr != b"UN" else inner, self._value(value, at), NO_ITEMS
        self.left = left
        if closed:
            raise Untrusted(Reason.UNREADABLE, "An item of a sequence has no end.")
        return found, at

    def _is_pixels(self, tag: int, vr: bytes, value: int, length: int) -> bool:
        """Whether these are the pixels, whose place is kept then."""
        if tag not in PIXEL_TAGS:
            return False
        self.pixels = tag, value, None if length == UNDEFINED else length, vr.decode()
        return True

    def _value(self, at: int, end: int) -> bytes:
        if end > len(self.data):
            raise Short(end)
        return self.data[at:end]

    def _nested(
        self, tag: int, at: int, length: int, end: int, implicit: bool, wanted: str | Wanted | None, depth: int
    ) -> tuple[list[Elements], int]:
        """What an element holds that is a sequence, or whose length is not told."""
        if length == UNDEFINED:
            return self._items(at, end, implicit, wanted, depth, closed=True)
        if at + length > end:
            raise _too_long(tag, length, end - at)
        if at + length > len(self.data):
            raise Short(at + length)
        return self._items(at, at + length, implicit, wanted, depth)

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
                raise self._too_many()
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
        raise Short(at + length)

    def _too_many(self) -> Untrusted:
        return Untrusted(Reason.TOO_LARGE, f"It has more than {self.limits.elements} data elements.")


def _too_long(tag: int, length: int, left: int) -> Untrusted:
    return Untrusted(Reason.UNREADABLE, f"Data element {tag:08X} claims {length} bytes of {left} left.")
