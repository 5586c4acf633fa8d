"""Canonical bytes: big-endian numbers, lengths before texts, one way to write a value, nothing left over when read."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from fedmed.identity.member import joined
from fedmed.privacy.secagg.attacks import Attack, Refused

VERSION = 1
MAGIC = b"FMSA"
DIGEST_BYTES = 32


def sha256(*parts: bytes) -> bytes:
    """SHA-256 over length-prefixed parts, so that no two lists of parts have one digest."""
    return hashlib.sha256(joined(*parts)).digest()


class Writer:
    """Collects the bytes of one message."""

    def __init__(self, kind: int) -> None:
        self._parts = [MAGIC, bytes((VERSION, kind))]

    def number(self, value: int, size: int) -> Writer:
        """A whole number from 0 in `size` bytes."""
        self._parts.append(value.to_bytes(size, "big"))
        return self

    def real(self, value: float) -> Writer:
        """A float64."""
        self._parts.append(struct.pack(">d", value))
        return self

    def fixed(self, value: bytes) -> Writer:
        """Bytes whose length both sides know."""
        self._parts.append(value)
        return self

    def text(self, value: bytes) -> Writer:
        """Bytes with their length before them."""
        return self.number(len(value), 4).fixed(value)

    def bytes(self) -> bytes:
        """The whole message."""
        return b"".join(self._parts)


class Reader:
    """Takes the same bytes apart; whatever is not as written is refused."""

    def __init__(self, data: bytes, kind: int, most_bytes: int) -> None:
        """Raises Refused where it is no message of this kind and version, or longer than `most_bytes`."""
        if len(data) > most_bytes:
            raise malformed(f"got {len(data)} bytes, allowed: {most_bytes}")
        if data[:4] != MAGIC or data[4:6] != bytes((VERSION, kind)):
            raise malformed(f"it does not begin as version {VERSION} of message {kind}; update the older side")
        self._data, self._at = data, 6

    def fixed(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise malformed(f"it ends after {len(self._data)} bytes, {end} are needed")
        value, self._at = self._data[self._at : end], end
        return value

    def number(self, size: int, most: int) -> int:
        """A whole number of `size` bytes, at most `most`."""
        value = int.from_bytes(self.fixed(size), "big")
        if value > most:
            raise malformed(f"got the number {value}, allowed: {most} at most")
        return value

    def real(self) -> float:
        """A float64; whether it makes sense is for the caller to say."""
        return float(struct.unpack(">d", self.fixed(8))[0])

    def text(self, most: int) -> bytes:
        """Length-prefixed bytes, `most` of them at most."""
        start = self._at + 4
        size = int.from_bytes(self._data[self._at : start], "big")
        end = start + size
        if size > most or end > len(self._data):
            return self.fixed(self.number(4, most))  # which says what is wrong
        self._at = end
        return self._data[start:end]

    def end(self) -> None:
        """Raise Refused where something is left over."""
        if self._at != len(self._data):
            raise malformed(f"{len(self._data) - self._at} bytes are left over")


def bitmap(members: Iterable[int], count: int) -> bytes:
    """Members 1 to `count` as bits, member 1 in the highest bit of the first byte."""
    bits = bytearray(-(-count // 8))
    for member in members:
        bits[(member - 1) // 8] |= 0x80 >> (member - 1) % 8
    return bytes(bits)


def members_of(bits: bytes, count: int) -> tuple[int, ...]:
    """The members of a bitmap, ascending. Raises Refused for bits beyond `count`."""
    found = tuple(i + 1 for i in range(8 * len(bits)) if bits[i // 8] & 0x80 >> i % 8)
    if found and found[-1] > count:
        raise malformed(f"it names member {found[-1]} of {count}")
    return found


def malformed(what: str) -> Refused:
    """The refusal of bytes that no honest peer writes."""
    return Refused(Attack.MALFORMED, what)
