"""Commands and their answers (PS3.7 sections 6.3 and 9.3): implicit little endian elements of group 0000."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from fedmed.dicom.network.pdus import INVALID_VALUE, UID, Broken

STORE, ECHO, CANCEL, ANSWER = 0x0001, 0x0030, 0x0FFF, 0x8000
NO_DATA = 0x0101
MOST_COMMAND = 16 * 2**10
"""Bytes; those of a C-STORE are under 400."""
ELEMENT = struct.Struct("<HHI")
SOP_CLASS, FIELD, MESSAGE, ANSWERED, DATA_SET, STATUS, COMMENT, INSTANCE = (
    2,
    0x100,
    0x110,
    0x120,
    0x800,
    0x900,
    0x902,
    0x1000,
)


class Outcome(IntEnum):
    """Statuses of C-STORE (PS3.4 table B.2-1, PS3.7 annex C)."""

    SUCCESS = 0x0000
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    UNRECOGNISED_OPERATION = 0x0211
    OUT_OF_RESOURCES = 0xA700
    """Tried again later, it may go."""
    NOT_AS_ANNOUNCED = 0xA900
    """The data set is not of the SOP class or instance that the command names."""
    NOT_UNDERSTOOD = 0xC000
    NO_SUCH_SYNTAX = 0xC122
    """The transfer syntax is not supported (PS3.18 table I.2-2); an association never gets so far."""


@dataclass(frozen=True)
class Command:
    """What a request asks."""

    field: int
    message: int
    has_data: bool
    sop_class: str = ""
    instance: str = ""


def read_command(data: bytes) -> Command:
    """Raises Broken for what is no command set."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if len(data) - at < ELEMENT.size:
            raise Broken(INVALID_VALUE, "a command that ends within an element")
        group, element, length = ELEMENT.unpack_from(data, at)
        at += ELEMENT.size
        if group != 0 or length > len(data) - at:
            raise Broken(INVALID_VALUE, f"a command with an element of group {group:04X} and {length} bytes")
        found[element] = data[at : at + length]
        at += length
    field = _number(found, FIELD)
    message = _number(found, ANSWERED if field == CANCEL or field & ANSWER else MESSAGE)
    has_data = _number(found, DATA_SET) != NO_DATA
    return Command(field, message, has_data, _uid(found, SOP_CLASS), _uid(found, INSTANCE))


def _number(found: dict[int, bytes], element: int) -> int:
    value = found.get(element, b"")
    if len(value) != 2:
        raise Broken(INVALID_VALUE, f"a command whose element (0000,{element:04X}) has {len(value)} bytes; it has two")
    return int.from_bytes(value, "little")


def _uid(found: dict[int, bytes], element: int) -> str:
    text = found.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")
    if text and not UID.fullmatch(text):
        raise Broken(INVALID_VALUE, f"a command whose element (0000,{element:04X}) is no UID")
    return text


def write_answer(command: Command, status: int, comment: str = "") -> bytes:
    """The answer to `command`; of `comment` the first 64 characters, ASCII."""
    elements = [
        (SOP_CLASS, _even(command.sop_class, b"\0")),
        (FIELD, struct.pack("<H", command.field | ANSWER)),
        (ANSWERED, struct.pack("<H", command.message)),
        (DATA_SET, struct.pack("<H", NO_DATA)),
        (STATUS, struct.pack("<H", status)),
        (COMMENT, _even(comment[:64].replace("\\", "/"), b" ")),
        (INSTANCE, _even(command.instance, b"\0")),
    ]
    body = b"".join(ELEMENT.pack(0, element, len(value)) + value for element, value in elements if value)
    return ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def _even(text: str, padding: bytes) -> bytes:
    data = text.encode("ascii", "replace")
    return data + padding * (len(data) % 2)
