"""How long a round in virtual time waits: one deadline for all, or each member's own by the rules of `federation.pace`.

What befalls everybody is known to the world beforehand, so the moment at which the center gives a member up is found when
the round begins; that is what `federation.patience.Measured` finds by looking again and again.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
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

    def expect(self, at: Floats) -> None:
        """The answers will be there at these moments; infinite: never."""

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

    def expect(self, at: Floats) -> None:
        return

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
        seconds = np.array([each.deadline_s for each in waits])
        usual, needed, self._gone = given_up(limits.world, np.array(nodes), began, seconds, limits.gone, free)
        self._usual = [(-at, place) for place, at in enumerate(usual.tolist())]
        self._needed = [(-at, place) for place, at in enumerate(needed.tolist())]
        heapq.heapify(self._usual)
        heapq.heapify(self._needed)
        self._away = np.zeros(len(nodes))

    def expect(self, at: Floats) -> None:
        held = np.flatnonzero(np.isfinite(at) & (at > self._free))
        nodes, since = np.array(self._nodes)[held], np.full(len(held), self._began)
        self._away[held] = self._limits.world.away(nodes, since, at[held])

    def due(self, is_needed: bool) -> float:
        heap = self._needed if is_needed else self._usual
        while heap and self._is_out[heap[0][1]]:
            heapq.heappop(heap)
        return -heap[0][0] if heap else self._began

    def heard(self, place: int, at: float, is_late: bool = False) -> None:
        node, pasts = self._nodes[place], self._limits.pasts
        seen = Seen(max(0.0, at - self._began - float(self._away[place])), 0.0, self._work[place])
        pasts[node] = pasts.get(node, Past()).answered(seen, is_late)

    def left(self, place: int) -> None:
        self._is_out[place] = True

    def over(self, places: Sequence[int], at: float) -> None:
        pasts = self._limits.pasts
        for place in places:
            node = self._nodes[place]
            if self._limits.world.is_there(node, at):
                pasts[node] = pasts.get(node, Past()).missing()
            elif not math.isnan(since := self._gone[place]):  # who is away has missed nothing
                self._limits.gone.setdefault(node, float(since))

    def had(self, place: int) -> str:
        wait = self._waits[place]
        return f"by the deadline of {wait.deadline_s:.0f} s ({wait.why})"


def given_up(
    world: World, nodes: Ints, began: float, deadline_s: Floats, gone_before: Mapping[int, float], free: Floats
) -> tuple[Floats, Floats, Floats]:
    """When the waiting for each ends as `federation.pace.Presence.due` has it: usually, and where the round needs it.

    The deadline moves on by each absence; one that outlasts its grace ends the waiting there. `gone_before`: since when
    those are away that are away when the round begins; `free`: until when each is there for sure. Third: since when those
    are away that were not back when that was decided.
    """
    count = len(nodes)
    usual, ends, moment = np.full(count, np.inf), began + deadline_s, np.full(count, began)
    needed = ends.copy()
    since, gone = np.full(count, np.nan), np.full(count, np.nan)
    left = np.flatnonzero(free < ends)
    while left.size:
        silent, until = world.silent(nodes[left], moment[left])
        goes = left[silent & np.isnan(since[left])]
        since[goes] = gone[goes] = moment[goes]
        for place in goes[moment[goes] == began].tolist():
            since[place] = gone_before.get(int(nodes[place]), began)
        graced = np.maximum(began, since[left] + GRACE_S)
        outlasts = silent & (until > graced)
        usual[left[outlasts]] = np.minimum(usual[left[outlasts]], graced[outlasts])
        comes = left[~silent & ~np.isnan(since[left])]
        ends[comes] += moment[comes] - gone[comes]
        since[comes] = np.nan
        last = np.where(silent, np.maximum(ends[left], since[left] + NEEDED_S), ends[left])
        is_over = until >= last
        needed[left[is_over]] = last[is_over]
        moment[left] = until
        left = left[~is_over]
    return np.where(np.isfinite(usual), usual, ends), needed, since
