"""One finished set of tensors as a file: a head with its key and digest, then safetensors, read by mapping.

0   8  magic            40  32  SHA-256 of all that follows the head
8  32  key              72   8  bytes that follow the head, little-endian
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import BinaryIO

from fedmed.errors import DataError, StoreError
from fedmed.wire import tensors as wire

MAGIC, HEAD = b"fedmed\x00\x01", 80


def write(tensors: wire.Tensors, key: str, file: BinaryIO) -> int:
    """Write an entry to an empty file; returns its bytes. Raises DataError for a dtype that is not carried."""
    file.seek(HEAD)
    sha256 = wire.write(tensors, file)
    size = file.tell() - HEAD
    file.seek(0)
    file.write(MAGIC + bytes.fromhex(key) + bytes.fromhex(sha256) + size.to_bytes(8, "little"))
    file.flush()
    return HEAD + size


def read(path: Path, key: str) -> wire.Tensors:
    """The entry's tensors, read-only views of the mapped file, every byte checked first.

    The views stay good when the file is unlinked: POSIX keeps a mapped file's bytes until the last mapping is gone.
    Raises FileNotFoundError where there is no entry, StoreError where a byte of it is not what was written.
    """
    with path.open("rb") as file:
        try:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError as error:  # an empty file
            raise StoreError(f"{path} is empty") from error
    body = mapped[HEAD:]
    if mapped[:8] != MAGIC or mapped[8:40] != bytes.fromhex(key):
        raise StoreError(f"{path} is not the entry that its name says")
    if len(body) != int.from_bytes(mapped[72:HEAD], "little") or hashlib.sha256(body).digest() != mapped[40:72]:
        raise StoreError(f"{path} does not have the digest it was written with")
    try:
        return wire.view(body, str(path))
    except DataError as error:
        raise StoreError(str(error)) from error
