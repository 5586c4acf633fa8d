"""What is due when; of what is due at the same moment, what was entered first comes first."""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

What = TypeVar("What")


class Calendar(Generic[What]):
    """Moments of virtual time and what is due then."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, What]] = []
        self._entered = 0

    def enter(self, at: float, what: What) -> None:
        """`what` is due `at`. Raises ValueError for a moment that never comes."""
        if not math.isfinite(at):
            raise ValueError(f"nothing is due at {at}; allowed: a finite moment")
        heapq.heappush(self._entries, (at, self._entered, what))
        self._entered += 1

    def next_at(self) -> float:
        """When something is due next; infinite where nothing is."""
        return self._entries[0][0] if self._entries else math.inf

    def take(self) -> tuple[float, What]:
        """What is due next, and when. Raises IndexError where nothing is."""
        at, _, what = heapq.heappop(self._entries)
        return at, what

    def __len__(self) -> int:
        return len(self._entries)
