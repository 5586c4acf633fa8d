"""Memory that a process frees and soon needs again."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # of mallopt(3)
MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process reuse large blocks instead of giving them back to the system; whether that could be had.

    glibc maps a large block anew each time, and its first touch costs a page fault every 4 KiB: for vectors of 40 MB more
    than what is computed on them. For processes that do the same work again and again; their memory stays at its peak, once
    and not for each thread. Call it before there are any.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    wanted = ((ARENA_MAX, 1), (MMAP_THRESHOLD, MOST), (TRIM_THRESHOLD, MOST))
    return mallopt is not None and all(mallopt(what, value) == 1 for what, value in wanted)
