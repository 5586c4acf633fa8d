"""A device's two slots for releases: what is known of them, what may happen, what is to be done (`stepping` decides).

One slot runs, committed. The other takes the next release: filled, tested on its golden inputs, run beside the first where
the channel says so, then on trial in its place, and committed after a window in which it had to be healthy. Whatever fails
before that leaves the first one running. How the shell obeys, so that no power cut leaves a device without one that runs:
`Raise` first, then the state onto the disk, then all other instructions (`fedmed.releases.slotstore`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from fedmed.releases.agreeing import Agreement, Anchor

SLOTS = (0, 1)
MOST_BANNED = 64
"""Kept of releases that failed here; an older one cannot come again, by its counter."""


class Phase(str, Enum):
    """How far a slot's content is."""

    FILLING = "filling"
    WHOLE = "whole"
    """Every byte is what was signed."""
    TESTING = "testing"
    """Its golden inputs are being run; written before they are, for should the process end with it."""
    TESTED = "tested"
    """The golden inputs gave the expected outputs on this device."""
    PROVEN = "proven"
    """It was committed here."""


@dataclass(frozen=True)
class Content:
    """What is in a slot."""

    counter: int
    manifest: str
    length: int
    package: str
    phase: Phase = Phase.FILLING


@dataclass(frozen=True)
class Evidence:
    """What was seen of one slot since it runs; adds up."""

    seconds: float = 0.0
    results: int = 0
    errors: int = 0
    slow: int = 0
    """Results that took longer than the device allows."""
    compared: int = 0
    disagreed: int = 0
    """Of those compared with the other slot's."""

    def plus(self, more: Evidence) -> Evidence:
        """Both together."""
        return Evidence(
            self.seconds + more.seconds,
            self.results + more.results,
            self.errors + more.errors,
            self.slow + more.slow,
            self.compared + more.compared,
            self.disagreed + more.disagreed,
        )


@dataclass(frozen=True)
class Limits:
    """When a release on trial is committed, and when it is given up."""

    window_s: float = 900.0
    least_results: int = 20
    """A quiet device's window is open until there were so many."""
    error_rate: float = 0.05
    slow_rate: float = 0.05
    disagreement: float = 0.2
    """Shares of the results, counted from the first one on as if there were `least_results`."""
    crashes: int = 2
    """So often may the process end with it: a power cut is no fault of the release, a second end is taken for one."""

    def fault(self, seen: Evidence) -> str:
        """What is too much already; empty where nothing is."""
        shares = (
            ("errors", seen.errors, seen.results, self.error_rate),
            ("slow results", seen.slow, seen.results, self.slow_rate),
            ("disagreements", seen.disagreed, seen.compared, self.disagreement),
        )
        for what, count, of, most in shares:
            if count > most * max(of, self.least_results):
                return f"{count} {what} in {of}; allowed are {most:.0%}"
        return ""

    def is_over(self, seen: Evidence) -> bool:
        """Whether the window has passed."""
        return seen.seconds >= self.window_s and seen.results >= self.least_results


@dataclass(frozen=True)
class Slots:
    """All that a device knows of its slots. Only the last two fields are not kept over a restart."""

    contents: tuple[Content | None, Content | None] = (None, None)
    active: int | None = None
    """The committed one."""
    trial: int | None = None
    """Runs in its place until it is committed or given up."""
    shadow: int | None = None
    """Runs beside it."""
    crashes: tuple[tuple[int, int], ...] = ()
    """Counter of a release, and how often the process ended while it was tested, beside the active one, or on trial."""
    banned: tuple[tuple[int, str], ...] = ()
    """Counter of a release that failed here, and why."""
    clean: bool = True
    """Whether the process before was told to stop."""
    evidence: Evidence = field(default=Evidence(), compare=False)
    """Of the trial."""
    beside: Evidence = field(default=Evidence(), compare=False)
    """Of the shadow."""

    @property
    def running(self) -> int | None:
        """The one slot whose results count."""
        return self.active if self.trial is None else self.trial

    def slot_of(self, counter: int) -> int | None:
        """Where a release is."""
        return next((slot for slot in SLOTS if (one := self.contents[slot]) and one.counter == counter), None)

    def content(self, slot: int | None) -> Content | None:
        """What is in a slot."""
        return None if slot is None else self.contents[slot]

    def with_content(self, slot: int, content: Content | None) -> Slots:
        """With another content in a slot."""
        first, second = self.contents
        return replace(self, contents=(content, second) if slot == 0 else (first, content))


@dataclass(frozen=True)
class Booted:
    """The process has begun; `damaged` slots do not hold what they should."""

    damaged: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Agreed:
    """Federation and clinic were asked, and verified: what they agree on now."""

    agreement: Agreement
    anchor: Anchor


@dataclass(frozen=True)
class Filled:
    """Every file in a slot is what the manifest says."""

    slot: int


@dataclass(frozen=True)
class Examined:
    """The golden inputs were run; `fault` says what was wrong, if anything."""

    slot: int
    fault: str = ""


@dataclass(frozen=True)
class Observed:
    """What was seen of a slot that runs, since the last time."""

    slot: int
    seen: Evidence


@dataclass(frozen=True)
class Failed:
    """A slot on trial, or beside the active one, cannot be run at all."""

    slot: int
    why: str


@dataclass(frozen=True)
class Stopped:
    """The process was told to stop."""


Event = Booted | Agreed | Filled | Examined | Observed | Failed | Stopped


@dataclass(frozen=True)
class Raise:
    """Write into the anchor that a release was committed; before the state that says so."""

    counter: int


@dataclass(frozen=True)
class Fetch:
    """Fill a slot with a release, or go on with it."""

    slot: int
    content: Content


@dataclass(frozen=True)
class Examine:
    """Run the golden inputs."""

    slot: int


@dataclass(frozen=True)
class Run:
    """From now on this slot gives the results; None where there is none to run."""

    slot: int | None


@dataclass(frozen=True)
class Beside:
    """From now on this slot runs beside it; None where none does."""

    slot: int | None


@dataclass(frozen=True)
class Tell:
    """For the audit log, and for people."""

    counter: int
    outcome: str
    """done, refused or failed."""
    text: str


Instruction = Raise | Fetch | Examine | Run | Beside | Tell
