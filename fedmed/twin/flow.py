"""How much goes over lines when: bytes in a few hundred equal spans of time, whatever the time that is to be covered."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedmed.twin.draws import Floats

SPANS = 240
AT_ONCE = 4096
"""Messages that are spread in one go, so that a million of them need no more memory."""
WAYS = ("down", "up")


class Flow:
    """Bytes by span, down and up. A message is spread evenly over the time from its beginning to its end."""

    def __init__(self, step: float = 1.0) -> None:
        """`step`: seconds of a span at first; spans grow to twice as long whenever time runs over their end."""
        self.step = step
        self.bytes = {way: np.zeros(SPANS) for way in WAYS}

    def add(self, way: str, begins: Floats, ends: Floats, size: float | Floats) -> None:
        """Messages of `size` bytes, one for all or of each; those that never end, or never begin, are left out."""
        known = np.isfinite(begins) & np.isfinite(ends)
        begins, ends, sizes = begins[known], ends[known], np.broadcast_to(np.asarray(size, np.float64), known.shape)[known]
        while ends.size and ends.max() > SPANS * self.step:
            self._widen()
        for first in range(0, len(begins), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            self._spread(way, begins[part], ends[part], sizes[part])

    def _widen(self) -> None:
        for way, found in self.bytes.items():
            self.bytes[way] = np.concatenate([found.reshape(-1, 2).sum(1), np.zeros(SPANS // 2)])
        self.step *= 2

    def _spread(self, way: str, begins: Floats, ends: Floats, sizes: Floats) -> None:
        low = min(int(begins.min() / self.step), SPANS - 1)
        high = min(int(np.ceil(ends.max() / self.step)), SPANS)
        edges = np.arange(low, max(high, low + 1) + 1) * self.step
        took = np.maximum(ends - begins, 1e-9)[:, None]
        passed = np.clip((edges[None] - begins[:, None]) / took, 0, 1)
        passed[:, -1] = 1.0  # what takes no time at the last edge
        self.bytes[way][low : low + len(edges) - 1] += (sizes[:, None] * np.diff(passed)).sum(0)

    def told(self, until: float = np.inf) -> dict[str, Any]:
        """Seconds of a span, and the bytes of each span by way, up to the last in which anything went and which began
        before `until`."""
        moved = np.flatnonzero(self.bytes["down"] + self.bytes["up"])
        count = int(moved[-1]) + 1 if moved.size else 0
        count = count if until == np.inf else min(count, int(np.ceil(until / self.step)))
        return {"step_s": self.step, **{way: self.bytes[way][:count].round(1).tolist() for way in WAYS}}
