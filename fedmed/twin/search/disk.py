"""A disk that loses its power: at one of its calls or between two, with more or less of what was not synced yet.

What is there afterwards for sure are the contents of files as of their last sync, under the names as of the last sync of the
folder. Files are real ones, so that whatever reads them reads them as it always does.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.store.disk import Disk

KEEPS = ("all", "synced", "names", "contents")
"""All that was written; only what was synced; names as written with contents as synced; the other way round."""
SYNCED = "synced"


class Crash(BaseException):
    """The process ends here; nothing of ours may catch it but whoever starts it again."""


@dataclass
class _Tree:
    """A folder as it is, or was."""

    number: int
    files: dict[str, int] = field(default_factory=dict)
    """Name -> number of a file."""
    folders: dict[str, int] = field(default_factory=dict)


class Power(Disk):
    """The disk of one machine, below `root`; what was there when it was made is synced."""

    def __init__(self, root: Path, honest: Path | None = None) -> None:
        """`honest`: a folder on another medium, whose syncs never lie."""
        self._root, self._honest = root, honest
        self.lies = False
        """Whether syncs say that they are done and are not."""
        self._fails_in, self._is_dead = -1, False
        self._synced: dict[int, bytes] = {}
        self._names: dict[int, _Tree] = {}
        self._note()

    def fail_in(self, calls: int) -> None:
        """End the process at the call after so many more; -1: at none."""
        self._fails_in = calls

    def _note(self) -> None:
        """Take all that is there as synced."""
        self._synced, self._names = {}, {}
        for folder in (self._root, *(each for each in self._root.rglob("*") if each.is_dir())):
            tree = _looked_at(folder)
            self._names[tree.number] = tree
            for name, number in tree.files.items():
                self._synced[number] = (folder / name).read_bytes()

    def _call(self) -> bool:
        """Whether the power goes now; raises where it went before."""
        if self._is_dead:
            raise Crash
        self._is_dead = self._fails_in == 0
        self._fails_in -= 1
        return self._is_dead

    def _step(self) -> None:
        if self._call():
            raise Crash

    def make_folder(self, folder: Path) -> None:
        """See Disk."""
        for place in (*reversed(folder.parents), folder):
            if not place.exists():
                self._step()
                place.mkdir(mode=0o700)
                self.sync_folder(place.parent)

    def create(self, path: Path) -> int:
        """See Disk."""
        self._step()
        return super().create(path)

    def reopen(self, path: Path) -> int:
        """See Disk."""
        self._step()
        return super().reopen(path)

    def write(self, handle: int, data: bytes, offset: int) -> None:
        """See Disk; the power may go in its midst."""
        if self._call():
            super().write(handle, data[: len(data) // 3], offset)
            raise Crash
        super().write(handle, data, offset)

    def truncate(self, handle: int, size: int) -> None:
        """See Disk."""
        self._step()
        super().truncate(handle, size)

    def sync(self, handle: int) -> None:
        """See Disk."""
        self._step()
        path = Path(f"/proc/self/fd/{handle}")
        if not self._lies_about(path.readlink()):
            self._synced[os.fstat(handle).st_ino] = path.read_bytes()

    def rename(self, old: Path, new: Path) -> None:
        """See Disk."""
        self._step()
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        """See Disk."""
        self._step()
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        """See Disk."""
        self._step()
        if not self._lies_about(folder):
            tree = _looked_at(folder)
            self._names[tree.number] = tree

    def _lies_about(self, path: Path) -> bool:
        return self.lies and not (self._honest is not None and path.is_relative_to(self._honest))

    def lose(self, keeps: str) -> None:
        """Leave what the loss of power left, and give the power back."""
        content = self._surviving(self._root, _number(self._root), keeps)
        for path in self._root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        _write(self._root, content)
        self._fails_in, self._is_dead, self.lies = -1, False, False
        self._note()

    def put_back(self, copy: Path) -> None:
        """Have what a copy has, in place of all that was there."""
        shutil.rmtree(self._root)
        shutil.copytree(copy, self._root)
        self._fails_in, self._is_dead, self.lies = -1, False, False
        self._note()

    def _surviving(self, folder: Path | None, number: int, keeps: str) -> dict[str, object]:
        """Names below a folder -> bytes of a file, or the same of a folder."""
        there = _looked_at(folder) if folder is not None else None
        synced = self._names.get(number, _Tree(number))
        tree = there if there is not None and keeps in ("all", "names") else synced
        places = (
            {}
            if there is None or folder is None
            else {inode: folder / name for name, inode in (*there.files.items(), *there.folders.items())}
        )
        found: dict[str, object] = {}
        for name, inode in tree.files.items():
            path = places.get(inode)
            as_written = keeps in ("all", "contents") and path is not None
            found[name] = path.read_bytes() if as_written and path is not None else self._synced.get(inode, b"")
        for name, inode in tree.folders.items():
            found[name] = self._surviving(places.get(inode), inode, keeps)
        return found


def _looked_at(folder: Path) -> _Tree:
    tree = _Tree(_number(folder))
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        (tree.folders if entry.is_dir() else tree.files)[entry.name] = entry.inode()
    return tree


def _number(path: Path) -> int:
    return path.stat().st_ino


def _write(folder: Path, content: dict[str, object]) -> None:
    for name, each in content.items():
        path = folder / name
        if isinstance(each, dict):
            path.mkdir(mode=0o700)
            _write(path, each)
        elif isinstance(each, bytes):
            path.write_bytes(each)
