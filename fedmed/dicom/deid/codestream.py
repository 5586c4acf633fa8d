"""Comments, application data and trailing bytes of compressed frames: a codec ignores them, a reader of bytes does not."""

from __future__ import annotations

import re
import struct

# A marker within entropy-coded data; FF00 to FF7F are data of JPEG or JPEG-LS, FFD0 to FFD7 restarts (ITU T.81 B.1.1, T.87).
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_ADOBE, _SPIFF, _JFIF = 0xEE, 0xE8, 0xE0
_JFIF_BYTES = 16
"""Of a JFIF segment without a thumbnail."""
_SOC, _COM2, _SOT, _EOC = 0xFF4F, 0xFF64, 0xFF90, 0xFFD9
_BOXES = frozenset((b"jP  ", b"ftyp", b"jp2h", b"jp2c"))


class NotParsed(ValueError):
    """The bytes are no codestream that this module knows."""


def without_comments(frame: bytes) -> bytes:
    """A JPEG, JPEG-LS, JPEG 2000 or HTJ2K frame less what decoding it does not need. Raises NotParsed."""
    try:
        if frame[:2] == b"\xff\xd8":
            return _jpeg(frame)
        if frame[:2] == b"\xff\x4f":
            return _jpeg2000(frame)
        if frame[4:8] == b"jP  ":
            return _boxed(frame)
    except (IndexError, struct.error) as error:
        raise NotParsed("its segments end before they should") from error
    raise NotParsed("it begins like no JPEG")


def _jpeg(frame: bytes) -> bytes:
    """ITU T.81 B.1: segments of a marker and, but for a few, a length; data follow each start of scan."""
    pieces, place = [frame[:2]], 2
    while True:
        while frame[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if frame[place] != 0xFF:
            raise NotParsed("a marker is missing")
        marker = frame[place + 1]
        if marker == _EOI:
            return b"".join([*pieces, frame[place : place + 2]])
        end = place + 2 + _short(frame, place + 2)
        if marker == _SOS:
            found = _MARKER.search(frame, end)
            if found is None:
                raise NotParsed("its data have no end")
            end = found.start()
        if _needed(marker, end - place):
            pieces.append(frame[place:end])
        place = end


def _needed(marker: int, size: int) -> bool:
    if 0xE0 <= marker <= 0xEF:
        # Colour transforms are said in Adobe's and SPIFF's segments.
        return marker in (_ADOBE, _SPIFF) or (marker == _JFIF and size <= _JFIF_BYTES + 2)
    return marker != _COM


def _jpeg2000(frame: bytes) -> bytes:
    """ITU T.800 annex A: a main header, then tile-parts that tell their length, then the end."""
    pieces, place = [frame[:2]], 2
    while (marker := _short(frame, place)) != _SOT:
        if marker >> 8 != 0xFF:
            raise NotParsed("a marker is missing")
        end = place + 2 + _short(frame, place + 2)
        if marker != _COM2:
            pieces.append(frame[place:end])
        place = end
    while _short(frame, place) == _SOT:
        length = struct.unpack_from(">I", frame, place + 6)[0]
        end = place + length if length else frame.rindex(b"\xff\xd9")
        if end > len(frame) or end <= place:
            raise NotParsed("a tile ends beyond the frame")
        pieces.append(frame[place:end])
        place = end
        if place + 2 > len(frame):
            return b"".join(pieces)  # the end marker was left out, which decoders accept
    if _short(frame, place) != _EOC:
        raise NotParsed("something stands between its tiles and its end")
    return b"".join([*pieces, frame[place : place + 2]])


def _boxed(frame: bytes) -> bytes:
    """ITU T.800 annex I: boxes of a length, a type and a content."""
    pieces, place = [], 0
    while place + 8 <= len(frame):
        length, kind = struct.unpack_from(">I4s", frame, place)
        end = place + length if length else len(frame)
        if end <= place or end > len(frame):
            break
        if kind == b"jp2c":
            content = _jpeg2000(frame[place + 8 : end])
            pieces.append(struct.pack(">I4s", len(content) + 8, kind) + content)
        elif kind in _BOXES:
            pieces.append(frame[place:end])
        place = end
    return b"".join(pieces)


def _short(frame: bytes, place: int) -> int:
    return int(struct.unpack_from(">H", frame, place)[0])
