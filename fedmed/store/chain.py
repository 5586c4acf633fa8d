"""Files that only grow: JSON lines, each with the digest of the one before, and a head that says where they end.

Each line is `{"body": {...}, "before": sha256 of the line before}`; beside the file, `NAME.head` holds how many lines there
are and the digest of the last one, so that a file cut short at a line's end is found as well. A line is on the disk before
`append` returns. Who may write both files can rewrite history: the chain shows accidents and clumsy hands; against the
rest, keep the head elsewhere too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fedmed.errors import StoreError
from fedmed.store.disk import Disk, replace_file
from fedmed.wire.canonical import canonical
from fedmed.wire.tensors import sha256
from fedmed.wire.visible import visible

FIRST = "0" * 64  # what comes before the first line
MAX_BYTES = 1024**3
_MOST_TOLD = 500  # letters of what is wrong with a body
_DISK = Disk()

Body = TypeVar("Body")


@dataclass(frozen=True)
class End:
    """Where a file ends whose lines were verified, so that the next one can be written without reading them again."""

    lines: int
    size: int
    """Bytes of the whole lines."""
    last: str
    """SHA-256 of the last line, as hex; `FIRST` where there is none."""
    stamp: tuple[tuple[int, int, int] | None, ...]
    """Inode, size and time of change (ns) of the file and its head: whoever else wrote there is found out by it."""


def verify(
    path: Path,
    made: Callable[[dict[str, Any]], Body],
    sound: Callable[[Body], bool] = lambda _: True,
    first: str = FIRST,
) -> list[Body]:
    """The bodies, as `made` makes them, every digest checked; `sound` checks what digests a body has itself.

    `made` may raise ValueError, LookupError, TypeError or AttributeError for what was never written. `first` is what comes
    before the first line, where the file goes on from another. Raises StoreError saying which line is wrong and how.
    """
    count, last = _head(path)
    whole = whole_lines(path)
    if len(whole) < count:
        raise StoreError(f"{path} has {len(whole)} lines; {count} were written: it has been cut short")
    return verify_lines(path, whole, made, sound, first, (count, last))


def verify_lines(
    path: Path,
    whole: Sequence[bytes],
    made: Callable[[dict[str, Any]], Body],
    sound: Callable[[Body], bool] = lambda _: True,
    first: str = FIRST,
    known: tuple[int, str] = (0, FIRST),
) -> list[Body]:
    """The bodies of lines that were read from `path`; `known` is the number of a line and its digest. Raises StoreError."""
    (count, last), before, bodies = known, first, []
    for number, line in enumerate(whole, 1):
        body, link = _body(path, number, line, made, sound)
        if link != before:
            raise StoreError(
                f"{path}, line {number}: it does not follow the line above; one was changed, moved or taken out"
            )
        before = sha256(line)
        if number == count and before != last:
            raise StoreError(f"{path}, line {number}: it is not the last line that was written; it has been changed")
        bodies.append(body)
    return bodies


def append(path: Path, body: Mapping[str, Any]) -> None:
    """Write a line, then the head. What a kill left half written was never let go, and is cut off. Raises OSError.

    Only within `locks.alone`, and after `verify`.
    """
    extend(path, end_of(path), body)


def extend(path: Path, end: End, *bodies: Mapping[str, Any], disk: Disk = _DISK) -> End:
    """`append` at an end that is known, in time that does not grow with the file; returns the new end. Raises OSError.

    Several bodies cost one sync; a crash meanwhile may leave the first few of them. Only within `locks.alone`, and where
    `is_at(path, end)`.
    """
    return write(path, end, lines_after(end.last, bodies), disk)


def lines_after(last: str, bodies: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """The lines of these bodies after a line with the digest `last`."""
    lines = []
    for body in bodies:
        lines.append(canonical({"before": last, "body": dict(body)}) + b"\n")
        last = sha256(lines[-1])
    return lines


def write(path: Path, end: End, lines: Sequence[bytes], disk: Disk = _DISK) -> End:
    """`extend` by lines that `lines_after` made for this end; there is at least one. Raises OSError."""
    content, count, last = b"".join(lines), end.lines + len(lines), sha256(lines[-1])
    _write_at(disk, path, end.size, content)
    replace_file(disk, head_of(path), f"{count} {last}".encode())
    return End(count, end.size + len(content), last, _stamp(path))


def _write_at(disk: Disk, path: Path, size: int, content: bytes) -> None:
    is_new = not path.exists()
    handle = disk.create(path) if is_new else disk.reopen(path)
    try:
        disk.truncate(handle, size)
        disk.write(handle, content, size)
        disk.sync(handle)
    except OSError:
        with suppress(OSError):
            disk.truncate(handle, size)  # a full disk gets its room back at once
        raise
    finally:
        disk.close(handle)
    if is_new:
        disk.sync_folder(path.parent)  # before the head that says it has lines


def end_of(path: Path, first: str = FIRST) -> End:
    """The end of the whole lines; only after `verify` is it the end of what was written. Raises StoreError, OSError."""
    stamp = _stamp(path)  # before the lines are read, so that a line that comes meanwhile is seen
    whole = whole_lines(path)
    return End(len(whole), sum(map(len, whole)), sha256(whole[-1]) if whole else first, stamp)


def is_at(path: Path, end: End) -> bool:
    """Whether neither file was touched since; where not, only `verify` tells what was done to them. Raises OSError."""
    return _stamp(path) == end.stamp


def whole_lines(path: Path) -> list[bytes]:
    """The lines that were written to their end. Raises StoreError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StoreError(f"{path} has more than {MAX_BYTES} bytes; it is not a file of ours")
        return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error})") from error


def _body(
    path: Path, number: int, line: bytes, made: Callable[[dict[str, Any]], Body], sound: Callable[[Body], bool]
) -> tuple[Body, str]:
    try:
        read: dict[str, Any] = json.loads(line)
        body = made(read["body"])
        link = str(read["before"])
        as_written = sound(body) and canonical(read) + b"\n" == line
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        kind, why = type(error).__name__, f": {visible(str(error))[:_MOST_TOLD]}" if type(error) is ValueError else ""
        raise StoreError(f"{path}, line {number}: it cannot be read ({kind}); it has been changed{why}") from error
    if not as_written:
        raise StoreError(f"{path}, line {number}: it does not have the digest it was written with; it has been changed")
    return body, link


def _stamp(path: Path) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_touched(each) for each in (path, head_of(path)))


def _touched(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def head_of(path: Path) -> Path:
    """The file that holds the count of lines and the digest of the last."""
    return path.with_name(f"{path.name}.head")


def _head(path: Path) -> tuple[int, str]:
    try:
        count, last = head_of(path).read_text(encoding="ascii").split()
        return int(count), last
    except FileNotFoundError:
        return 0, FIRST
    except (OSError, ValueError) as error:
        raise StoreError(f"{head_of(path)} cannot be read ({type(error).__name__}); put the copy of it back") from error
