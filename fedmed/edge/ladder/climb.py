"""How far a device is with the precision of one release: what it is now and what happened, to what it is next. Pure.

    safe       runs in FP32: nothing was measured yet, or there are too few images to see a point with
    probation  runs in the rung that was chosen, and is judged once more, by images that the choice has not seen
    held       runs in what it came to, and is not measured again while package, engine and machine stay the same

A release is tested, tried and committed in FP32 (`fedmed.releases`): what it falls back to is what has proven itself. Any
answer that is none, any process that ends twice on probation, takes it back there for good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from fedmed.serving.ladder import OUT, REFERENCE, Choice, Row

CRASHES = 2
"""So often may the process end on probation: the first may have been a power cut."""


class Phase(str, Enum):
    """See above."""

    SAFE = "safe"
    PROBATION = "probation"
    HELD = "held"


@dataclass(frozen=True)
class Key:
    """What a choice holds for."""

    package: str
    """Digest of its card."""
    engines: str
    """Versions of what computes."""
    machine: str
    """Processor and cards."""
    labels: str = ""
    """Which labelled images; empty for none."""


@dataclass(frozen=True)
class Climb:
    """One release on this machine."""

    key: Key
    phase: Phase = Phase.SAFE
    precision: str = REFERENCE
    backend: str = ""
    """Empty for the fastest that runs it."""
    basis: str = ""
    """What the rungs were judged by, in words."""
    is_agreement: bool = True
    """By FP32's decisions rather than by labels."""
    rows: tuple[Row, ...] = ()
    why: str = ""
    """For people: why it stands there."""
    crashes: int = 0
    is_up: bool = False
    """A process runs on probation now."""

    @property
    def rung(self) -> tuple[str, str]:
        """Precision and back end."""
        return self.precision, self.backend

    @property
    def is_fast(self) -> bool:
        """Whether it runs in another rung than the reference's."""
        return self.precision != REFERENCE


def decided(climb: Climb, choice: Choice, basis: str, is_agreement: bool) -> Climb:
    """The rungs were measured."""
    known = replace(climb, rows=choice.rows, basis=basis, is_agreement=is_agreement)
    if choice.rung is None:
        return replace(known, phase=Phase.HELD, why="no rung passed here; it runs on as it was released")
    rung = choice.rung
    if rung.precision == REFERENCE:
        return replace(known, phase=Phase.HELD, backend=rung.backend, why="the fastest within the gate")
    why = "the fastest within the gate; on probation with images that it was not chosen by"
    return replace(known, phase=Phase.PROBATION, precision=rung.precision, backend=rung.backend, why=why, is_up=True)


def proven(climb: Climb, images: int) -> Climb:
    """It held with images, or answers, that it was not chosen by."""
    why = f"the fastest within the gate; held for {images} images that it was not chosen by"
    return replace(climb, phase=Phase.HELD, why=why, is_up=False)


def fallen(climb: Climb, why: str) -> Climb:
    """Back to the reference, for as long as the key is this."""
    rows = tuple(replace(row, chosen=False, reason=f"{OUT}{why}") if row.chosen else row for row in climb.rows)
    text = f"{climb.precision} was left: {why}"
    return replace(climb, phase=Phase.HELD, precision=REFERENCE, backend="", rows=rows, why=text, is_up=False)


def booted(climb: Climb) -> Climb:
    """The process begins; one that ended on probation may have ended by it."""
    if climb.phase is not Phase.PROBATION or not climb.is_up:
        return climb
    counted = replace(climb, crashes=climb.crashes + 1)
    if counted.crashes >= CRASHES:
        return fallen(counted, f"the process ended with it, {counted.crashes} times")
    return counted


def stopped(climb: Climb) -> Climb:
    """The process was told to stop."""
    return replace(climb, is_up=False)
