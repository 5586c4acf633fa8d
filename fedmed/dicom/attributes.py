"""Values of data elements as numbers and text, refused by tag where they are none (PS3.5 section 6.2)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.walking import Elements

CHARACTER_SET = 0x00080005
BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "OV": "Q", "UV": "Q", "SV": "q", "OW": "H"}
BINARY |= {"OL": "I", "OF": "f", "OD": "d"}
MAX_DIGITS = 64


@dataclass(frozen=True)
class Attributes:
    """Elements of one data set or item with the byte order of their numbers."""

    elements: Elements
    big_endian: bool = False

    def __contains__(self, tag: int) -> bool:
        return tag in self.elements

    def items(self, tag: int) -> list[Attributes]:
        """Items of a sequence; none where it is absent."""
        found = self.elements.get(tag)
        return [Attributes(item, self.big_endian) for item in found[2]] if found else []

    def first(self, tag: int) -> Attributes:
        """The first item of a sequence, empty where there is none."""
        found = self.elements.get(tag)
        return Attributes(found[2][0] if found and found[2] else {}, self.big_endian)

    def raw(self, tag: int) -> bytes:
        """The bytes as they stand in the file; empty where there are none."""
        found = self.elements.get(tag)
        return found[1] if found else b""

    def text(self, tag: int) -> str:
        """Without padding; empty where it is absent. Characters as Specific Character Set says."""
        value = self.raw(tag).strip(b"\0 ")
        return value.decode("ascii") if value.isascii() else _decoded(value, self.raw(CHARACTER_SET))

    def texts(self, tag: int) -> tuple[str, ...]:
        """The values of a text that holds several."""
        text = self.text(tag)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Finite numbers, of binary or decimal form; Untrusted for what is none."""
        found = self.elements.get(tag)
        if not found or not found[1]:
            return ()
        vr, value, _ = found
        code = BINARY.get(vr)
        try:
            values = _decimal(value) if code is None else _binary(value, code, self.big_endian)
        except ValueError as error:
            raise _bad(tag, value) from error
        if not all(map(math.isfinite, values)):
            raise _bad(tag, value)
        return values

    def number(self, tag: int) -> float | None:
        """The first of `numbers`."""
        values = self.numbers(tag)
        return values[0] if values else None

    def integer(self, tag: int) -> int | None:
        """A whole number; Untrusted for any other."""
        value = self.number(tag)
        if value is None:
            return None
        if value != int(value):
            raise _bad(tag, self.raw(tag))
        return int(value)


def _decimal(value: bytes) -> tuple[float, ...]:
    """DS or IS; float() would take `1_0` and digits of other scripts as well."""
    text = value.strip(b"\0 ")
    if not text:
        return ()
    parts = text.split(b"\\")
    if b"_" in text or not text.isascii() or max(map(len, parts)) > MAX_DIGITS:
        raise ValueError("no decimal string")
    return tuple([float(part) for part in parts])


def _binary(value: bytes, code: str, big_endian: bool) -> tuple[float, ...]:
    count, rest = divmod(len(value), struct.calcsize("=" + code))
    if rest:
        raise ValueError("a number is cut off")
    return struct.unpack(f"{'>' if big_endian else '<'}{count}{code}", value)


def _bad(tag: int, value: bytes) -> Untrusted:
    """Shows what belongs into a number and hides the rest: a name may have come into the wrong place."""
    shown = "".join(chr(code) if chr(code) in "0123456789+-.\\ " else "?" for code in value[:24].strip(b"\0 "))
    return Untrusted(Reason.BAD_ATTRIBUTE, f"Attribute {tag:08X} is {shown!r}, which cannot be its value.")


def _decoded(value: bytes, character_set: bytes) -> str:
    """Text beyond ASCII, by pydicom, which knows the code extensions of PS3.5 section 6.1."""
    import warnings

    from pydicom.charset import convert_encodings, decode_bytes, python_encoding

    names = [name.strip() for name in character_set.decode("ascii", "replace").strip("\0 ").split("\\")]
    escaped = value.decode("ascii", "backslashreplace")
    if not set(names) <= python_encoding.keys():
        return escaped  # pydicom would look among all codecs of Python, some of which take any time or raise anything
    with warnings.catch_warnings():
        # It remarks on sets that do not go together and decodes as best it can; the text is shown and joined on, no more.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return str(decode_bytes(value, convert_encodings(names), set()))
        except (LookupError, ValueError):
            return escaped
