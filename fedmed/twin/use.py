"""What members spend their time on, and what their lines carry, by group, while rounds are played."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmed.twin.draws import Floats, Ints
from fedmed.twin.flow import WAYS, Flow
from fedmed.twin.roster import Roster
from fedmed.twin.world import Legs


@dataclass(frozen=True)
class Spent:
    """Of all members of a group together."""

    work_s: float = 0.0
    line_s: float = 0.0
    """With a message under way, or waiting to be heard, and not at work."""
    down_bytes: float = 0.0
    up_bytes: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.work_s + other.work_s,
            self.line_s + other.line_s,
            self.down_bytes + other.down_bytes,
            self.up_bytes + other.up_bytes,
        )


class _Covered:
    """Seconds that are covered at least once, by group: what members did at a time, and what they are yet to do."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._until = np.zeros(len(roster))
        self._over = np.zeros(len(roster.groups))
        self._to_come: list[tuple[Ints, Floats, Floats]] = []
        """Groups, beginnings and ends of pieces, no two of a member at once."""

    def add(self, nodes: Ints, begins: Floats, ends: Floats) -> None:
        """Spans of members; each begins no earlier than the one before it of the same member."""
        begins = np.maximum(begins, self._until[nodes])
        known = np.isfinite(begins) & np.isfinite(ends) & (ends > begins)
        nodes, begins, ends = nodes[known], begins[known], ends[known]
        self._until[nodes] = ends
        self._to_come.append((self._roster.group_of(nodes), begins, ends))

    def settle(self, now: float) -> None:
        """Nothing that ends by now is looked at again."""
        groups, begins, ends = self._pieces()
        is_over = ends <= now
        self._over += self._sums(groups[is_over], (ends - begins)[is_over])
        self._to_come = [(groups[~is_over], begins[~is_over], ends[~is_over])]

    def seconds(self, until: float) -> Floats:
        """Of each group, up to a moment that is no earlier than what was settled."""
        groups, begins, ends = self._pieces()
        return self._over + self._sums(groups, np.maximum(0.0, np.minimum(ends, until) - begins))

    def _pieces(self) -> tuple[Ints, Floats, Floats]:
        found = [(np.empty(0, np.int64), np.empty(0), np.empty(0)), *self._to_come]
        groups, begins, ends = (np.concatenate([each[place] for each in found]) for place in range(3))
        return groups.astype(np.int64), begins, ends

    def _sums(self, groups: Ints, seconds: Floats) -> Floats:
        return np.bincount(groups, seconds, len(self._over)).astype(np.float64)


class Use:
    """Counts as messages go out. What a member does for two rounds at once counts once."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._work, self._busy = _Covered(roster), _Covered(roster)
        self._bytes = {way: np.zeros(len(roster.groups)) for way in WAYS}
        self._clinics = np.array([bool(each.members) and "/" not in each.name for each in roster.groups])
        self.flow = Flow()
        """Of the clinics' own lines."""

    def legs(self, nodes: Ints, sent: Floats, legs: Legs, down_bytes: float, up_bytes: float) -> None:
        """Messages to members that were sent then, their work, and their answers."""
        last = np.where(np.isfinite(legs.done), legs.done, np.where(np.isfinite(legs.heard), legs.heard, sent))
        self._work.add(nodes, legs.heard, legs.done)
        self._busy.add(nodes, sent, np.where(np.isfinite(legs.there), legs.there, last))
        self._carried("down", nodes, sent, legs.heard, down_bytes)
        self._carried("up", nodes, legs.done, legs.there, up_bytes)

    def message(self, way: str, node: int, begins: float, ends: float, size: float) -> None:
        """One message from or to somebody who does no work."""
        nodes, began, ended = np.array([node]), np.array([begins]), np.array([ends])
        self._busy.add(nodes, began, ended)
        self._carried(way, nodes, began, ended, size)

    def settle(self, now: float) -> None:
        """The run goes on at least until now, so that what is over need not be kept."""
        self._work.settle(now)
        self._busy.settle(now)

    def _carried(self, way: str, nodes: Ints, begins: Floats, ends: Floats, size: float) -> None:
        groups = self._roster.group_of(nodes)
        self._bytes[way] += size * np.bincount(groups[np.isfinite(ends)], minlength=len(self._bytes[way]))
        own = self._clinics[groups]
        self.flow.add(way, begins[own], ends[own], size)

    def spent(self, seconds: float) -> dict[str, Spent]:
        """By group, of a run that took so many seconds: what goes on after its end does not count."""
        work, busy = self._work.seconds(seconds), self._busy.seconds(seconds)
        line = np.maximum(0.0, busy - work)
        told = zip(self._roster.groups, work, line, self._bytes["down"], self._bytes["up"], strict=True)
        return {group.name: Spent(*map(float, rest)) for group, *rest in told}
