"""Probes of the machine: room, writing, memory, descriptors, confinement. Linux's own files; what is not told is None."""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedmed.confinement.cell import Cell, Lacks
from fedmed.confinement.means import lacking
from fedmed.errors import FedmedError

WRITTEN = 32 * 2**20
"""Octets written to tell the speed."""
WRITE_S, SYNC_S, SYNCS = 5.0, 1.0, 200
"""Seconds after which writing and syncing stop, and the most syncs."""
BLOCK = 2**20
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Room:
    """Octets free for this user in the folder's file system; None with a fault."""

    place: Path
    free: int | None
    fault: str = ""


@dataclass(frozen=True)
class Written:
    """How writing went."""

    place: Path
    rate: float = 0.0
    """Octets per second, synced to the disk at the end."""
    syncs: float = 0.0
    """Writes of 4 KiB with an fsync after each, per second."""
    is_same: bool = True
    """What was read back is what was written."""
    fault: str = ""


def standing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    found = folder.absolute()
    while not found.is_dir() and found != found.parent:
        found = found.parent
    return found


def room(folder: Path) -> Room:
    """Free room where the folder is or will be."""
    place = standing(folder)
    try:
        found = os.statvfs(place)
    except OSError as error:
        return Room(place, None, error.strerror or str(error))
    return Room(place, found.f_bavail * found.f_frsize)


def write(folder: Path, now: Callable[[], float]) -> Written:
    """Write, sync, read back and take away a file; raises nothing."""
    place = standing(folder)
    path = place / f".fedmed-doctor-{os.getpid()}"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return Written(place, fault=error.strerror or str(error))
    try:
        return _written(place, handle, now)
    except OSError as error:
        return Written(place, fault=error.strerror or str(error))
    finally:
        os.close(handle)
        with suppress(OSError):
            path.unlink()


def _written(place: Path, handle: int, now: Callable[[], float]) -> Written:
    block = hashlib.shake_128(b"doctor").digest(BLOCK)  # a file system that compresses gains nothing
    began, blocks = now(), 0
    while blocks * BLOCK < WRITTEN and now() - began < WRITE_S:
        _all(handle, block)
        blocks += 1
    os.fsync(handle)
    seconds = now() - began
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)  # read from the disk, not from memory
    os.lseek(handle, 0, os.SEEK_SET)
    is_same = all(os.read(handle, BLOCK) == block for _ in range(blocks))
    began, syncs = now(), 0
    while syncs < SYNCS and now() - began < SYNC_S:
        os.pwrite(handle, block[:4096], 4096 * syncs)
        os.fsync(handle)
        syncs += 1
    return Written(place, blocks * BLOCK / max(seconds, 1e-6), syncs / max(now() - began, 1e-6), is_same)


def _all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def memory() -> int | None:
    """Octets that this process may still have: what the system has, or what its control group leaves, whichever is less."""
    found = [_available(), _left_in_group()]
    return min((each for each in found if each is not None), default=None)


def _available() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _left_in_group() -> int | None:
    with suppress(OSError, ValueError):
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            return max(0, int(limit) - int((_CGROUP / "memory.current").read_text()))
    return None


def confinement() -> Lacks | str:
    """Which means of confining an app cannot be had here, and why; or why no app could work here at all."""
    try:
        return lacking(Cell())
    except FedmedError as error:
        return str(error)


def descriptors() -> int:
    """How many files and connections this process may have open at once."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
