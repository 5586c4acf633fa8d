"""The files of a folder, each part as of one moment, while its service goes on writing.

What is replaced whole is taken as it was. What grows is taken with the length that it had while nobody could write: the
locks beside it are held for the moment in which its files are linked, not while they are read. What a service has no lock
for, it must be able to lose.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.store.locks import alone

LINKS = ".backup-"
NEVER: Mapping[str, str] = {
    "*.lock": "locks mean nothing elsewhere",
    ".*": "what was being written",
    "*.sock": "sockets mean nothing elsewhere",
    "status.json": "the service writes it anew",
    "service.log*": "what the service said, which it does not need",
}
_SERVICE = ".service.lock"


@dataclass(frozen=True)
class Taken:
    """One file."""

    name: str
    """Its path below the folder, with slashes."""
    path: Path
    """Where to read it now."""
    size: int
    """So many bytes of it count."""


@dataclass(frozen=True)
class Snapshot:
    """What was taken."""

    files: tuple[Taken, ...]
    left_out: Mapping[str, str]
    """Paths that were there and were not taken, and why."""


@contextmanager
def snapshot(folder: Path, leave_out: Mapping[str, str]) -> Iterator[Snapshot]:
    """The files below `folder` but those that `leave_out` names, by patterns of their paths, with the reason.

    Hard links to them lie in the folder until the end. Raises StoreError.
    """
    links = folder / f"{LINKS}{os.getpid()}"
    try:
        for left in folder.glob(f"{LINKS}*"):
            shutil.rmtree(left)
        links.mkdir(mode=0o700)
        try:
            yield _taken(folder, links, leave_out)
        finally:
            shutil.rmtree(links)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be copied ({error.strerror or error}: {error.filename}); mend that, then again"
        ) from error


def _taken(folder: Path, links: Path, leave_out: Mapping[str, str]) -> Snapshot:
    files: list[Taken] = []
    left: dict[str, str] = {}
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        with ExitStack() as held:
            for lock in sorted(place.glob("*.lock")):
                if lock.name != _SERVICE:
                    held.enter_context(alone(lock))
            for path in sorted(place.iterdir()):
                name = str(path.relative_to(folder))
                if (why := _reason(name, leave_out)) is not None:
                    left[name] = why
                elif path.is_symlink() or not (path.is_dir() or path.is_file()):
                    left[name] = "no file and no folder"
                elif path.is_dir():
                    waiting.append(path)
                else:
                    _link(path, name, links, files)
    return Snapshot(tuple(sorted(files, key=lambda each: each.name)), dict(sorted(left.items())))


def _link(path: Path, name: str, links: Path, files: list[Taken]) -> None:
    link = links / str(len(files))
    try:
        os.link(path, link, follow_symlinks=False)
    except FileNotFoundError:
        return  # replaced or removed since the folder was read; what is in its place comes with the next backup
    files.append(Taken(name, link, link.stat().st_size))


def _reason(name: str, leave_out: Mapping[str, str]) -> str | None:
    last = name.rsplit("/", 1)[-1]
    for told, part in ((leave_out, name), (NEVER, last)):
        for pattern, why in told.items():
            if fnmatchcase(part, pattern):
                return why
    return None
