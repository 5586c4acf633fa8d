"""What happens on the way, told in the order of virtual time."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

What = Literal["sent", "heard", "done", "folded", "there", "lost", "withdrawn"]


@dataclass(frozen=True)
class Happening:
    """One thing that befell a message or its answer."""

    at: float
    """Seconds of virtual time."""
    node: int
    what: What
    kind: str
    """Of message."""
    bytes: int = 0
    """Of the message where it is sent, of the answer where that is there."""
    why: str = ""
    """Of what is lost."""
    joined: tuple[int, ...] = ()
    """Of what is folded: devices whose updates are in it."""
    missing: Mapping[int, str] = field(default_factory=dict)
    """Of what is folded: the other devices and why."""


class Diary:
    """Holds what is to happen until its time has come."""

    def __init__(self, tell: Callable[[Happening], None]) -> None:
        self._tell = tell
        self._count = itertools.count()
        self._coming: list[tuple[float, int, int, Happening]] = []
        self._over: dict[int, float] = {}

    def add(self, number: int, happening: Happening) -> None:
        """Something of errand `number`, now or later; what is never does not happen."""
        if math.isfinite(happening.at):
            heapq.heappush(self._coming, (happening.at, number, next(self._count), happening))

    def strike_out(self, number: int, now: float) -> None:
        """What was to happen of errand `number` after `now` does not."""
        self._over[number] = now

    def tell(self, until: float) -> None:
        """All that has happened until then; of one moment what was sent first, first."""
        while self._coming and self._coming[0][0] <= until:
            at, number, _, happening = heapq.heappop(self._coming)
            if at <= self._over.get(number, math.inf):
                self._tell(happening)
