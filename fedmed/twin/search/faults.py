"""What goes wrong in one seed: a list of faults, drawn before anything runs, so that any part of it can be left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from fedmed.clock import generator
from fedmed.privacy.secagg.parameters import Mode

SET_UP, UPLOAD, CONFIRM, REVEAL, COMMIT = "set-up", "upload", "confirm", "reveal", "commit"
STAGES = (UPLOAD, CONFIRM, REVEAL)
MOST_FAULTS = 7
CALLS = 24
"""Calls to a disk of which one fails; a stage has fewer mostly, and the fault is none then."""


class Kind(Enum):
    """Faults, in words that a trace uses."""

    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    REQUEST_DOUBLED = "request doubled"
    ANSWER_DOUBLED = "answer doubled"
    ANSWER_LATE = "answer after its stage"
    REORDERED = "members heard in another order"
    OLD_REQUEST = "request of an earlier turn first"
    OLD_ANSWER = "answer of an earlier turn first"
    REQUEST_CORRUPT = "request corrupted"
    ANSWER_CORRUPT = "answer corrupted"
    ANSWER_OF_ANOTHER = "answer of another member first"
    GONE = "clinic gone for the turn"
    CLINIC_CRASH = "clinic's power lost at a call to its disk"
    CLINIC_RESTART = "clinic's power lost after its answer"
    CLINIC_FSYNC = "clinic's disk says synced and is not, and its power is lost"
    CLINIC_CLOCK = "clinic's clock set"
    CENTER_CRASH = "center's power lost at a call to its disk"
    CENTER_STOPS = "center's power lost after an answer"
    CENTER_FSYNC = "center's disk says synced and is not, and its power is lost"
    CENTER_RESTORED = "center restored from the copy of its last turn"
    CENTER_CLOCK = "center's clock set"


OF_CENTER = frozenset(each for each in Kind if each.name.startswith("CENTER"))

OF_DISK = frozenset((Kind.CLINIC_CRASH, Kind.CLINIC_RESTART, Kind.CLINIC_FSYNC))


@dataclass(frozen=True)
class Fault:
    """One fault and where it strikes."""

    kind: Kind
    turn: int
    """From 0; a turn is an attempt at a round."""
    stage: str
    member: int
    """Index of the roster."""
    choice: int
    """Whatever else the fault has to choose, 0 to 2^31 - 1."""

    def __str__(self) -> str:
        return f"turn {self.turn}, {self.stage}, member {self.member}: {self.kind.value} ({self.choice})"


@dataclass(frozen=True)
class Plan:
    """A seed's federation and its faults."""

    seed: int
    members: int
    mode: Mode
    turns: int
    """Turns with faults; what follows is without."""
    plays_set_up: bool
    """Whether the epoch is set up message by message, or taken as one that was set up without a fault."""
    faults: tuple[Fault, ...]

    @property
    def on_disk(self) -> frozenset[int]:
        """Members whose power may go: their keystores are files, the others' are in memory."""
        return frozenset(each.member for each in self.faults if each.kind in OF_DISK)

    def without(self, fault: Fault) -> Plan:
        """The same, spared one fault."""
        return replace(self, faults=tuple(each for each in self.faults if each is not fault))


def plan(seed: int) -> Plan:
    """What a seed stands for: always the same."""
    draw = generator(seed, "fault search", "plan")
    members = int(draw.choice([3, 4, 4, 4, 5]))
    mode: Mode = "hbc" if draw.random() < 0.15 else "malicious"
    turns = int(draw.integers(1, 4))
    plays_set_up = bool(draw.random() < 0.1)
    count = int(draw.integers(0, MOST_FAULTS + 1))
    faults = tuple(_fault(draw, turns, members, plays_set_up) for _ in range(count))
    return Plan(seed, members, mode, turns, plays_set_up, faults)


def _fault(draw: np.random.Generator, turns: int, members: int, plays_set_up: bool) -> Fault:
    kind = list(Kind)[int(draw.integers(len(Kind)))]
    stages = [*STAGES, COMMIT] if kind in OF_CENTER else [*STAGES, *([SET_UP] if plays_set_up else [])]
    stage = stages[int(draw.integers(len(stages)))]
    turn, member, choice = int(draw.integers(turns)), 1 + int(draw.integers(members)), int(draw.integers(2**31))
    return Fault(kind, 0 if stage == SET_UP else turn, stage, member, choice)
