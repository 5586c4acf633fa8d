"""A message between two processes that do not trust each other: one file in memory, sealed by who made it.

`8 octets little-endian: length of the head | head | zeros up to 64 | safetensors`. Once sealed, the kernel lets nobody
change, grow or shrink it, so that it can be judged and then read without a copy: what was checked is what is used, and no
page of it can be taken away (SIGBUS). Nothing is unpickled.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Iterator

from fedmed.errors import DataError, FederationError, UpdateRefused
from fedmed.wire import tensors as wire

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
MAX_HEAD = 16 * 2**20
"""Octets of a head, and of the table of tensors."""
LENGTH, START = 8, 64
BLOCK = 512
"""Octets that st_blocks counts by."""


def pieces(head: bytes, tensors: wire.Tensors) -> Iterator[bytes | memoryview]:
    """The file's content, one after another. Raises DataError for a dtype that does not travel."""
    padding = bytes(-(LENGTH + len(head)) % START)
    yield len(head).to_bytes(LENGTH, "little") + head + padding + wire.header_of(tensors)
    for value in tensors.values():
        yield wire.raw(value)


def seal(head: bytes, tensors: wire.Tensors) -> int:
    """The descriptor of a sealed file. Raises FederationError where there is no memory for it, DataError as `pieces`."""
    file = os.memfd_create("fedmed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for piece in pieces(head, tensors):
            left = memoryview(piece)
            while left:
                left = left[os.write(file, left) :]
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS | fcntl.F_SEAL_SEAL)
    except OSError as error:
        os.close(file)
        size = wire.size_of(tensors)
        raise FederationError(
            f"no memory for a message of {size} bytes ({error.strerror}); free some, or send less"
        ) from error
    except DataError:
        os.close(file)
        raise
    return file


def unseal(file: int, most: int) -> tuple[bytes, wire.Tensors]:
    """Head and tensors of a file that somebody else made; the tensors borrow its memory.

    Raises UpdateRefused where it is not sealed, larger than `most` octets or has holes, DataError for what is in it.
    """
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or _seals(file) & SEALS != SEALS:
        raise UpdateRefused("an answer that can still be changed: only sealed files in memory are read")
    if status.st_size > most:
        raise UpdateRefused(f"an answer of {status.st_size} bytes; {most} are allowed")
    if status.st_size < START or status.st_blocks * BLOCK < status.st_size:
        raise UpdateRefused(f"an answer of {status.st_size} bytes that are not all there")
    return opened(mmap.mmap(file, status.st_size, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE, prot=mmap.PROT_READ))


def opened(content: mmap.mmap | bytes) -> tuple[bytes, wire.Tensors]:
    """Head and tensors of a file's whole content. Raises UpdateRefused, DataError."""
    data = memoryview(content)
    length = int.from_bytes(data[:LENGTH], "little")
    start = LENGTH + length + -(LENGTH + length) % START
    if length > MAX_HEAD or start + LENGTH > len(data):
        raise UpdateRefused(f"an answer whose head has {length} bytes; {min(MAX_HEAD, len(data))} are allowed")
    if int.from_bytes(data[start : start + LENGTH], "little") > MAX_HEAD:
        raise UpdateRefused(f"an answer whose table of tensors is longer than the {MAX_HEAD} bytes that are allowed")
    return bytes(data[LENGTH : LENGTH + length]), wire.view(data[start:], "the answer")


def _seals(file: int) -> int:
    try:
        return fcntl.fcntl(file, fcntl.F_GET_SEALS)
    except OSError:  # a file of a kind that has none
        return 0
