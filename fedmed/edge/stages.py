"""How long each step from an image to its result takes, as status and benchmark show it; the last thousand of each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fedmed.clock import Clock

KEPT = 1000


class Stages:
    """Safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._seconds, self._lock = clock, dict[str, deque[float]](), threading.Lock()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time a step; one that fails is not counted."""
        began = self._clock.now()
        yield
        self.took(name, self._clock.now() - began)

    def took(self, name: str, seconds: float) -> None:
        """A step that was timed otherwise."""
        with self._lock:
            self._seconds.setdefault(name, deque(maxlen=KEPT)).append(seconds)

    def told(self) -> Mapping[str, Mapping[str, float]]:
        """Milliseconds by step, in the order in which they were first taken: median, 99th percentile, how many."""
        with self._lock:
            known = {name: sorted(each) for name, each in self._seconds.items()}
        return {
            name: {
                "median_ms": round(1e3 * each[len(each) // 2], 2),
                "p99_ms": round(1e3 * each[min(len(each) - 1, int(0.99 * len(each)))], 2),
                "count": len(each),
            }
            for name, each in known.items()
        }
