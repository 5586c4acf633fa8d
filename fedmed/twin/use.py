"""What members spend their time on, and what their lines carry, by group, while rounds are played."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmed.twin.draws import Floats, Ints
from fedmed.twin.flow import Flow
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


class Use:
    """Counts as messages go out. What a member does for two rounds at once counts once."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._worked_to, self._busy_to = np.zeros(len(roster)), np.zeros(len(roster))
        self._work, self._busy = np.zeros(len(roster.groups)), np.zeros(len(roster.groups))
        self._bytes = {"down": np.zeros(len(roster.groups)), "up": np.zeros(len(roster.groups))}
        self._clinics = np.array([bool(each.members) and "/" not in each.name for each in roster.groups])
        self.flow = Flow()
        """Of the clinics' own lines."""

    def legs(self, nodes: Ints, sent: Floats, legs: Legs, down_bytes: float, up_bytes: float) -> None:
        """Messages to members that were sent then, their work, and their answers."""
        last = np.where(np.isfinite(legs.done), legs.done, np.where(np.isfinite(legs.heard), legs.heard, sent))
        self._count(self._work, self._worked_to, nodes, legs.heard, legs.done)
        self._count(self._busy, self._busy_to, nodes, sent, np.where(np.isfinite(legs.there), legs.there, last))
        self._carried("down", nodes, sent, legs.heard, down_bytes)
        self._carried("up", nodes, legs.done, legs.there, up_bytes)

    def message(self, way: str, node: int, begins: float, ends: float, size: float) -> None:
        """One message from or to somebody who does no work."""
        nodes, began, ended = np.array([node]), np.array([begins]), np.array([ends])
        self._count(self._busy, self._busy_to, nodes, began, ended)
        self._carried(way, nodes, began, ended, size)

    def _count(self, seconds: Floats, until: Floats, nodes: Ints, begins: Floats, ends: Floats) -> None:
        known = np.isfinite(begins) & np.isfinite(ends)
        nodes, begins, ends = nodes[known], begins[known], ends[known]
        more = np.maximum(0.0, ends - np.maximum(begins, until[nodes]))
        until[nodes] = np.maximum(until[nodes], ends)
        seconds += np.bincount(self._roster.group_of(nodes), more, len(seconds))

    def _carried(self, way: str, nodes: Ints, begins: Floats, ends: Floats, size: float) -> None:
        groups = self._roster.group_of(nodes)
        self._bytes[way] += size * np.bincount(groups[np.isfinite(ends)], minlength=len(self._bytes[way]))
        own = self._clinics[groups]
        self.flow.add(way, begins[own], ends[own], size)

    def spent(self, seconds: float) -> dict[str, Spent]:
        """By group, of a run that took so many seconds: what goes on after its end does not count."""
        busy = np.maximum(0.0, self._busy - self._after(self._busy_to, seconds))
        work = np.clip(self._work - self._after(self._worked_to, seconds), 0.0, busy)
        told = zip(self._roster.groups, work, busy - work, self._bytes["down"], self._bytes["up"], strict=True)
        return {group.name: Spent(*map(float, rest)) for group, *rest in told}

    def _after(self, until: Floats, seconds: float) -> Floats:
        late = np.flatnonzero(until > seconds)
        return np.bincount(self._roster.group_of(late), until[late] - seconds, len(self._work)).astype(np.float64)
