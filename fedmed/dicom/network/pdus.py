"""Protocol data units of the upper layer: cut from a stream, read and written (PS3.8 section 9.3).

Everything that is read here comes from a stranger: each length is checked against what encloses it before it is believed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fedmed.dicom.implementation import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from fedmed.errors import DataError

REQUEST, ACCEPT, REJECT, DATA, RELEASE, RELEASED, ABORT = range(1, 8)
"""PDU types, PS3.8 tables 9-11 to 9-26."""
HEAD = struct.Struct(">BxI")
ITEM = struct.Struct(">BxH")
MOST_REQUEST = 256 * 2**10
"""Bytes of an association request: 128 contexts with thirty transfer syntaxes each are 100 KiB."""
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
UNSPECIFIED, UNKNOWN_PDU, UNEXPECTED_PDU, INVALID_VALUE = 0, 1, 2, 6
"""Reasons of an abort by the provider, PS3.8 table 9-26."""
UID = re.compile(r"[0-9.]{1,64}")


class Broken(DataError):
    """What a peer sends is no DICOM association; `reason` is that of the A-ABORT which answers it."""

    def __init__(self, reason: int, detail: str) -> None:
        super().__init__(f"{detail}; the association is aborted, the other system must be set right")
        self.reason = reason


class Inbox:
    """Whole PDUs out of a stream that comes in pieces of any size; holds two PDUs at most."""

    def __init__(self, most: int) -> None:
        """`most`: bytes of a data PDU after its head, as told to the peer."""
        self._most = most
        self._buffer = bytearray(2 * (max(most, MOST_REQUEST) + HEAD.size))
        self._start = self._end = 0

    @property
    def holds(self) -> int:
        """Bytes of a PDU that has come in part."""
        return self._end - self._start

    def room(self) -> memoryview:
        """Where the next bytes go."""
        return memoryview(self._buffer)[self._end :]

    def took(self, count: int) -> Iterator[tuple[int, memoryview]]:
        """After `count` more bytes: type and body of each PDU that is whole now; a body is good until the next.

        Raises Broken for a type that is none and for a length that is not allowed, before the body has come.
        """
        self._end += count
        view = memoryview(self._buffer)
        while self._end - self._start >= HEAD.size:
            kind, length = HEAD.unpack_from(self._buffer, self._start)
            self._check(kind, length)
            begin = self._start + HEAD.size
            if self._end - begin < length:
                break
            self._start = begin + length
            yield kind, view[begin : self._start]
        left = self._end - self._start
        self._buffer[:left] = view[self._start : self._end]
        self._start, self._end = 0, left

    def _check(self, kind: int, length: int) -> None:
        if not REQUEST <= kind <= ABORT:
            raise Broken(UNKNOWN_PDU, f"a PDU of type {kind:02X}; known are 01 to 07 (PS3.8 section 9.3)")
        most = self._most if kind == DATA else MOST_REQUEST if kind == REQUEST else 4
        if kind in (REQUEST, DATA, RELEASE, ABORT) and length > most:
            raise Broken(INVALID_VALUE, f"a PDU of type {kind:02X} with {length} bytes; at most {most} are taken")
        if kind in (ACCEPT, REJECT, RELEASED):
            raise Broken(UNEXPECTED_PDU, f"a PDU of type {kind:02X}, which only answers; nothing was asked")


@dataclass(frozen=True)
class Context:
    """A presentation context as proposed (PS3.8 table 9-13)."""

    number: int
    abstract: str
    """SOP class."""
    transfers: tuple[str, ...]
    """Transfer syntaxes, the proposer's favourite first."""


@dataclass(frozen=True)
class Request:
    """An A-ASSOCIATE-RQ (PS3.8 section 9.3.2)."""

    version: int
    titles: bytes
    """Both AE titles as they stood there, 32 bytes: an answer repeats them."""
    called: str
    calling: str
    application: str
    contexts: tuple[Context, ...]


def read_request(body: memoryview) -> Request:
    """Raises Broken for what is none."""
    data = bytes(body)
    if len(data) < 68:
        raise Broken(INVALID_VALUE, f"an association request of {len(data)} bytes; the shortest has 68")
    contexts: dict[int, Context] = {}
    application = ""
    for kind, value in _items(data, 68):
        if kind == 0x10:
            application = _uid(value)
        elif kind == 0x20:
            found = _context(value)
            if found.number % 2 == 0 or found.number in contexts:
                raise Broken(INVALID_VALUE, f"presentation context {found.number}; they are odd and each stands there once")
            contexts[found.number] = found
    called, calling = (data[at : at + 16].decode("ascii", "replace").strip(" \0") for at in (4, 20))
    version = int.from_bytes(data[:2], "big")
    return Request(version, data[4:36], called, calling, application, tuple(contexts.values()))


def _context(value: bytes) -> Context:
    if len(value) < 4:
        raise Broken(INVALID_VALUE, "a presentation context without a number")
    parts = list(_items(value, 4))
    abstract = [_uid(part) for kind, part in parts if kind == 0x30]
    if len(abstract) != 1:
        raise Broken(INVALID_VALUE, f"a presentation context with {len(abstract)} abstract syntaxes; it has one")
    return Context(value[0], abstract[0], tuple(_uid(part) for kind, part in parts if kind == 0x40))


def _items(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at < len(data):
        if len(data) - at < ITEM.size:
            raise Broken(INVALID_VALUE, "an association request that ends within an item")
        kind, length = ITEM.unpack_from(data, at)
        at += ITEM.size
        if length > len(data) - at:
            raise Broken(INVALID_VALUE, f"an item of {length} bytes where {len(data) - at} are left")
        yield kind, data[at : at + length]
        at += length


def _uid(value: bytes) -> str:
    """Some writers pad with a zero or a space; nothing else is forgiven."""
    text = value.rstrip(b"\0 ").decode("ascii", "replace")
    if not UID.fullmatch(text):
        raise Broken(INVALID_VALUE, "an item where a UID must stand and none does")
    return text


def _item(kind: int, value: bytes) -> bytes:
    return ITEM.pack(kind, len(value)) + value


def _pdu(kind: int, body: bytes) -> bytes:
    return HEAD.pack(kind, len(body)) + body


def accept(request: Request, chosen: Mapping[int, str | int], pdu_bytes: int) -> bytes:
    """An A-ASSOCIATE-AC (PS3.8 section 9.3.3).

    `chosen` gives of each context the transfer syntax, or the reason why not (table 9-18: 3 abstract, 4 transfer syntaxes).
    """
    items = [_item(0x10, APPLICATION_CONTEXT.encode())]
    for context in request.contexts:
        answer = chosen[context.number]
        result, transfer = (0, answer) if isinstance(answer, str) else (answer, "1.2.840.10008.1.2")
        items.append(_item(0x21, bytes((context.number, 0, result, 0)) + _item(0x40, transfer.encode())))
    own = _item(0x51, struct.pack(">I", pdu_bytes))
    own += _item(0x52, IMPLEMENTATION_UID.encode()) + _item(0x55, IMPLEMENTATION_NAME.encode())
    items.append(_item(0x50, own))
    return _pdu(ACCEPT, struct.pack(">HH", 1, 0) + request.titles + bytes(32) + b"".join(items))


def reject(result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return _pdu(REJECT, bytes((0, result, source, reason)))


def abort(reason: int) -> bytes:
    """An A-ABORT by the provider (PS3.8 table 9-26)."""
    return _pdu(ABORT, bytes((0, 0, 2, reason)))


def released() -> bytes:
    """An A-RELEASE-RP (PS3.8 section 9.3.7)."""
    return _pdu(RELEASED, bytes(4))


def command_pdu(context: int, command: bytes) -> bytes:
    """A P-DATA-TF that holds one whole command (PS3.8 section 9.3.5, annex E.2)."""
    return _pdu(DATA, struct.pack(">IBB", len(command) + 2, context, 3) + command)


def fragments(body: memoryview) -> Iterator[tuple[int, bool, bool, memoryview]]:
    """Of a P-DATA-TF: context, whether it is of a command, whether it is the last, bytes (PS3.8 annex E.2)."""
    at = 0
    while at < len(body):
        if len(body) - at < 6:
            raise Broken(INVALID_VALUE, "a data PDU that ends within the head of a value")
        length, context, control = struct.unpack_from(">IBB", body, at)
        end = at + 4 + length
        if length < 2 or end > len(body):
            raise Broken(INVALID_VALUE, f"a value of {length} bytes where {len(body) - at - 4} are left")
        yield context, bool(control & 1), bool(control & 2), body[at + 6 : end]
        at = end
