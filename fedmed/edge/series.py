"""When a series is whole, and what is to be done about it: a pure rule. No I/O, and time comes with the question.

A scanner sends a series as many images, in any order, over minutes, and never says that it is done. So a series is looked at

    counted   when there are as many images as its headers say
    quiet     when each association that sent any of it has ended, and nothing more came for a while
    bound     when it has waited for as long as anything does; what is there is looked at then, and the result says so

A result does not end it: what comes late is looked at together with what was there, and the new result names the one that
it replaces. After a time without anything late it is closed. What comes even later is set aside: its fellows are gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Rule:
    """How long is waited for what; seconds on one scale."""

    quiet_s: float = 30.0
    longest_s: float = 3600.0
    late_s: float = 3600.0
    remembered_s: float = 7 * 86400.0
    """How long a closed series is known."""
    most_images: int = 3000
    most_bytes: int = 2 << 30
    """Of its images as they came."""


@dataclass(frozen=True)
class Part:
    """An image that waits."""

    number: int
    """Of its entry in the spool."""
    size: int
    began: float
    """When it came."""
    seen: float
    """As `began`, and not before this process did: what was there begins to be quiet anew, for the scanner may try again."""
    association: str = ""
    """By which it came; empty where it came by another door."""
    acquisition: str = ""
    in_acquisition: int | None = None
    in_series: int | None = None


@dataclass(frozen=True)
class Note:
    """What was told of a series."""

    number: int
    """Of its entry in the spool."""
    parts: frozenset[int]
    """Numbers of the images that it was about."""
    at: float
    closed: str = ""
    """Why nothing more of it is looked at; empty while it may go on."""


@dataclass(frozen=True)
class Series:
    """All that is here of one series."""

    parts: tuple[Part, ...]
    note: Note | None = None

    @property
    def fresh(self) -> tuple[Part, ...]:
        """Images of which nothing was told yet."""
        known = self.note.parts if self.note is not None else frozenset()
        return tuple(part for part in self.parts if part.number not in known)


class Because(str, Enum):
    """Why a series counts as whole."""

    COUNTED = "counted"
    QUIET = "quiet"
    BOUND = "bound"


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done before `until`, unless something comes; what that may be is not told where `until` is now."""

    until: float


@dataclass(frozen=True)
class Look:
    """Look at all of it."""

    because: Because


@dataclass(frozen=True)
class Close:
    """Let go of it; with a reason, its images are set aside."""

    why: str = ""


@dataclass(frozen=True)
class Late:
    """Set these aside: their series is closed."""

    numbers: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Forget:
    """Nothing of it came for so long that its note goes."""


Verdict = Wait | Look | Close | Late | Forget
CLOSED = "its series was closed before it came: nothing more had come for as long as is waited"


@dataclass(frozen=True)
class Around:
    """What else decides about a series."""

    now: float
    associations: Collection[str] = ()
    """Those that have not ended."""
    is_coming: bool = False
    """Images of its study are still to be sorted."""
    is_able: bool = True
    """A model that looks at series runs here."""


def judged(series: Series, around: Around, rule: Rule) -> Verdict:
    """What to do about a series."""
    note, now = series.note, around.now
    if note is not None and note.closed:
        if series.parts:
            return Late(tuple(part.number for part in series.parts), note.closed)
        return Forget() if now - note.at >= rule.remembered_s else Wait(note.at + rule.remembered_s)
    if too_much := _excess(series.parts, rule):
        return Close(too_much)
    if not series.fresh:
        until = rule.late_s + (note.at if note is not None else now)
        return Close() if now >= until else Wait(until)
    return _whole(series, around, rule)


def _whole(series: Series, around: Around, rule: Rule) -> Look | Wait:
    """Whether it is to be looked at."""
    now, fresh = around.now, series.fresh
    bound = min(part.began for part in fresh) + rule.longest_s
    if now >= bound:
        return Look(Because.BOUND)
    if not around.is_able:
        return Wait(bound)
    if around.is_coming:
        return Wait(now)
    if is_counted(series.parts):
        return Look(Because.COUNTED)
    if any(part.association in around.associations for part in series.parts if part.association):
        return Wait(now)
    quiet = max(part.seen for part in fresh) + rule.quiet_s
    return Look(Because.QUIET) if now >= quiet else Wait(min(quiet, bound))


def announced(parts: Iterable[Part]) -> int | None:
    """How many images there are, as their headers say; None where they do not, or not with one voice."""
    found = list(parts)
    of_series = {part.in_series for part in found}
    if len(of_series) == 1 and None not in of_series:
        return of_series.pop()
    counts: dict[str, set[int | None]] = {}
    for part in found:
        counts.setdefault(part.acquisition, set()).add(part.in_acquisition)
    if not counts or any(len(each) > 1 or None in each for each in counts.values()):
        return None
    return sum(each.pop() or 0 for each in counts.values())


def is_counted(parts: Collection[Part]) -> bool:
    """Whether all that the headers announce is here, and no more."""
    return announced(parts) == len(parts) > 0


def _excess(parts: Collection[Part], rule: Rule) -> str:
    if len(parts) > rule.most_images:
        return f"its series has more than {rule.most_images} images, as many as are held (volumes.images)"
    if (size := sum(part.size for part in parts)) > rule.most_bytes:
        return f"its series has {size} bytes and more; {rule.most_bytes} are held (volumes.megabytes)"
    return ""
