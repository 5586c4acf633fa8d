"""How fast what waits for the hub leaves, and so how long the rest takes."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from fedmed.store.spool.entry import STUDY, UPDATE, Counts

CALLS = 32
"""The last ones say how fast it goes; before the first of a process nobody knows."""


@dataclass(frozen=True)
class Call:
    """Objects that the hub took in one go; `began` and `ended` in seconds of one clock."""

    began: float
    ended: float
    size: int
    """Bytes."""


class Leaving:
    """The last calls of all threads that send."""

    def __init__(self) -> None:
        self._calls, self._turn = deque[Call](maxlen=CALLS), threading.Lock()

    def took(self, call: Call) -> None:
        """The hub took it."""
        with self._turn:
            self._calls.append(call)

    def told(self, counts: Counts, most_per_s: float | None) -> dict[str, Any]:
        """For the status: entries and bytes that wait for the hub, bytes a second of late, seconds for the rest at that
        speed; the two are None before the first call. `most_per_s` is the cap, if there is one.
        """
        with self._turn:
            per_s = speed(tuple(self._calls))
        if per_s is not None and most_per_s is not None:
            per_s = min(per_s, most_per_s)
        size = counts.bytes[STUDY] + counts.bytes[UPDATE]
        return {
            "entries": counts.entries[STUDY] + counts.entries[UPDATE],
            "bytes": size,
            "bytes_per_s": None if per_s is None else round(per_s),
            "left_s": None if per_s is None else round(size / per_s, 1),
        }


def speed(calls: tuple[Call, ...]) -> float | None:
    """Bytes a second of the time in which at least one call was under way; None where there was none, or nothing in it."""
    busy, until = 0.0, float("-inf")
    for each in sorted(calls, key=lambda call: call.began):
        busy += max(0.0, each.ended - max(each.began, until))
        until = max(until, each.ended)
    size = sum(each.size for each in calls)
    return size / busy if size and busy > 0 else None
