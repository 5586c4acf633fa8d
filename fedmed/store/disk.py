"""The calls that change a disk, each at one place: what order they come in decides what a crash can leave.

The keystore and the chains change files through these alone, so that a test can end the process at any of them, and can
forget what was not yet synced (tests/faults/test_keystore.py, tests/faults/test_audit.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from fedmed.store.syncing import sync_folder


class Disk:
    """The system's own calls. All raise OSError."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder that only its owner can enter, and those above it; their names are on the disk then."""
        for place in (*reversed(folder.parents), folder):
            if not place.exists():
                place.mkdir(exist_ok=True, mode=0o700)
                sync_folder(place.parent)

    def create(self, path: Path) -> int:
        """Open a new file, which only its owner can read, for writing; one that is there already is an error."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def reopen(self, path: Path) -> int:
        """Open a file to write over what it holds."""
        return os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, handle: int, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(handle, view, offset)
            view, offset = view[written:], offset + written

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file off after `size` bytes."""
        os.ftruncate(handle, size)

    def sync(self, handle: int) -> None:
        """Wait until the file's content is on the disk."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Close the file."""
        os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of the file that has it."""
        old.replace(new)

    def date(self, path: Path, unix: float) -> None:
        """Set the time (seconds since 1970) at which a file was last changed; it may be lost with the power."""
        os.utime(path, (unix, unix))

    def remove(self, path: Path) -> None:
        """Take a file's name away."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        sync_folder(folder)


class Sink:
    """A new file, written from its beginning on, that `sealing.seal` can write to."""

    def __init__(self, disk: Disk, handle: int) -> None:
        self._disk, self._handle, self._offset = disk, handle, 0

    def write(self, data: bytes, /) -> None:
        """Write all of `data` after what was written before."""
        self._disk.write(self._handle, data, self._offset)
        self._offset += len(data)


def write_file(disk: Disk, path: Path, fill: Callable[[Sink], None]) -> None:
    """A new file whose content is on the disk; its name is only after `sync_folder`. Raises OSError, and removes it then."""
    handle = disk.create(path)
    try:
        fill(Sink(disk, handle))
        disk.sync(handle)
    except OSError:
        path.unlink(missing_ok=True)  # a full disk gets its room back at once
        raise
    finally:
        disk.close(handle)


def replace_file(disk: Disk, path: Path, content: bytes) -> None:
    """Put a file with this content in place of the one there, if any: the old content whole, or the new. Raises OSError."""
    temporary = path.with_name(f".{path.name}")
    if temporary.exists():
        disk.remove(temporary)  # what a crash left
    write_file(disk, temporary, lambda sink: sink.write(content))
    disk.rename(temporary, path)
    disk.sync_folder(path.parent)
