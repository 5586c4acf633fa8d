"""A disk that ends the process at one of its calls, and then has on it what a real one might: some of what was not synced.

What is there for sure are the contents of files as of their last sync, under the names as of the last sync of the folder.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from fedmed.store.disk import Disk

KEEPS = ("all", "synced", "names", "contents")
"""After a crash: all that was written; only what was synced; names as written, contents as synced; the other way round."""


class Crash(BaseException):
    """The process ends here; nothing of ours may catch it."""


class Power(Disk):
    """Counts calls; at call `fails_at` (0 is the first) it raises `fault` before the call, or in the midst of a write."""

    def __init__(self, *folders: Path, fails_at: int = -1, fault: type[BaseException] = Crash, torn: bool = False) -> None:
        self.calls, self._fails_at, self._fault, self._torn = 0, fails_at, fault, torn
        self._numbers = count()
        self._files: dict[Path, int] = {}  # by name as written
        self._synced_names: dict[Path, dict[str, int]] = {}
        self._synced: dict[int, bytes] = {}
        self._last: dict[int, bytes] = {}  # contents of files whose name is gone
        self._open: dict[int, Path] = {}
        self._dead = False
        for folder in folders:
            for path in folder.iterdir() if folder.is_dir() else ():
                self._files[path] = number = next(self._numbers)
                self._synced[number] = path.read_bytes()
            self._sync_names(folder)

    def _call(self) -> bool:
        """Whether the fault is now; raises where the process has ended already."""
        if self._dead:
            raise Crash
        self.calls += 1
        now = self.calls - 1 == self._fails_at
        self._dead = now and self._fault is Crash
        return now

    def _fail(self) -> None:
        raise OSError(28, "No space left on device") if self._fault is OSError else self._fault

    def create(self, path: Path) -> int:
        if self._call():
            self._fail()
        handle = super().create(path)
        self._files[path] = number = next(self._numbers)
        self._synced[number] = b""
        self._open[handle] = path
        return handle

    def reopen(self, path: Path) -> int:
        if self._call():
            self._fail()
        handle = super().reopen(path)
        self._open[handle] = path
        return handle

    def write(self, handle: int, data: bytes, offset: int) -> None:
        if self._call():
            if self._torn:
                super().write(handle, data[: len(data) // 40], offset)
            self._fail()
        super().write(handle, data, offset)

    def truncate(self, handle: int, size: int) -> None:
        if self._call():
            self._fail()
        super().truncate(handle, size)

    def sync(self, handle: int) -> None:
        if self._call():
            self._fail()
        path = self._open[handle]
        self._synced[self._files[path]] = path.read_bytes()

    def close(self, handle: int) -> None:
        self._open.pop(handle)
        os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        if self._call():
            self._fail()
        self._forget(new)
        super().rename(old, new)
        self._files[new] = self._files.pop(old)

    def remove(self, path: Path) -> None:
        if self._call():
            self._fail()
        self._forget(path)
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        if self._call():
            self._fail()
        self._sync_names(folder)

    def _forget(self, path: Path) -> None:
        if path in self._files:
            self._last[self._files.pop(path)] = path.read_bytes()

    def _sync_names(self, folder: Path) -> None:
        self._synced_names[folder] = {path.name: number for path, number in self._files.items() if path.parent == folder}

    def lose(self, keeps: str) -> None:
        """Leave on the real disk what a crash might have left."""
        written = {number: path.read_bytes() for path, number in self._files.items() if path.exists()} | self._last
        contents = written if keeps in ("all", "contents") else self._synced
        for folder, synced in self._synced_names.items():
            there = {path.name: number for path, number in self._files.items() if path.parent == folder and path.exists()}
            names = there if keeps in ("all", "names") else synced
            for path in folder.iterdir():
                path.unlink()
            for name, number in names.items():
                (folder / name).write_bytes(contents[number])
