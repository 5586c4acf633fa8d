"""Colours of PALETTE COLOR images (PS3.3 C.7.6.3.1.5, C.7.9)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom import tags
from fedmed.dicom.instance import Instance
from fedmed.dicom.luts import Table, Values, described, entries_of
from fedmed.dicom.reasons import Reason, Untrusted


def palette_colours(instance: Instance, stored: Values) -> NDArray[np.unsignedinteger]:
    """Stored values of a PALETTE COLOR image -> `(..., 3)` uint8 or uint16 (PS3.3 C.7.6.3.1.5, C.7.9)."""
    tables = [_palette(instance, colour) for colour in range(3)]
    return np.stack([table(stored) for table in tables], axis=-1)


def _palette(instance: Instance, colour: int) -> Table:
    attributes = instance.attributes
    count, first, bits = described(attributes, tags.PALETTES[colour], instance.header.signed)
    if tags.PALETTE_DATA[colour] in attributes:
        return Table(first, entries_of(attributes, tags.PALETTE_DATA[colour], count), bits)
    tag = tags.SEGMENTED_DATA[colour]
    words = _words(attributes.raw(tag), bits, attributes.big_endian)
    entries = _expanded(words, count, bits)
    return Table(first, np.array(entries, np.uint8 if bits <= 8 else np.uint16), bits)


def _words(data: bytes, bits: int, big_endian: bool) -> list[int]:
    kind = "u1" if bits <= 8 else ">u2" if big_endian else "<u2"
    values: list[int] = np.frombuffer(data[: len(data) // int(kind[-1]) * int(kind[-1])], kind).tolist()
    return values


def _expanded(words: list[int], count: int, bits: int) -> list[int]:
    """Segmented palette (PS3.3 C.7.9.2): runs, straight lines, and earlier segments once more, to `count` entries."""
    damaged = Untrusted(Reason.BAD_ATTRIBUTE, f"Its segmented palette does not make {count} entries.")
    per_word = 4 if bits <= 8 else 2  # an offset is two words of 16 bits
    entries: list[int] = []
    queue = [(0, math.inf)]  # where to read, and how many segments
    while queue and len(entries) < count:
        at, left = queue.pop()
        if left < 1 or at + 1 >= len(words):
            continue
        code, length, body = words[at], words[at + 1], words[at + 2 : at + 2 + per_word]
        if code == 0 and length:
            entries += words[at + 2 : at + 2 + length]
            following = at + 2 + length
        elif code == 1 and length and entries and body:
            entries += np.rint(np.linspace(entries[-1], body[0], length + 1)[1:]).astype(int).tolist()
            following = at + 3
        elif code == 2 and length and len(body) == per_word and left == math.inf:
            following = at + 2 + per_word
        else:
            raise damaged
        queue.append((following, left - 1))
        if code == 2:
            offset = int.from_bytes(bytes(body), "little") if bits <= 8 else body[0] | body[1] << 16
            queue.append((offset // (1 if bits <= 8 else 2), length))
    if len(entries) != count:
        raise damaged
    return entries
