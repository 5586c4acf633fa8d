"""What a killed run would leave behind: processes that work on for nobody, and shared memory that nobody frees."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PREFIX, OWNER = "fedmed-", "owner"


def end_with_owner(clean_up: Callable[[], None]) -> None:
    """End this process, however busy, after `clean_up` once the process that started it has ended, however that ended."""
    owner = multiprocessing.parent_process()

    def watch() -> None:
        if owner is not None:
            owner.join()
            clean_up()
            os._exit(1)

    threading.Thread(target=watch, name="owner", daemon=True).start()


def memory_folder() -> Path:
    """Where a run's shared memory will be: in memory where the machine has such a place, else on disk.

    Folders whose owner was killed with all its processes are removed first.
    """
    shared = Path("/dev/shm")
    base = shared if shared.is_dir() else Path(tempfile.gettempdir())
    for folder in base.glob(f"{PREFIX}*"):
        _remove_ownerless(folder)
    return base / f"{PREFIX}{uuid.uuid4().hex}"


def make_owned(folder: Path) -> BinaryIO:
    """Make a private folder and return its lock, which the machine itself lets go when this process ends."""
    building = folder.with_name(f".{folder.name}")  # nobody sweeps it away before it is locked
    building.mkdir(mode=0o700)
    lock = (building / OWNER).open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    building.rename(folder)
    return lock


def _remove_ownerless(folder: Path) -> None:
    try:
        with (folder / OWNER).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # its owner lives, or it is another user's
