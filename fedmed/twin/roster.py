"""Who there is: clinics, devices, regions and the center by number, name and group; what a group has in common, as columns.

Numbers run through the clinics of all groups, then the devices, then the regions, and end with the center. What members of a
group differ in (cases, presence, the clock's error) is drawn by number when it is asked for, so that a million members weigh
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedmed.config.topology import CENTER, Cases, Line, Members, Topology
from fedmed.errors import ConfigError
from fedmed.twin import draws
from fedmed.twin.draws import Floats, Ints

SEGMENT = 1460
"""Bytes of payload in a packet."""
MATHIS = math.sqrt(1.5)
"""Of the rate that loss leaves to a connection (Mathis, Semke, Mahdavi, Ott 1997, section 2)."""


@dataclass(frozen=True)
class Group:
    """Members of one kind."""

    name: str
    first: int
    """Number of its first member."""
    count: int
    """Of its members; of the devices of all clinics together."""
    each: int
    """Members under one of the tier above: of devices, how many a clinic has; else all."""
    machine: str
    line: Line
    parent: int
    """The tier above, or where that is one clinic each, the first of those clinics."""
    members: Members | None = None
    """None for a region and for the center."""
    trains: bool = True


class Roster:
    """Members by number."""

    def __init__(self, topology: Topology, seed: int, paces: Mapping[str, float]) -> None:
        """`paces`: seconds for one training case once, by machine. Raises ConfigError for a machine that it lacks."""
        self.groups = tuple(groups_of(topology))
        self.clinics = sum(each.count for each in topology.clinics)
        """How many; they are numbered from 0."""
        self.regions = {each.name: group.first for each, group in zip(topology.regions, self._upper(topology), strict=True)}
        self.center = self.groups[-1].first
        self.starts = np.array([each.first for each in self.groups], dtype=np.int64)
        self.pace = np.array([_pace(each, paces) for each in self.groups])
        """Seconds a case, by group."""
        cases = [each.members.cases if each.members else Cases() for each in self.groups]
        self._median = np.array([each.median for each in cases])
        self._spread = np.array([each.spread for each in cases])
        self._trains = np.array([each.trains for each in self.groups])
        self._drawn = draws.key(seed, "cases")
        self._parent = np.array([each.parent for each in self.groups], dtype=np.int64)
        self._each = np.array([each.each for each in self.groups], dtype=np.int64)
        self._below_one = np.array(["/" in each.name for each in self.groups])
        hubs = {each.parent for each in self.groups if "/" in each.name}
        self._has_devices = np.array([each.first in hubs and "/" not in each.name for each in self.groups])
        self._numbers = {each.name: each for each in self.groups}

    def _upper(self, topology: Topology) -> Sequence[Group]:
        return self.groups[len(self.groups) - 1 - len(topology.regions) : -1]

    def __len__(self) -> int:
        return self.center + 1

    def group_of(self, nodes: Ints) -> Ints:
        """Index of each one's group."""
        if len(self.groups) == 1:
            return np.zeros(len(nodes), dtype=np.int64)
        return np.searchsorted(self.starts, nodes, side="right").astype(np.int64) - 1

    def above(self, nodes: Ints) -> Ints:
        """The tier above each; the center is above itself."""
        groups = self.group_of(nodes)
        parent = self._parent[groups]
        return np.where(self._below_one[groups], parent + (nodes - self.starts[groups]) // self._each[groups], parent)

    def cases(self, nodes: Ints) -> Floats:
        """Training cases of each, at least 1 of whoever trains: log-normal, whole."""
        groups = self.group_of(nodes)
        spread = self._spread[groups]
        found = self._median[groups]
        if spread.any():
            found = found * np.exp(spread * draws.normal(self._drawn, nodes))
        whole: Floats = np.maximum(1.0, np.rint(found)) * self._trains[groups]
        return whole

    def with_devices(self, nodes: Ints) -> Ints:
        """Places of those that have devices."""
        return np.flatnonzero(self._has_devices[self.group_of(nodes)])

    def below(self, node: int) -> Ints:
        """Who is directly under `node`."""
        return np.concatenate([np.empty(0, np.int64), *self._below(node)])

    def _below(self, node: int) -> Iterator[Ints]:
        for group in self.groups[:-1]:
            if "/" not in group.name:
                if group.parent == node:
                    yield np.arange(group.first, group.first + group.count)
            elif group.parent <= node < group.parent + group.count // group.each:
                first = group.first + (node - group.parent) * group.each
                yield np.arange(first, first + group.each)

    def weight(self, nodes: Ints) -> Floats:
        """Training cases of each and of its devices together."""
        cases = self.cases(nodes)
        for place in self.with_devices(nodes).tolist():
            cases[place] += self.cases(self.below(int(nodes[place]))).sum()
        return cases

    def name(self, node: int) -> str:
        """`large/17` for a clinic, `large/17/us/2` for a device, else its one name. Numbers in names begin at 1."""
        group = self.groups[int(np.searchsorted(self.starts, node, side="right")) - 1]
        place = node - group.first
        if group.members is None:
            return group.name
        if "/" not in group.name:
            return f"{group.name}/{place + 1}"
        clinics, devices = group.name.split("/")
        return f"{clinics}/{place // group.each + 1}/{devices}/{place % group.each + 1}"

    def span(self, who: str) -> tuple[int, int]:
        """The numbers that a name stands for, from the first up to and without the second: those of a group (`large`, or
        `large/us` for the devices of all its clinics), of the devices of one clinic (`large/17/us`), or of one member.

        Raises ConfigError for a name of nobody.
        """
        if who in self._numbers:
            return self._numbers[who].first, self._numbers[who].first + self._numbers[who].count
        clinics, *rest = who.split("/")
        if len(rest) == 2 and (devices := self._numbers.get(f"{clinics}/{rest[1]}")):
            first = self.node(f"{who}/1")
            return first, first + devices.each
        node = self.node(who)
        return node, node + 1

    def node(self, name: str) -> int:
        """The number of a name. Raises ConfigError for a name of nobody."""
        group, *rest = name.split("/")
        if len(rest) == 3 and f"{group}/{rest[1]}" in self._numbers:
            found, each = self._numbers[f"{group}/{rest[1]}"], self._numbers[f"{group}/{rest[1]}"].each
            clinic, place = _number(rest[0], found.count // each), _number(rest[2], each)
            if clinic and place:
                return found.first + (clinic - 1) * each + place - 1
        elif group in self._numbers and len(rest) == (self._numbers[group].members is not None):
            found = self._numbers[group]
            if not rest:
                return found.first
            if place := _number(rest[0], found.count):
                return found.first + place - 1
        known = ", ".join(sorted(each.name for each in self.groups))
        raise ConfigError(f"{name!r} names nobody; there are {known}, and a member's number follows behind a slash")


def _number(text: str, most: int) -> int:
    """0 for what is no number of a member."""
    return int(text) if text.isdecimal() and len(text) < 12 and 1 <= int(text) <= most else 0


def groups_of(topology: Topology) -> Iterator[Group]:
    """Clinics, their devices, regions, and the center."""
    clinics = sum(each.count for each in topology.clinics)
    devices = sum(each.count * below.count for each in topology.clinics for below in each.devices)
    numbers = {each.name: clinics + devices + place for place, each in enumerate(topology.regions)}
    numbers[CENTER] = clinics + devices + len(topology.regions)
    first, firsts = 0, dict[str, int]()
    for each in topology.clinics:
        firsts[each.name] = first
        parent = numbers[each.region or CENTER]
        yield Group(
            each.name, first, each.count, each.count, each.machine, topology.lines[each.line], parent, each, each.trains
        )
        first += each.count
    for each in topology.clinics:
        for below in each.devices:
            name, count, line = f"{each.name}/{below.name}", each.count * below.count, topology.lines[below.line]
            yield Group(name, first, count, below.count, below.machine, line, firsts[each.name], below)
            first += count
    for region in topology.regions:
        line, parent = topology.lines[region.line], numbers[region.under]
        yield Group(region.name, numbers[region.name], 1, 1, region.machine, line, parent, None, False)
    center = topology.center
    yield Group(CENTER, numbers[CENTER], 1, 1, center.machine, topology.lines[center.line], numbers[CENTER], None, False)


def _pace(group: Group, paces: Mapping[str, float]) -> float:
    if group.members is None or not group.trains:
        return 0.0
    if group.machine not in paces:
        raise ConfigError(
            f"{group.name}: nobody knows how fast {group.machine!r} is; known: {', '.join(sorted(paces)) or 'none'}"
        )
    return paces[group.machine]


def carried(line: Line, rate: float) -> float:
    """Bytes a second that one connection gets out of a line of `rate`: no more than loss and latency leave."""
    if line.loss <= 0:
        return rate
    back_and_forth = 2 * line.latency
    bound = MATHIS * SEGMENT / (back_and_forth * math.sqrt(line.loss)) if back_and_forth > 0 else math.inf
    return min(rate * (1 - line.loss), bound)


def fair_level(rates: Sequence[tuple[float, float]], total: float) -> float:
    """The rate that nobody exceeds where `total` is shared out fairly: (how many, rate of each) -> bytes a second.

    Whoever has less than that uses all it has, and leaves the rest to the others (max-min fairness; Bertsekas, Gallager
    1992, section 6.5). Infinite where there is enough for all.
    """
    left, many = total, sum(count for count, _ in rates)
    for count, rate in sorted(rates, key=lambda each: each[1]):
        if rate * many >= left:
            return left / many
        left, many = left - count * rate, many - count
    return math.inf
