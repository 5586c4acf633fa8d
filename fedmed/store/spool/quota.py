"""How much a spool may hold, and what goes first when it is full: arithmetic alone, so that the policy can be tested.

    REFUSE   what was accepted is never dropped; what does not fit is refused
    LOWER    room is made at the cost of what is less urgent than the newcomer, and of what is as urgent and has outlived
             the quota's days; the least urgent goes first, of these the oldest
    OLDEST   as LOWER, and also at the cost of what is as urgent as the newcomer, the oldest first

Under none of them does anything go that is more urgent than the newcomer, or that somebody is working on, and nothing goes
while there is room: a device whose clock jumps ahead by a year loses nothing. Work that is not real-time may not take the
last `reserve` of the room, so that an image with a patient beside it is accepted when all else is full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from fedmed.errors import ConfigError
from fedmed.store.spool.entry import REAL_TIME, SpoolFull

DAY_S = 86400.0
BLOCK = 4096
ENTRY = 512
"""Bytes that an entry takes beside its content and its facts, rounded up."""


class Policy(Enum):
    """What a full spool does; see above."""

    REFUSE = "refuse"
    LOWER = "lower"
    OLDEST = "oldest"


@dataclass(frozen=True)
class Quota:
    """What a spool may hold."""

    bytes: int = 16 * 10**9
    """On the disk; a week of one image of 16 KB a second is 12 GB."""
    days: float = 7.0
    """How long an entry stands back for none as urgent as itself, and how long what was finished is remembered."""
    policy: Policy = Policy.LOWER
    reserve: float = 0.1
    """Share of the room that is kept for real-time work."""
    ballast: int = 32 << 20
    """Bytes of disk taken at once and let go when the disk is full, so that a full disk can still be emptied; 0: none."""

    def __post_init__(self) -> None:
        faults = [
            *([] if self.bytes >= 1 << 16 else [f"bytes is {self.bytes}; the least is {1 << 16}"]),
            *([] if 0 < self.days <= 3660 else [f"days is {self.days}; allowed is more than 0, at most 3660"]),
            *([] if 0 <= self.reserve < 1 else [f"reserve is {self.reserve}; allowed is 0 to below 1"]),
            *([] if 0 <= self.ballast <= 1 << 30 else [f"ballast is {self.ballast}; allowed is 0 to {1 << 30} bytes"]),
        ]
        if faults:
            raise ConfigError(f"the spool's quota: {'; '.join(faults)}")

    def allowed(self, priority: int) -> int:
        """Bytes that may be used once an entry of this priority is in."""
        return self.bytes if priority >= REAL_TIME else self.bytes - int(self.bytes * self.reserve)


@dataclass(frozen=True)
class Candidate:
    """An entry that might go: nobody works on it."""

    number: int
    priority: int
    weight: int
    unix: float


@dataclass(frozen=True)
class Drop:
    """An entry that goes, and why."""

    number: int
    reason: str


OUTRANKED, OUTLIVED, OVERTAKEN, DAMAGED = "outranked", "outlived", "overtaken", "damaged"
"""For what is more urgent; after the quota's days; for what is newer and as urgent; it could not be read any more."""


def weight(head: int, body: int) -> int:
    """Bytes that an entry counts for: whole blocks, as it takes them on the disk."""
    return -(-(head + body + ENTRY) // BLOCK) * BLOCK


def make_room(quota: Quota, used: int, need: int, priority: int, unix: float, candidates: Iterable[Candidate]) -> list[Drop]:
    """What goes so that an entry of weight `need` fits beside `used` bytes; empty where it fits as it is.

    `candidates` come least urgent first, of these the oldest, and are read only as far as is needed. Raises SpoolFull where
    all that may go would not be enough; then nothing goes.
    """
    excess = used + need - quota.allowed(priority)
    drops: list[Drop] = []
    for candidate in candidates if excess > 0 and need <= quota.allowed(priority) else ():
        if excess <= 0 or candidate.priority > priority:
            break
        if (reason := _reason(quota, priority, unix, candidate)) is not None:
            drops.append(Drop(candidate.number, reason))
            excess -= candidate.weight
    if excess > 0:
        raise SpoolFull(
            f"the spool is full: {used} bytes are used, {need} more of priority {priority} came, and "
            f"{quota.allowed(priority)} of {quota.bytes} are allowed to it (policy {quota.policy.value!r}). "
            "Look whether what is waiting can leave, or give the spool a larger quota; nothing of this was kept"
        )
    return drops


def _reason(quota: Quota, priority: int, unix: float, candidate: Candidate) -> str | None:
    if quota.policy is Policy.REFUSE:
        return None
    if candidate.priority < priority:
        return OUTRANKED
    if unix - candidate.unix > quota.days * DAY_S:
        return OUTLIVED
    return OVERTAKEN if quota.policy is Policy.OLDEST else None
