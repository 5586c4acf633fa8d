"""Named bytes one after another: what our own calls carry, and what an answer on a clinic's disk is."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from fedmed.errors import ProtocolRefused

_SIZES = struct.Struct(">II")  # bytes of a name and of what it names
MOST_NAME = 64
"""A SHA-256 in hexadecimal."""


def pieces(items: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """A bundle in pieces, so that nobody needs it whole."""
    for name, content in items:
        yield _SIZES.pack(len(name), len(content)) + name.encode("ascii")
        yield content


def bundle(items: Iterable[tuple[str, bytes]]) -> bytes:
    """A bundle in one."""
    return b"".join(pieces(items))


def unbundle(said: bytes) -> list[tuple[str, bytes]]:
    """What is in a bundle, in its order. Raises ProtocolRefused for bytes that are none."""
    found, place = list[tuple[str, bytes]](), 0
    while place < len(said):
        if len(said) - place < _SIZES.size:
            raise ProtocolRefused("a bundle that ends within a size; it was cut or changed")
        name, content = _SIZES.unpack_from(said, place)
        start = place + _SIZES.size + name
        place = start + content
        spelled = said[start - name : start]
        if name > MOST_NAME or place > len(said) or not spelled.isascii():
            raise ProtocolRefused("a bundle whose sizes or names are none; it was cut or changed")
        found.append((spelled.decode("ascii"), said[start:place]))
    return found
