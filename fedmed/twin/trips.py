"""How long a message, the work and its answer take: the one contract between who is modelled and what is run.

Where nobody has measured otherwise a message of `b` bytes is `latency + b / rate` on its way, work is operations through the
share of a machine's peak that training reaches, and what befalls a member in between (absence, a cut line, a crash) is known
to the world beforehand: a trip is the same whoever asks and whenever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Trip:
    """One message and its answer, in seconds of virtual time."""

    heard_at: float
    """The message is there whole."""
    done_at: float
    """The work is done."""
    there_at: float
    """The answer is back whole; infinite where it never comes."""
    lost: str = ""
    """Why it never comes, in words; empty where it does."""

    @property
    def is_lost(self) -> bool:
        """Whether the answer never comes."""
        return math.isinf(self.there_at)


class Trips(Protocol):
    """What `fedmed.twin.world` knows of trips."""

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Trip:
        """Of a message of `down_bytes` that is sent to `node` at `at`, answered with `up_bytes` after `work`.

        `work` is training cases times passes over them; 0 for a message that is only answered. Pure: the same arguments, the
        same trip.
        """

    def is_there(self, node: int, at: float) -> bool:
        """Whether `node` gives a sign of life at `at`."""
