"""Where DICOM files come from: a folder, an archive, one file; each opened only as far as it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted

DIRECTORY_FILE = "DICOMDIR"
"""The index of a medium (PS3.10 section 8.6); it is not believed, the files beside it are read."""


@dataclass(frozen=True)
class Source:
    """Bytes with a name; whatever goes wrong in reading them raises Untrusted. Safe to read from several threads."""

    name: str
    """Path below the root, `archive.zip!member` inside archives."""
    size: int
    """Bytes of the content, unpacked."""
    head: Callable[[int], bytes]
    """The first so many bytes, fewer where there are not so many."""
    read_into: Callable[[int, memoryview], None]
    """Fills all of a buffer with the bytes from an offset on."""
    place: tuple[str, str] | None = None
    """File on this machine, and member where it is an archive: what `reopen` needs in another process."""

    def span(self, offset: int, length: int) -> bytearray:
        """`length` bytes from `offset` on; Untrusted where the source ends before. The caller has capped `length`."""
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer))
        return buffer


def of_file(path: Path, name: str, limits: Limits = LIMITS) -> Source:
    """The file at `path`, opened anew at each reading; one that has changed meanwhile is refused."""
    try:
        found = path.stat()
    except OSError as error:
        return refused(name, Reason.UNREADABLE, f"Opening it failed: {error.strerror}.")
    size, state = found.st_size, _state(found)
    if size > limits.file_bytes:
        return refused(name, Reason.TOO_LARGE, f"It has {size} bytes; at most {limits.file_bytes} are opened.")

    def head(length: int) -> bytes:
        buffer = bytearray(min(length, size))
        _read_file(path, state, 0, memoryview(buffer))
        return bytes(buffer)

    return Source(name, size, head, lambda offset, buffer: _read_file(path, state, offset, buffer), (str(path), ""))


def _state(found: os.stat_result) -> tuple[int, int, int]:
    """What differs once a file is written to or replaced: offsets of its old header would point into other bytes."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read_file(path: Path, state: tuple[int, int, int], offset: int, buffer: memoryview) -> None:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe put in its place must not make us wait
        try:
            if _state(os.fstat(number)) != state:
                raise Untrusted(Reason.UNREADABLE, "It changed while it was read.")
            done = 0
            while done < len(buffer):
                got = os.preadv(number, [buffer[done:]], offset + done)
                if got == 0:
                    raise Untrusted(Reason.TRUNCATED, f"It ends at byte {offset + done} of {offset + len(buffer)}.")
                done += got
        finally:
            os.close(number)
    except OSError as error:
        raise Untrusted(Reason.UNREADABLE, f"Reading it failed: {error.strerror}.") from error


def of_bytes(name: str, content: bytes) -> Source:
    """Content that is in memory already."""
    return unpacked(name, len(content), lambda length: content[:length])


def unpacked(name: str, size: int, load: Callable[[int], bytes], place: tuple[str, str] | None = None) -> Source:
    """Content that must be unpacked from its beginning: `load(n)` gives its first n bytes."""

    def read_into(offset: int, buffer: memoryview) -> None:
        content = load(offset + len(buffer))
        if len(content) < offset + len(buffer):
            raise Untrusted(Reason.TRUNCATED, f"It ends at byte {len(content)}, before byte {offset + len(buffer)}.")
        buffer[:] = memoryview(content)[offset : offset + len(buffer)]

    return Source(name, size, load, read_into, place)


def refused(name: str, reason: Reason, detail: str) -> Source:
    """A source of which is known already that it must not be read: whoever tries is told why."""

    def load(length: int) -> bytes:
        raise Untrusted(reason, detail)

    return unpacked(name, 0, load)


def walk(root: Path, limits: Limits = LIMITS) -> Iterator[Source]:
    """All files below `root` in the order of their names, archives opened; `root` may be a file, of a DICOMDIR its folder.

    A link that leads out of the root is named and refused; one within it would show a file twice and is passed over, as
    are devices, pipes and sockets. What cannot be listed is refused by name. Nothing is ever unpacked onto the disk.
    """
    if root.is_file() and root.name == DIRECTORY_FILE:
        root = root.parent
    if root.is_file():
        yield from _file(root, root.name, limits)
        return
    for seen, (path, name) in enumerate(_below(root, root.resolve(), "", limits.depth)):
        if seen == limits.files:
            yield refused(".", Reason.TOO_LARGE, f"The folder holds more than {limits.files} files.")
            return
        if isinstance(path, Source):
            yield path
        else:
            yield from _file(path, name, limits)


def reopen(place: tuple[str, str], name: str, limits: Limits = LIMITS) -> Source:
    """The source that `walk` gave with this `place`."""
    path = Path(place[0])
    if place[1]:
        found = _members(path, name.partition("!")[0], path.stat().st_mtime_ns if path.exists() else 0, limits).get(place)
    else:
        found = next((source for source in _file(path, name, limits) if source.place == place), None)
    return found or refused(name, Reason.UNREADABLE, "It is gone.")


@lru_cache(maxsize=1)
def _members(path: Path, name: str, changed: int, limits: Limits) -> dict[tuple[str, str] | None, Source]:
    """Of the archive that was asked about last: its table of contents is read once and not for each member."""
    return {source.place: source for source in _file(path, name, limits)}


def _below(folder: Path, root: Path, prefix: str, depth: int) -> Iterator[tuple[Path | Source, str]]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield refused(prefix or ".", Reason.UNREADABLE, f"The folder cannot be listed: {error.strerror}."), prefix
        return
    for entry in entries:
        name = prefix + os.fsencode(entry.name).decode("utf-8", "backslashreplace")
        if entry.is_symlink():
            if not _within(Path(entry.path), root):
                yield refused(name, Reason.UNREADABLE, "It is a link that leads out of the folder."), name
        elif entry.is_dir(follow_symlinks=False):
            if depth == 0:
                yield refused(name, Reason.TOO_LARGE, "Its folder lies deeper than is looked into."), name
            else:
                yield from _below(Path(entry.path), root, name + "/", depth - 1)
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path), name


def _within(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of links
        return False


def _file(path: Path, name: str, limits: Limits) -> Iterator[Source]:
    from fedmed.dicom import archives

    suffix = path.suffix.lower()
    plain = of_file(path, name, limits)
    if suffix == ".zip":
        yield from archives.members(path, plain, limits)
    elif suffix == ".zst":
        yield archives.zstandard(plain, limits)
    else:
        yield plain
