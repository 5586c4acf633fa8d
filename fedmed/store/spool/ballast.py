"""Room on the disk that is taken in good time and let go when the disk is full.

To take work out of a database a little has to be written; on a disk that others filled to the last byte that would fail, and
with it the very thing that makes room.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

NAME = "ballast"


class Ballast:
    """One file that holds nothing."""

    def __init__(self, folder: Path, size: int) -> None:
        self._path, self.size = folder / NAME, size

    def take(self) -> bool:
        """Take the room where it is not taken and there is as much again; whether it is taken now."""
        try:
            there = self._path.stat().st_size if self._path.exists() else 0
            if there == self.size or shutil.disk_usage(self._path.parent).free < 2 * self.size:
                return there > 0
            self._path.unlink(missing_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, self.size)
            finally:
                os.close(handle)
        except OSError:  # no room for it, or a disk that cannot: the spool works without, until the disk is full
            self.let_go()
            return False
        return True

    def let_go(self) -> bool:
        """Give the room back; whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
