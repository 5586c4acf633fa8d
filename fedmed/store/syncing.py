"""What is renamed into a folder is on the disk only when the folder is, too (POSIX fsync); and many files synced at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fedmed.identity.files import sync_folder as sync_folder

AT_ONCE = 16
"""Threads that wait for the disk: it syncs what several of them wrote in one go."""
T = TypeVar("T")


def at_once(work: Callable[[T], object], items: Sequence[T]) -> None:
    """`work` on each, several at a time. Raises what one of them raised; the others that had begun have ended then."""
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(items))), thread_name_prefix="sync") as pool:
        for _ in pool.map(work, items):
            pass
