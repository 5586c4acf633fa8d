"""The world of a scenario: how long messages, work and answers take for each member, and what befalls them on the way.

All that is asked of it is pure. It is computed for many members at once (`legs`), and for one alone as for many of one.

    a message of b bytes     latency + b / rate; the rate is what loss leaves of the line, and no more than a fair share
                             of the line above, where all who are asked send at once
    work                     cases times passes times the machine's seconds a case
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.config.topology import Topology
from fedmed.twin import draws
from fedmed.twin.conditions import SILENT, WORDS, Condition, conditions
from fedmed.twin.draws import Floats, Ints
from fedmed.twin.passing import GIVEN_UP_S, Passing
from fedmed.twin.roster import Roster, carried, fair_level
from fedmed.twin.trips import Trip

Passed = Callable[[Ints, Floats, Floats], Floats]
COMES, DROPPED, FULL, AWAY, CAPPED = range(5)
LOST = (
    "",
    "it dropped out of this round",
    "its disk was full",
    f"not there within {GIVEN_UP_S / 86_400:.0f} days",
    "its line had carried all that it may in a month",
)
"""Why an answer never comes, by code."""


@dataclass(frozen=True)
class Legs:
    """Messages to many members, their work and their answers: `Trip` as columns, one entry a member."""

    heard: Floats
    done: Floats
    there: Floats
    lost: NDArray[np.int8]
    """Code of `LOST`."""
    told: Floats
    """When it is told that the answer does not come, by whoever found that out; infinite where nobody says so."""

    def trip(self, place: int) -> Trip:
        """Of one of them."""
        heard, done, there = (float(each[place]) for each in (self.heard, self.done, self.there))
        return Trip(heard, done, there, LOST[self.lost[place]])


class World:
    """Implements `Trips`."""

    def __init__(self, topology: Topology, seed: int, paces: Mapping[str, float], masking_s: float = 0.0) -> None:
        """`paces`: seconds for one training case once, by machine; `masking_s`: a clinic's for the masks of an update.

        Raises ConfigError for what names nobody.
        """
        self.topology, self.seed, self._masking_s = topology, seed, masking_s
        self.roster = Roster(topology, seed, paces)
        self.conditions = conditions(topology, self.roster, seed)
        self._passing = Passing(self.conditions, self.roster)
        members = [each.members for each in self.roster.groups]
        self._dropout = np.array([each.dropout if each else 0.0 for each in members])
        self._slower = np.array([each.slower.share if each else 0.0 for each in members])
        self._times = np.array([each.slower.times if each else 1.0 for each in members])
        self._skew = np.array([each.skew if each else 0.0 for each in members])
        self._is_filling = any(each.kind == "disk full" for each in self.conditions)
        self._lines()
        uses = ("dropout", "slower", "jitter down", "jitter up", "skew")
        self._uses = {each: draws.key(seed, each) for each in uses}

    def _lines(self) -> None:
        groups, center = self.roster.groups, self.roster.center
        by_first = {each.first: each for each in groups}
        share = min(1.0, (self.topology.cohort or self.roster.clinics) * self.topology.over / self.roster.clinics)
        levels = {node: self._levels(node, share) for node in (*self.roster.regions.values(), center)}
        apart = (np.inf, np.inf)
        self._down = np.array(
            [min(carried(each.line, each.line.down), levels.get(each.parent, apart)[0]) for each in groups]
        )
        self._up = np.array([min(carried(each.line, each.line.up), levels.get(each.parent, apart)[1]) for each in groups])
        above = [
            by_first[each.parent].line.latency if each.parent in levels and each.first != center else 0.0 for each in groups
        ]
        self._latency = np.array([each.line.latency for each in groups]) + np.array(above)
        self._jitter = np.array([each.line.jitter for each in groups])

    def _levels(self, node: int, share: float) -> tuple[float, float]:
        """Most that anyone below `node` gets of its line where all who are asked send at once: down, up."""
        line = next(each.line for each in self.roster.groups if each.first == node)
        below = [each for each in self.roster.groups[:-1] if each.parent == node and "/" not in each.name]
        if not below:
            return np.inf, np.inf
        asked = [max(1.0, each.count * (share if each.members else 1.0)) for each in below]
        down = [(many, carried(each.line, each.line.down)) for many, each in zip(asked, below, strict=True)]
        up = [(many, carried(each.line, each.line.up)) for many, each in zip(asked, below, strict=True)]
        return fair_level(down, line.up), fair_level(up, line.down)

    def legs(
        self, nodes: Ints, at: Floats, down_bytes: float, work: Floats, up_bytes: float, free: Floats | None = None
    ) -> Legs:
        """Messages of the tier above to `nodes`, each sent at its moment of `at`, answered after `work`.

        `free`: until when each of them is there for sure, where somebody has looked at that already.
        """
        groups = self.roster.group_of(nodes)
        needed = work * self.roster.pace[groups] + np.where(nodes < self.roster.clinics, self._masking_s, 0.0)
        if self._slower.any():
            slower = (work > 0) & (draws.uniform(self._uses["slower"], nodes, at) < self._slower[groups])
            needed = np.where(slower, needed * self._times[groups], needed)
        down, up = self._on_line("down", nodes, at, down_bytes), self._on_line("up", nodes, at, up_bytes)
        heard = at + down
        done = heard + needed
        there = done + up
        held = np.flatnonzero(there > self._passing.free_until(nodes, at, free))
        if held.size:  # the others meet nothing on their way
            who = nodes[held]
            heard[held] = self._where_finite(self._passing.carried, who, at[held], down[held])
            done[held] = self._where_finite(self._passing.worked, who, heard[held], needed[held])
            there[held] = self._where_finite(self._passing.carried, who, done[held], up[held])
        lost = self._lost(nodes, at, work, done, there)
        told = np.full(len(nodes), np.inf)
        if (full := np.flatnonzero(lost == FULL)).size:
            told[full] = self.carry("up", nodes[full], done[full], 0.0)
        return Legs(heard, done, np.where(lost == COMES, there, np.inf), lost, told)

    def _lost(self, nodes: Ints, at: Floats, work: Floats, done: Floats, there: Floats) -> NDArray[np.int8]:
        lost = np.zeros(len(nodes), dtype=np.int8)
        if self._is_filling:
            lost[self._is_full(nodes, done)] = FULL
        if self._dropout.any():
            chance = self._dropout[self.roster.group_of(nodes)]
            lost[(work > 0) & (draws.uniform(self._uses["dropout"], nodes, at) < chance)] = DROPPED
        lost[np.isinf(there) & (lost == COMES)] = AWAY
        return lost

    def carry(self, way: str, nodes: Ints, at: Floats, size: float) -> Floats:
        """When what is sent `at` is there whole: `down` from the tier above, or `up` to it. Infinite stays infinite."""
        return self._where_finite(self._passing.carried, nodes, at, self._on_line(way, nodes, at, size))

    def _on_line(self, way: str, nodes: Ints, at: Floats, size: float) -> Floats:
        """Seconds that a message takes where nothing is in its way; `at` names it, for what is drawn."""
        groups = self.roster.group_of(nodes)
        needed: Floats = self._latency[groups] + size / (self._down if way == "down" else self._up)[groups]
        if self._jitter.any():
            drawn = draws.normal(self._uses[f"jitter {way}"], nodes, at)
            needed = np.maximum(needed + self._jitter[groups] * drawn, 0.5 * needed)
        return needed

    def worked(self, nodes: Ints, at: Floats, needed: Floats) -> Floats:
        """When work of `needed` seconds that begins `at` is over; infinite stays infinite."""
        return self._where_finite(self._passing.worked, nodes, at, needed)

    @staticmethod
    def _where_finite(passing: Passed, nodes: Ints, at: Floats, needed: Floats) -> Floats:
        finite = np.isfinite(at)
        if finite.all():
            return passing(nodes, at, needed)
        over = np.full(len(nodes), np.inf)
        over[finite] = passing(nodes[finite], at[finite], needed[finite])
        return over

    def _is_full(self, nodes: Ints, at: Floats) -> NDArray[np.bool_]:
        full, finite = np.zeros(len(nodes), dtype=bool), np.isfinite(at)
        for each in self.conditions:
            if each.kind == "disk full":
                full |= each.look(nodes, np.where(finite, at, 0.0))[0] & finite
        return full

    def there(self, nodes: Ints, at: Floats) -> NDArray[np.bool_]:
        """Which of `nodes` give a sign of life at their moment of `at`."""
        return ~self._passing.silent(nodes, at)[0]

    def silent(self, nodes: Ints, at: Floats) -> tuple[NDArray[np.bool_], Floats]:
        """Which of `nodes` give no sign of life, and until when that stays so at least."""
        return self._passing.silent(nodes, at)

    def away(self, nodes: Ints, since: Floats, until: Floats) -> Floats:
        """Seconds between two moments for which each gave no sign of life."""
        seconds, moment = np.zeros(len(nodes)), since.copy()
        left = np.flatnonzero(moment < until)
        while left.size:
            silent, changes = self.silent(nodes[left], moment[left])
            after = np.minimum(changes, until[left])
            seconds[left] += np.where(silent, after - moment[left], 0.0)
            moment[left] = after
            left = left[after < until[left]]
        return seconds

    def is_there(self, node: int, at: float) -> bool:
        """See `Trips`."""
        return bool(self.there(np.array([node]), np.array([at]))[0])

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Trip:
        """See `Trips`: to a clinic or a region from the center, through all regions between; to a device from its clinic."""
        path, one = self.path(node), np.array([at])
        for each in path[:-1]:
            one = self.carry("down", np.array([each]), one, down_bytes)
        legs = self.legs(np.array([node]), one, down_bytes, np.array([float(work)]), up_bytes)
        there = legs.there
        for each in reversed(path[:-1]):
            there = self.carry("up", np.array([each]), there, up_bytes)
        lost = LOST[legs.lost[0]] or (LOST[AWAY] if np.isinf(there[0]) else "")
        return Trip(float(legs.heard[0]), float(legs.done[0]), float(there[0]), lost)

    def path(self, node: int) -> list[int]:
        """Regions from the center down, and `node`."""
        path = [node]
        regions = self.roster.regions.values()
        while (above := int(self.roster.above(np.array(path[:1]))[0])) in regions:
            path.insert(0, above)
        return path

    def clock_error(self, node: int, at: float) -> float:
        """Seconds by which a member's clock is ahead at `at`."""
        one, moment = np.array([node]), np.array([at])
        drawn = float(self._skew[self.roster.group_of(one)][0] * draws.normal(self._uses["skew"], one)[0])
        return drawn + sum(each.by for each in self.conditions if each.kind == "clock" and each.look(one, moment)[0][0])

    def befell(self, node: int, since: float, until: float) -> str:
        """What kept `node` in a round that began at `since`, until a moment, in words; empty where nothing did."""
        said, above = [], int(self.roster.above(np.array([node]))[0])
        for each in self.conditions:
            for who in dict.fromkeys((node, above)):
                if (who == node or each.kind in SILENT) and (seconds := _lasted(each, who, since, until)) > 0:
                    whose = "" if who == node else f"{self.roster.name(who)}: "
                    said.append(f"{whose}{WORDS[each.kind]} for {seconds:.0f} s")
        one, moment = np.array([node]), np.array([since])
        slower = self._slower[self.roster.group_of(one)][0]
        if slower > 0 and draws.uniform(self._uses["slower"], one, moment)[0] < slower:
            said.append("slower than usual in this round")
        return ", ".join(said)


def _lasted(condition: Condition, node: int, since: float, until: float) -> float:
    """Seconds between two moments for which a condition held."""
    one, moment, lasted = np.array([node]), since, 0.0
    while moment < until:
        is_so, changes = condition.look(one, np.array([moment]))
        after = min(float(changes[0]), until)
        lasted += after - moment if is_so[0] else 0.0
        moment = after
    return lasted
