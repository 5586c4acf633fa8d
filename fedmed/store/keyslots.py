"""The one small file of a keystore that tells which other files count, and holds their keys.

Each record (state, message) lies in a file of its own, sealed with a random key of its own. Its name, key and size are in
the header; the header is sealed with the keystore's key and lies twice in the file `keys`, in two slots of a block each. A
new header is written over one slot, synced, then over the other, synced: whatever moment a crash comes, one slot is whole,
and once both are written no key of an older record is in any file. The first slot's sync is the moment a commit is made.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.privacy.sealing import HEADER, TAG, SealBroken, seal, unsealed
from fedmed.store.disk import Disk

BLOCK = 4096
"""Bytes between the slots: a torn write of one never touches the other."""
SIZE = 2 * BLOCK
NAME = "keys"
ID, RECORD_KEY = 16, 32
NONE = -1
_RECORD = struct.Struct(f">?{ID}s{RECORD_KEY}sQ")
_HEAD = struct.Struct(f">{ID}sQdqq")
_SEALED = HEADER + _HEAD.size + 2 * _RECORD.size + TAG
_BOUND = "keystore header 1"


@dataclass(frozen=True)
class Record:
    """A sealed file: its name (16 random bytes, never used again), the key that opens it, and its bytes in all."""

    name: bytes
    key: bytes = field(repr=False)
    size: int


@dataclass(frozen=True)
class Header:
    """What a keystore holds at one moment."""

    keystore: bytes
    """16 random bytes that this keystore is told by."""
    generation: int
    """Counts what was ever written."""
    unix: float
    """When it was written, seconds since 1970."""
    last: int = NONE
    """The highest round that was committed or erased."""
    state: Record | None = None
    number: int = NONE
    """The round of the message."""
    message: Record | None = None


def read(path: Path, key: bytes) -> tuple[Header, int]:
    """The newest whole header and the slot (0 or 1) that it is in.

    Raises StoreError where the file is not there or neither slot can be opened with this key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SIZE + 1)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); mend the disk, or see what took it away") from error
    found = []
    for slot in range(2) if len(content) == SIZE else ():
        try:
            opened = b"".join(unsealed(key, _BOUND, BytesIO(content[slot * BLOCK :][:_SEALED])))
        except SealBroken:
            continue  # half written when the machine stopped, or damaged: the other slot has to do
        found.append((_decoded(opened), slot))
    if not found:
        raise StoreError(
            f"{path} cannot be opened: it is damaged, or this is not the key it was made with. Name the right key; where it "
            "is lost, begin again with an empty keystore and join at the next epoch"
        )
    return max(found, key=lambda each: each[0].generation)


def write(disk: Disk, path: Path, key: bytes, header: Header, first: int) -> None:
    """Write the header over both slots, beginning with `first`. Raises OSError."""
    handle = disk.reopen(path)
    try:
        for slot in (first, 1 - first):
            disk.write(handle, _sealed(key, header), slot * BLOCK)
            disk.sync(handle)
    finally:
        disk.close(handle)


def content(key: bytes, header: Header) -> bytes:
    """A whole file with this header in both slots."""
    return _sealed(key, header) * 2


def _sealed(key: bytes, header: Header) -> bytes:
    target = BytesIO()
    head = _HEAD.pack(header.keystore, header.generation, header.unix, header.last, header.number)
    seal(key, _BOUND, BytesIO(head + _encoded(header.state) + _encoded(header.message)), target)
    return target.getvalue().ljust(BLOCK, b"\0")


def _encoded(record: Record | None) -> bytes:
    if record is None:
        return bytes(_RECORD.size)
    return _RECORD.pack(True, record.name, record.key, record.size)


def _decoded(opened: bytes) -> Header:
    keystore, generation, unix, last, number = _HEAD.unpack_from(opened)
    state, message = (_record(opened, _HEAD.size + place * _RECORD.size) for place in range(2))
    return Header(keystore, generation, unix, last, state, number, message)


def _record(opened: bytes, offset: int) -> Record | None:
    there, name, key, size = _RECORD.unpack_from(opened, offset)
    return Record(name, key, size) if there else None
