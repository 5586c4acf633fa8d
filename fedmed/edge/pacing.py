"""When what waits on a device may leave it: a cap on the bandwidth, quiet hours, and what goes first.

    real-time work    always, whatever its kind; it is charged, so that the rest makes up for it
    results           while the cap allows
    studies           while the cap allows, outside of quiet hours
    updates           as studies, after them

The cap is a token bucket (RFC 2697, section 3) that may be overdrawn: a piece goes while there is anything in it, and the
next waits until what it took is back. In any span of t seconds no more than `burst + rate * t` bytes and one piece leave,
real-time work aside.

Nothing here knows a clock: times come in as numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fedmed.errors import ConfigError
from fedmed.store.spool.entry import MOST_PRIORITY, REAL_TIME, RESULT, STUDY, UPDATE

DAY_MIN = 24 * 60
LEAVING = (RESULT, STUDY, UPDATE)
"""Kinds that leave a device; an instance as it came never does."""
BURST_S = 2.0
"""Seconds of the cap that may leave at once after a pause."""


@dataclass(frozen=True)
class QuietHours:
    """A span of each day, in minutes after midnight, local time; one that ends before it begins goes over midnight."""

    begins: int
    ends: int

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """From `HH:MM-HH:MM`; 24:00 is the end of the day. Raises ConfigError."""
        found = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", text.strip(), re.ASCII)
        hours = [int(part) for part in found.groups()] if found else []
        if not hours or max(hours[1], hours[3]) > 59:
            raise ConfigError(f"quiet hours {text[:40]!r}; write them as 22:00-06:00, in local time")
        begins, ends = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if begins == ends or begins >= DAY_MIN or ends > DAY_MIN:
            raise ConfigError(f"quiet hours {text[:40]!r}; a day goes from 00:00 to 24:00, and a span has a length")
        return cls(begins, ends)

    def covers(self, minute: int) -> bool:
        """Whether the minute of the day lies within."""
        if self.begins < self.ends:
            return self.begins <= minute < self.ends
        return minute >= self.begins or minute < self.ends


@dataclass(frozen=True)
class Pace:
    """What the clinic allows a device to send."""

    bytes_per_s: int | None = None
    """None: as fast as the link."""
    quiet: tuple[QuietHours, ...] = ()

    def __post_init__(self) -> None:
        if self.bytes_per_s is not None and self.bytes_per_s < 1:
            raise ConfigError(f"a cap of {self.bytes_per_s} bytes a second; give 1 or more, or none for no cap")

    @property
    def burst(self) -> float:
        """Bytes that the bucket holds."""
        return BURST_S * (self.bytes_per_s or 0)

    def is_quiet(self, minute: int) -> bool:
        """Whether studies and updates wait in this minute of the day."""
        return any(span.covers(minute) for span in self.quiet)


@dataclass(frozen=True)
class Bucket:
    """What may leave at a time: bytes, less than 0 where more left than was allowed."""

    level: float
    at: float
    """Seconds on the monotonic scale of `Clock.now`."""


@dataclass(frozen=True)
class Ask:
    """What to ask the spool for: `Spool.next(kinds, unix, least)`."""

    kinds: tuple[str, ...]
    least: int = field(default=-MOST_PRIORITY)


def full(pace: Pace, now: float) -> Bucket:
    """The bucket of a device that sent nothing for a while."""
    return Bucket(pace.burst, now)


def sent(pace: Pace, bucket: Bucket, size: int, now: float) -> Bucket:
    """The bucket after `size` bytes left."""
    return Bucket(_level(pace, bucket, now) - size, now)


def asks(pace: Pace, bucket: Bucket, now: float, minute: int) -> tuple[Ask, ...]:
    """What may go, in this order: the first that the spool has an entry for goes next."""
    first = (Ask(LEAVING, REAL_TIME),)
    if wait_s(pace, bucket, now) > 0:
        return first
    return (*first, Ask((RESULT,)), *(() if pace.is_quiet(minute) else (Ask((STUDY,)), Ask((UPDATE,)))))


def wait_s(pace: Pace, bucket: Bucket, now: float) -> float:
    """Seconds until the cap allows more than real-time work."""
    level = _level(pace, bucket, now)
    if pace.bytes_per_s is None or level > 0:
        return 0.0
    return (1 - level) / pace.bytes_per_s


def quiet_s(pace: Pace, minute: int) -> float:
    """Seconds from the beginning of this minute of the day until studies and updates may go; infinite where never."""
    for ahead in range(DAY_MIN):
        if not pace.is_quiet((minute + ahead) % DAY_MIN):
            return 60.0 * ahead
    return float("inf")


def minute_of_day(unix: float, utc_offset_s: float) -> int:
    """The minute of the local day; the offset is that of this moment, so summer time needs no more."""
    return int((unix + utc_offset_s) // 60) % DAY_MIN


def _level(pace: Pace, bucket: Bucket, now: float) -> float:
    """Bytes that may leave now; a clock that goes backwards takes nothing away."""
    if pace.bytes_per_s is None:
        return pace.burst
    return min(pace.burst, bucket.level + max(0.0, now - bucket.at) * pace.bytes_per_s)
