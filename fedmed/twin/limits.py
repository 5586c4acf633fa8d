"""How long a round in virtual time waits: one deadline for all, or each member's own by the rules of `federation.pace`.

What befalls everybody is known to the world beforehand, so the moment at which the center gives a member up is found when
the round begins; that is what `federation.patience.Measured` finds by looking again and again.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fedmed.federation.pace import GRACE_S, NEEDED_S, Past, Seen, Wait, wait_for
from fedmed.twin.asking import had_until
from fedmed.twin.draws import Floats, Ints
from fedmed.twin.world import World


class Limit(Protocol):
    """The waiting of one round."""

    def due(self, is_needed: bool) -> float:
        """When it ends if nobody else answers; `is_needed`: the round fails without those that are missing."""

    def heard(self, place: int, at: float, is_late: bool = False) -> None:
        """The member at `place` of the cohort has answered."""

    def left(self, place: int) -> None:
        """The member at `place` is waited for no longer."""

    def over(self, places: Sequence[int], at: float) -> None:
        """The round is closed, and these had not answered."""

    def had(self, place: int) -> str:
        """The time that a member had, in words that follow `no answer`."""


class Limits(Protocol):
    """The waiting of all rounds of a run."""

    def begin(self, nodes: Ints, began: float, work: Sequence[float], size: float) -> Limit:
        """That of one round, whose messages of `size` bytes went out at `began`; `work` of each, in cases times passes."""


@dataclass(frozen=True)
class _Same:
    began: float
    deadline_s: float

    def due(self, is_needed: bool) -> float:
        return self.began + self.deadline_s

    def heard(self, place: int, at: float, is_late: bool = False) -> None:
        return

    def left(self, place: int) -> None:
        return

    def over(self, places: Sequence[int], at: float) -> None:
        return

    def had(self, place: int) -> str:
        return had_until(self.deadline_s)


@dataclass(frozen=True)
class Same:
    """The same time for all."""

    deadline_s: float

    def begin(self, nodes: Ints, began: float, work: Sequence[float], size: float) -> Limit:
        """See `Limits`."""
        return _Same(began, self.deadline_s)


@dataclass
class Own:
    """Each member's own, out of what was seen of it in earlier rounds."""

    world: World
    pasts: dict[int, Past] = field(default_factory=dict)
    gone: dict[int, float] = field(default_factory=dict)
    """Members that were away when a round began, and the first such moment: a grace is one for each absence."""

    def begin(self, nodes: Ints, began: float, work: Sequence[float], size: float) -> Limit:
        """See `Limits`."""
        weights = [max(1.0, each) for each in work]
        members = [int(node) for node in nodes]
        waits = [wait_for(self.pasts.get(m, Past()), w, int(size)) for m, w in zip(members, weights, strict=True)]
        silent, until = self.world.silent(nodes, np.full(len(nodes), began))
        for node, is_away in zip(members, silent, strict=True):
            if is_away:
                self.gone.setdefault(node, began)
            else:
                self.gone.pop(node, None)
        return _Own(self, members, began, weights, waits, np.where(silent, -np.inf, until))


class _Own:
    def __init__(
        self, limits: Own, nodes: list[int], began: float, work: list[float], waits: list[Wait], free: Floats
    ) -> None:
        self._limits, self._nodes, self._began, self._work, self._waits = limits, nodes, began, work, waits
        self._free = free
        """Until when each is there for sure."""
        self._is_out = bytearray(len(nodes))
        both = [self._both(place) for place in range(len(nodes))]
        self._usual = [(-each[0], place) for place, each in enumerate(both)]
        self._needed = [(-each[1], place) for place, each in enumerate(both)]
        heapq.heapify(self._usual)
        heapq.heapify(self._needed)

    def _both(self, place: int) -> tuple[float, float]:
        node, seconds = self._nodes[place], self._waits[place].deadline_s
        if self._free[place] >= self._began + seconds:
            return self._began + seconds, self._began + seconds
        return given_up(self._limits.world.absences(node, self._began), self._began, seconds, self._limits.gone.get(node))

    def due(self, is_needed: bool) -> float:
        heap = self._needed if is_needed else self._usual
        while heap and self._is_out[heap[0][1]]:
            heapq.heappop(heap)
        return -heap[0][0] if heap else self._began

    def heard(self, place: int, at: float, is_late: bool = False) -> None:
        node, pasts = self._nodes[place], self._limits.pasts
        away = 0.0 if at <= self._free[place] else self._limits.world.away(node, self._began, at)
        seen = Seen(max(0.0, at - self._began - away), 0.0, self._work[place])
        pasts[node] = pasts.get(node, Past()).answered(seen, is_late)

    def left(self, place: int) -> None:
        self._is_out[place] = True

    def over(self, places: Sequence[int], at: float) -> None:
        pasts = self._limits.pasts
        for node in (self._nodes[place] for place in places):
            if self._limits.world.is_there(node, at):  # who is away has missed nothing
                pasts[node] = pasts.get(node, Past()).missing()

    def had(self, place: int) -> str:
        wait = self._waits[place]
        return f"by the deadline of {wait.deadline_s:.0f} s ({wait.why})"


def given_up(
    absences: Iterable[tuple[float, float]], began: float, deadline_s: float, gone_before: float | None = None
) -> tuple[float, float]:
    """When the waiting for a member ends as `federation.pace.Presence.due` has it: usually, and where the round needs it.

    `absences` are its times away from `began` on, and `gone_before` since when it was away then. The deadline moves on by
    each absence; one that outlasts its grace ends the waiting there.
    """
    usual, end = math.inf, began + deadline_s
    for gone, back in absences:
        if gone >= end:
            break
        since = gone if gone > began or gone_before is None else gone_before
        if back > since + GRACE_S:
            usual = min(usual, max(began, since + GRACE_S))
        if back > max(end, since + NEEDED_S):
            return min(usual, end), max(end, since + NEEDED_S)
        end += back - gone
    return min(usual, end), end
