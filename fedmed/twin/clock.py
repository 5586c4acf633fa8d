"""A clock whose time goes on through a calendar alone: an hour takes as long as what happens in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from fedmed.twin.calendar import Calendar

MONDAY = 1_767_571_200.0
"""Where a scenario says no day: the midnight (UTC) with which Monday, 5 January 2026 begins, in seconds since 1970."""


@dataclass
class VirtualClock:
    """Implements `fedmed.clock.Clock`; the run begins at 0."""

    calendar: Calendar[Callable[[], None]] = field(default_factory=Calendar)
    """What is done when its moment comes."""
    began_unix: float = MONDAY
    _now: float = 0.0

    def now(self) -> float:
        """Seconds since the run began."""
        return self._now

    def unix(self) -> float:
        """Seconds since 1970."""
        return self.began_unix + self._now

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass, and everything happen that is due until then. Raises ValueError for less than none."""
        if not (0 <= seconds < math.inf):
            raise ValueError(f"a sleep of {seconds} s; allowed: 0 and more, and not for ever")
        self.go_to(self._now + seconds)

    def go_to(self, at: float) -> None:
        """Let time pass until `at`; a moment that is over already changes nothing."""
        while self.calendar.next_at() <= at:
            due, do = self.calendar.take()
            self._now = max(self._now, due)
            do()
        self._now = max(self._now, at)
