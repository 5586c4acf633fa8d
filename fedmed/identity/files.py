"""Small files that trust hangs on: made once, replaced whole, and read only where nobody else could touch them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from fedmed.errors import StoreError

OTHERS_READ_OR_CHANGE, OTHERS_CHANGE = 0o077, 0o022
"""Bits of a file's mode that are refused: for secrets, and for what anybody may read."""


class KeyRefused(StoreError):
    """The key file is not there, not whole, or can be read by others."""


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_new(path: Path, content: bytes) -> None:
    """A new file, on the disk, that only its owner can read. Raises KeyRefused where one is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, [content], os.O_EXCL)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise KeyRefused(f"{path}: there is a file already, and a key is never written over; name another") from error
    except OSError as error:
        raise KeyRefused(f"{path}: the key cannot be written ({error.strerror})") from error


def replace(path: Path, content: bytes) -> None:
    """Write a file beside its place, sync it and rename it: the old content whole, or the new. Raises OSError."""
    fill(path, [content])


def fill(path: Path, pieces: Iterable[bytes | memoryview], mark: str = ".new") -> None:
    """As `replace`, with pieces one after another, each written before the next is asked for.

    `mark` ends the name that the file has until it is whole. Raises OSError, and what `pieces` raise.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}{mark}")
    try:
        _write(temporary, pieces, os.O_TRUNC)
        temporary.replace(path)
    finally:  # a half of it would stay in the way on a disk that is full
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write(path: Path, pieces: Iterable[bytes | memoryview], how: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, most: int, refused: int = OTHERS_READ_OR_CHANGE) -> bytes:
    """Up to `most` bytes of a file. Raises KeyRefused for a link, for what is no file, and where `refused` bits are set.

    Raises OSError where it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Of the opened file, not of the path: that may be another file by now.
        _refuse_open_file(path, os.fstat(handle).st_mode, refused)
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(handle)


def _refuse_open_file(path: Path, mode: int, refused: int) -> None:
    if not stat.S_ISREG(mode):
        raise KeyRefused(f"{path}: is no file")
    if mode & refused:
        does = "read or change" if refused == OTHERS_READ_OR_CHANGE else "change"
        raise KeyRefused(f"{path}: others can {does} it (mode {mode & 0o777:03o}); say `chmod 600 {path}`")
