"""The fields of a protobuf message, read without a schema's code: enough to look into an ONNX file before it is run.

Source: Protocol Buffers, "Encoding" (wire types 0, 1, 2 and 5; the groups, 3 and 4, are refused). A device that only runs
models has no `onnx` package, and a parser that accepts unknown fields would let through what it does not understand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fedmed.errors import PackageRefused

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_VARINT_BYTES = 10

Value = int | memoryview


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of every field, in the order in which they stand; fixed-width values as their bytes.

    Raises PackageRefused where the bytes are no message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = varint(data, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise PackageRefused(f"the model is no ONNX file: field {number} is of wire type {kind}, which is none")
        if number == 0 or size > end - at:
            raise PackageRefused(f"the model is damaged: field {number} of {size} bytes, {end - at} are left")
        yield number, data[at : at + size]
        at += size


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """An unsigned number in groups of seven bits, the lowest first, and where the next field begins."""
    value = 0
    for place in range(MOST_VARINT_BYTES):
        if at + place >= len(data):
            break
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & (1 << 64) - 1, at + place + 1
    raise PackageRefused("the model is damaged: a number does not end")


def numbers(value: Value) -> list[int]:
    """The signed numbers of a repeated field, packed or one alone."""
    if isinstance(value, int):
        return [signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = varint(value, at)
        found.append(signed(number))
    return found


def signed(value: int) -> int:
    """An int64 as protobuf writes it: two's complement of 64 bits."""
    return struct.unpack("<q", struct.pack("<Q", value))[0]  # type: ignore[no-any-return]


def message(value: Value) -> memoryview:
    """The bytes of a message or text. Raises PackageRefused where a number stands in its place."""
    if isinstance(value, int):
        raise PackageRefused("the model is damaged: a number stands where a text or a message has to")
    return value


def number(value: Value) -> int:
    """A number. Raises PackageRefused where something else stands in its place."""
    if not isinstance(value, int):
        raise PackageRefused("the model is damaged: a text stands where a number has to")
    return signed(value)


def text(value: Value) -> str:
    """A text. Raises PackageRefused where it is none."""
    try:
        return str(message(value), "utf-8")
    except UnicodeDecodeError as error:
        raise PackageRefused("the model is damaged: a name is not UTF-8") from error
