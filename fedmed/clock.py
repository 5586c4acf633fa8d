"""Time and randomness enter fedmed here and nowhere else, so that every run can be replayed from a seed."""

from __future__ import annotations

import hashlib
import time
from typing import Protocol

import numpy as np


class Clock(Protocol):
    """What the round loop needs of time; a simulation injects its own."""

    def now(self) -> float:
        """Seconds on a monotonic scale."""

    def unix(self) -> float:
        """Seconds since 1970, for records that people read."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds on the machine's monotonic scale."""
        return time.monotonic()

    def unix(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`."""
        time.sleep(seconds)


def derive_seed(root: int, *path: str | int) -> int:
    """Seed (63 bits) of one use of randomness, named by `path`, under the run's `root` seed.

    SHA-256 makes streams of different paths independent of each other and of the order in which they are asked for,
    so a site trains alike whichever worker, engine or resumed run it is in.
    """
    text = "\x1f".join(str(part) for part in (root, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(root: int, *path: str | int) -> np.random.Generator:
    """NumPy generator for the use of randomness named by `path`."""
    return np.random.default_rng(derive_seed(root, *path))
