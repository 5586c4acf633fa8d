"""How much memory an agent holds: glibc is asked to keep little of what was freed.

By default glibc gives each thread an arena of its own and keeps what is freed there, and a model that was loaded once
leaves holes of its size. Two arenas are enough for an agent's lanes, large blocks are mapped and unmapped, and what lies
free is given back after an engine was opened, and once no image has come for a while. Without glibc nothing is done.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""Of mallopt(3)."""
ARENAS, LARGE_BYTES, FREE_BYTES = 2, 4 << 20, 8 << 20
"""An image and what it is prepared from are smaller than large: they are reused, and no page is touched anew for each."""


def _libc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def hold_little() -> bool:
    """For this process, before it has threads; whether all of it could be had."""
    wanted = ((ARENA_MAX, ARENAS), (MMAP_THRESHOLD, LARGE_BYTES), (TRIM_THRESHOLD, FREE_BYTES))
    mallopt = _libc("mallopt")
    return mallopt is not None and all(mallopt(what, value) == 1 for what, value in wanted)


def give_back() -> bool:
    """What lies free goes back to the system; whether that could be had. Takes milliseconds: for when no image waits."""
    trim = _libc("malloc_trim")
    if trim is None:
        return False
    trim(0)
    return True
