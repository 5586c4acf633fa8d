"""Large contents of a spool, a file each beside the database: SQLite would write each twice, into its log and out of it.

    contents/NUMBER     one content as the envelope closed it; the row that names it is its commit

Content and row are synced at once, in two threads, so that who waits for both waits as long as for one. A row whose content
is not known to be on the disk says so, and its content is looked at when the spool is opened. What no row names was never
acknowledged, or is finished with, and goes then. Names are made ahead: several share one sync of the folder.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Container
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fedmed.store.disk import Disk, Sink
from fedmed.store.spool.entry import MOST_CONTENT

FOLDER = "contents"
APART = 256 << 10
"""Bytes from which on a content has a file of its own; below, a second sync costs more than a second writing."""
AHEAD, THREADS = 32, 8
MOST_FILE = MOST_CONTENT + (MOST_CONTENT >> 10)
"""Bytes of a file, what sealing adds included."""


class Contents:
    """The files. Any number of threads may use it; methods raise OSError."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        """`folder`: that of the spool."""
        self.folder = folder / FOLDER
        self._disk, self._lock = disk or Disk(), threading.Lock()
        self._ready, self._next = list[int](), 1
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="spool-sync")
        self._syncing = dict[int, Future[None]]()

    def names(self) -> dict[int, int]:
        """Of all files that are there, with their bytes."""
        found = dict[int, int]()
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.isdecimal():
                    found[int(entry.name)] = entry.stat(follow_symlinks=False).st_size
        return found

    def begin(self, named: Container[int]) -> None:
        """Remove what no row names, and go on with new names behind those that are there."""
        names = self.names()
        self._next = max(names, default=0) + 1
        self.remove(*(name for name in names if name not in named))

    def keep(self, fill: Callable[[Sink], None]) -> int:
        """The name under which what `fill` writes can be read now; it is on the disk once `wait` has returned."""
        name = self._name()
        handle = self._disk.reopen(self._path(name))
        try:
            fill(Sink(self._disk, handle))
        except OSError:
            self._disk.close(handle)
            self.remove(name)  # a full disk gets its room back at once
            raise
        self._syncing[name] = self._pool.submit(self._sync, name, handle)
        return name

    def wait(self, name: int) -> None:
        """Until a content is on the disk. Raises OSError where it could not be written; the file is gone then."""
        if (syncing := self._syncing.get(name)) is not None:
            syncing.result()
            self._syncing.pop(name, None)  # one that failed stays, for whoever asks later

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()

    def _sync(self, name: int, handle: int) -> None:
        try:
            self._disk.sync(handle)
        except OSError:
            self.remove(name)
            raise
        finally:
            self._disk.close(handle)

    def read(self, name: int) -> bytes:
        """A content as it lies there; raises FileNotFoundError where there is none."""
        with self._path(name).open("rb", buffering=0) as file:
            size = min(os.fstat(file.fileno()).st_size, MOST_FILE)
            return file.read(size)

    def remove(self, *names: int) -> None:
        """Take files away; what cannot be taken away now goes when the spool is opened."""
        for name in names:
            with suppress(OSError):
                self._disk.remove(self._path(name))

    def set_aside(self, name: int, folder: Path) -> None:
        """Move a file to another folder of this disk."""
        self._disk.rename(self._path(name), folder / str(name))

    def _path(self, name: int) -> Path:
        return self.folder / str(name)

    def _name(self) -> int:
        """Of an empty file whose name is on the disk."""
        with self._lock:
            if not self._ready:
                self._disk.make_folder(self.folder)
                self._ready = self._made()[::-1]
            return self._ready.pop()

    def _made(self) -> list[int]:
        """Names made ahead, on the disk; a single one where there is no room for more, which others have a use for."""
        made = list[int]()
        try:
            for _ in range(AHEAD):
                self._disk.close(self._disk.create(self._path(self._next)))
                made.append(self._next)
                self._next += 1
        except OSError:
            self.remove(*made[1:])
            if not made:
                raise
        try:
            self._disk.sync_folder(self.folder)
        except OSError:
            self.remove(*made)
            raise
        return made[:1] if len(made) < AHEAD else made
