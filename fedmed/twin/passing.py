"""How transfers and work get on while lines are cut, machines are away and processes end: from one change to the next.

A transfer goes on where it stopped, as that of the product does. Work rests while its machine is away, takes longer while
it is slow, and begins anew after a crash, for its message is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedmed.twin.conditions import IDLE, SILENT, Condition
from fedmed.twin.draws import Floats, Ints
from fedmed.twin.roster import Roster
from fedmed.twin.spells import Flags

GIVEN_UP_S = 3 * 86_400.0
"""What takes longer than this never comes: as long as a center waits at most (`federation.pace.MOST_S`)."""


class Passing:
    """The time that things take under the conditions of a scenario."""

    def __init__(self, conditions: Sequence[Condition], roster: Roster) -> None:
        self._roster = roster
        self._silent = tuple(each for each in conditions if each.kind in SILENT)
        self._working = tuple(each for each in conditions if each.kind in IDLE or each.kind == "slow")
        self._slow = tuple(each for each in conditions if each.kind == "slow")
        below = len(roster) - len(roster.regions) - 1
        """Regions and the center are numbered from here on; `cut` of those is between them and whoever is below, too."""
        devices = below > roster.clinics
        self._above = tuple(
            each
            for each in self._silent
            if each.beyond > below or (devices and each.first < roster.clinics and each.kind in IDLE)
        )

    def silent(self, nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
        """Whether the line to the tier above carries nothing, and until when that stays as it is."""
        is_so, until = _any(self._silent, nodes, at)
        if self._above:
            above, longer = _any(self._above, self._roster.above(nodes), at)
            is_so, until = is_so | above, np.minimum(until, longer)
        return is_so, until

    def free_until(self, nodes: Ints, at: Floats, there: Floats | None = None) -> Floats:
        """Until when nothing is in the way of each, neither of its line nor of its work; -inf where something is now.

        `there`: until when each is there, for those that are and of which that is known.
        """
        silent, until = self.silent(nodes, at) if there is None else (np.zeros(len(nodes), dtype=bool), there)
        slow, longer = _any(self._slow, nodes, at)
        return np.where(silent | slow, -np.inf, np.minimum(until, longer))

    def carried(self, nodes: Ints, at: Floats, needed: Floats) -> Floats:
        """When a transfer is over that begins `at` and takes `needed` seconds where nothing is in the way."""
        if not self._silent and not self._above:
            return at + needed
        moment, needed, left = at.copy(), needed.copy(), np.arange(len(nodes))
        over = np.full(len(nodes), np.inf)
        while left.size:
            silent, until = self.silent(nodes[left], moment[left])
            ends = moment[left] + needed[left]
            done = ~silent & (ends <= until)
            over[left[done]] = ends[done]
            needed[left] -= np.where(silent, 0.0, until - moment[left])
            moment[left] = until
            left = left[~done & (until - at[left] <= GIVEN_UP_S)]
        return over

    def worked(self, nodes: Ints, at: Floats, needed: Floats) -> Floats:
        """When work is over that begins `at` and takes `needed` seconds where nothing is in the way."""
        if not self._working:
            return at + needed
        moment, remaining, left = at.copy(), needed.copy(), np.arange(len(nodes))
        over = np.full(len(nodes), np.inf)
        while left.size:
            pace, until = self._pace(nodes[left], moment[left])
            with np.errstate(divide="ignore", invalid="ignore"):
                ends = moment[left] + np.where(remaining[left] > 0, remaining[left] / pace, 0.0)
            done = (pace > 0) & (ends <= until)
            over[left[done]] = ends[done]
            remaining[left] -= pace * np.where(done, 0.0, until - moment[left])
            crashed = self._crashes(nodes[left], moment[left], until)
            remaining[left] = np.where(crashed, needed[left], remaining[left])
            moment[left] = until
            left = left[~done & (until - at[left] <= GIVEN_UP_S)]
        return over

    def _pace(self, nodes: Ints, at: Floats) -> tuple[Floats, Floats]:
        pace, until = np.ones(len(nodes)), np.full(len(nodes), np.inf)
        for each in self._working:
            is_so, longer = each.look(nodes, at)
            pace = np.where(is_so, pace / each.times if each.kind == "slow" else 0.0, pace)
            until = np.minimum(until, longer)
        return pace, until

    def _crashes(self, nodes: Ints, before: Floats, at: Floats) -> Flags:
        """Whether a crash comes at this very moment."""
        crashed = np.zeros(len(nodes), dtype=bool)
        finite = np.where(np.isfinite(at), at, before)
        for each in self._working:
            if each.kind == "crash":
                crashed |= each.look(nodes, finite)[0] & ~each.look(nodes, before)[0]
        return crashed


def _any(conditions: Sequence[Condition], nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
    some, until = np.zeros(len(nodes), dtype=bool), np.full(len(nodes), np.inf)
    for each in conditions:
        is_so, longer = each.look(nodes, at)
        some |= is_so
        until = np.minimum(until, longer)
    return some, until
