"""Frames of encapsulated pixels: which fragments make up which frame (PS3.5 annex A.4)."""

from __future__ import annotations

import struct
from itertools import pairwise

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.reasons import Reason, Untrusted

ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
END_OF_IMAGE = b"\xff\xd9"
"""Of JPEG, JPEG-LS (EOI) and JPEG 2000 (EOC) alike."""
Part = tuple[int, int]
"""Begin and end of a fragment's value."""


def frames_of(data: memoryview, count: int, attributes: Attributes) -> list[list[Part]]:
    """The fragments of each of `count` frames in `data`, the value of Pixel Data.

    Raises Untrusted where fragments leave the data, or cannot be told apart into that many frames.
    """
    table, parts = _fragments(data)
    extended = _extended(attributes, data, parts, count)
    if extended:
        return extended
    if count == 1:
        return [parts]
    if len(parts) == count:
        return [[part] for part in parts]
    if len(parts) < count:
        raise Untrusted(Reason.TRUNCATED, f"It has {count} frames and {len(parts)} fragments.")
    offsets = _offsets(table, parts)
    frames = _by_offset(parts, offsets) if offsets else _by_end(data, parts)
    if len(frames) != count:
        raise Untrusted(Reason.DECODE_FAILED, f"{len(parts)} fragments make {len(frames)} frames; its header says {count}.")
    return frames


def _fragments(data: memoryview) -> tuple[memoryview, list[Part]]:
    """The basic offset table and the fragments after it; a missing sequence delimiter at the end is overlooked."""
    parts: list[Part] = []
    at = 0
    while at + 8 <= len(data):
        tag = bytes(data[at : at + 4])
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8
        if tag == SEQUENCE_END:
            break
        if tag != ITEM:
            raise Untrusted(Reason.DECODE_FAILED, f"Byte {at - 8} of its compressed pixels begins no fragment.")
        if length > len(data) - at:
            raise Untrusted(Reason.TRUNCATED, f"A fragment of {length} bytes has {len(data) - at} left.")
        parts.append((at, at + length))
        at += length
    if len(parts) < 2:
        raise Untrusted(Reason.TRUNCATED, "Its compressed pixels have no fragment.")
    (begin, end), *rest = parts
    return data[begin:end], rest


def _offsets(table: memoryview, parts: list[Part]) -> list[int]:
    """The basic offset table, if it is one: ascending, and each entry the place of a fragment's item."""
    if not table or len(table) % 4:
        return []
    offsets = list(struct.unpack(f"<{len(table) // 4}I", table))
    places = {begin - parts[0][0] for begin, _ in parts}
    ascending = all(low < high for low, high in pairwise(offsets))
    return offsets if offsets[0] == 0 and ascending and places.issuperset(offsets) else []


def _by_offset(parts: list[Part], offsets: list[int]) -> list[list[Part]]:
    frames: list[list[Part]] = []
    starts = set(offsets)
    for part in parts:
        if part[0] - parts[0][0] in starts:
            frames.append([])
        frames[-1].append(part)
    return frames


def _by_end(data: memoryview, parts: list[Part]) -> list[list[Part]]:
    """Without a table: a frame ends with the fragment in whose last bytes its codestream ends."""
    frames: list[list[Part]] = [[]]
    for begin, end in parts:
        frames[-1].append((begin, end))
        if END_OF_IMAGE in bytes(data[max(begin, end - 10) : end]):
            frames.append([])
    return frames if frames[-1] else frames[:-1]


def _extended(attributes: Attributes, data: memoryview, parts: list[Part], count: int) -> list[list[Part]]:
    """By the extended offset table (PS3.3 C.7.6.3.1.8): one fragment a frame, of the length told, padding left out."""
    offsets, lengths = attributes.numbers(tags.EXTENDED_OFFSETS), attributes.numbers(tags.EXTENDED_LENGTHS)
    if len(offsets) != count or len(lengths) != count:
        return []
    first = parts[0][0]
    ends = {begin - first: end for begin, end in parts}
    frames = []
    for offset, length in zip(map(int, offsets), map(int, lengths), strict=True):
        if offset not in ends or first + offset + length > ends[offset]:
            raise Untrusted(Reason.DECODE_FAILED, "Its extended offset table does not fit its fragments.")
        frames.append([(first + offset, first + offset + length)])
    return frames
