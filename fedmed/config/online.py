"""How many of a federation are there at one time: at most, and on average, minute by minute of the day."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

DAY = 24 * 60
_DEVIATIONS = 6.0
"""Of the number that is there above its mean: a binomial count is above that in about one moment of 10^9."""


def minutes(hours: str) -> tuple[int, int]:
    """First minute of the day within `07:00-19:00`, and the first after it, which is the smaller one over midnight."""
    begin, end = (int(time[:2]) * 60 + int(time[3:]) for time in hours.split("-"))
    return begin, end


@dataclass(frozen=True)
class Group:
    """Members that come and go alike and one by one."""

    count: int
    share: float
    """Of the time within its hours, above 0."""
    hours: tuple[int, int]
    """As `minutes`; (0, DAY) for all day."""


@dataclass(frozen=True)
class Online:
    """Those who are there at `minute` of the day."""

    minute: int
    most: int
    """With everybody whose hours it is."""
    mean: float
    hardly_more: int
    """Than this many are there in one moment of 10^9; at most `most`."""

    @property
    def time(self) -> str:
        """`minute` as 08:30."""
        return f"{self.minute // 60:02d}:{self.minute % 60:02d}"


def best(groups: Iterable[Group]) -> Online:
    """The first minute of the day at which most are there; members are there independently of each other."""
    steps = [(0, 0.0, 0.0)] * (DAY + 1)
    for group in groups:
        count, mean = group.count, group.count * group.share
        variance = mean * (1 - group.share)
        for begin, end in _spans(group.hours):
            for minute, sign in ((begin, 1), (end, -1)):
                before = steps[minute]
                steps[minute] = (before[0] + sign * count, before[1] + sign * mean, before[2] + sign * variance)
    there = accumulate(steps[:DAY], lambda a, b: (a[0] + b[0], a[1] + b[1], a[2] + b[2]))
    return max((_online(minute, *now) for minute, now in enumerate(there)), key=lambda each: (each.hardly_more, each.mean))


def _spans(hours: tuple[int, int]) -> list[tuple[int, int]]:
    begin, end = hours
    return [(begin, end)] if begin < end else [(0, end), (begin, DAY)]


def _online(minute: int, most: int, mean: float, variance: float) -> Online:
    likely = math.floor(mean + _DEVIATIONS * math.sqrt(max(variance, 0.0)) + 1e-6)  # sums of shares round
    return Online(minute, most, mean, min(most, likely))
