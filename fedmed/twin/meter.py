"""What lines with a cap have carried: what goes beyond it waits until the month is over.

Trips are pure and know no earlier ones, so this is kept beside them, by whoever asks in the order of time.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from fedmed.twin.draws import Floats, Ints
from fedmed.twin.passing import GIVEN_UP_S
from fedmed.twin.world import CAPPED, COMES, Legs, World

MONTH_S = 30 * 86_400.0
MOST_MONTHS = 36
"""A message that takes longer than so many is carried after them: nobody waits for it."""


class Meter:
    """The bytes that each capped line has carried, both ways together, month by month from the beginning of the run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._caps = np.array([each.line.cap or np.inf for each in world.roster.groups])
        self._carried: defaultdict[tuple[int, int], float] = defaultdict(float)
        """By member and month."""

    def legs(
        self, nodes: Ints, at: Floats, down_bytes: float, work: Floats, up_bytes: float, free: Floats | None = None
    ) -> Legs:
        """`World.legs`, counted: a message begins, or goes on, when its line carries again."""
        legs = self._world.legs(nodes, at, down_bytes, work, up_bytes, free)
        for place in np.flatnonzero(np.isfinite(self._caps[self._world.roster.group_of(nodes)])).tolist():
            node, sent = nodes[place : place + 1], at[place : place + 1]
            begins, rest = self._booked(int(node[0]), float(sent[0]), down_bytes)
            if begins > sent[0]:
                later = self._world.legs(node, np.array([begins]), rest, work[place : place + 1], up_bytes)
                for name in ("heard", "done", "there", "lost", "told"):
                    getattr(legs, name)[place] = getattr(later, name)[0]
            if legs.lost[place] == COMES:
                legs.there[place] = self.carry("up", node, legs.done[place : place + 1], up_bytes, legs.there[place])
                if legs.there[place] - sent[0] > GIVEN_UP_S:
                    legs.there[place], legs.lost[place] = np.inf, CAPPED
        return legs

    def carry(self, way: str, node: Ints, at: Floats, size: float, uncapped: float | None = None) -> float:
        """`World.carry` for one, counted; `uncapped`: what that says, where it is known."""
        begins, rest = self._booked(int(node[0]), float(at[0]), size)
        if begins > at[0]:
            return float(self._world.carry(way, node, np.array([begins]), rest)[0])
        return float(self._world.carry(way, node, at, size)[0]) if uncapped is None else uncapped

    def _booked(self, node: int, at: float, size: float) -> tuple[float, float]:
        """When the last part of so many bytes begins, and how many that is: all of them now, or what the months leave."""
        cap = float(self._caps[self._world.roster.group_of(np.array([node]))[0]])
        if np.isinf(cap) or not np.isfinite(at):
            return at, size
        month = first = int(at // MONTH_S)
        while (left := cap - self._carried[node, month]) < size and month - first < MOST_MONTHS:
            self._carried[node, month] = cap
            size, month = size - left, month + 1
        self._carried[node, month] += size
        return max(at, month * MONTH_S), size
