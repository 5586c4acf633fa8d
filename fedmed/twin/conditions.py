"""What befalls members: who is concerned by which fault of the scenario, and which of them they are under when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fedmed.config.topology import Fault, Topology
from fedmed.twin import draws
from fedmed.twin.draws import Floats, Ints
from fedmed.twin.roster import Roster
from fedmed.twin.spells import DAY_S, Absent, Flags, Marks, Once, Outside, Process, Struck

Kind = Literal["away", "closed", "cut", "dark", "crash", "disk full", "clock", "slow"]
WORDS: dict[Kind, str] = {
    "away": "away",
    "closed": "outside its hours",
    "cut": "its line was cut",
    "dark": "dark",
    "crash": "started again after a crash",
    "disk full": "its disk was full",
    "clock": "its clock was wrong",
    "slow": "slower than usual",
}
SILENT: frozenset[Kind] = frozenset(("away", "closed", "cut", "dark", "crash"))
"""With these a line carries nothing."""
IDLE: frozenset[Kind] = frozenset(("away", "closed", "dark", "crash"))
"""With these nothing is computed."""
AGAIN_S = 1.0
"""Least time until what has crashed runs again."""


@dataclass(frozen=True)
class Condition:
    """Something that is so at times for some members."""

    kind: Kind
    process: Process
    first: int
    """Members from this number on are concerned,"""
    beyond: int
    """up to and without this one,"""
    share: float = 1.0
    """so many of them,"""
    use: int = 0
    """as this key draws them."""
    times: float = 1.0
    by: float = 0.0

    def concerned(self, nodes: Ints) -> Flags:
        """Which of `nodes`."""
        among = (self.first <= nodes) & (nodes < self.beyond)
        if self.share < 1 and among.any():
            among &= draws.uniform(self.use, nodes) < self.share
        return among

    def look(self, nodes: Ints, at: Floats) -> tuple[Flags, Floats]:
        """Whether it is so for each, and until when that stays as it is."""
        concerned = self.concerned(nodes)
        if concerned.all():
            return self.process.look(nodes, at)
        found = concerned.nonzero()[0]
        is_so, until = np.zeros(len(nodes), dtype=bool), np.full(len(nodes), np.inf)
        if found.size:
            is_so[found], until[found] = self.process.look(nodes[found], at[found])
        return is_so, until


def conditions(topology: Topology, roster: Roster, seed: int) -> tuple[Condition, ...]:
    """All that the scenario states."""
    presence = _joined(_presence(topology, roster, seed))
    faults = (each for place, fault in enumerate(topology.faults) for each in _fault(fault, place, roster, seed))
    return (*presence, *faults)


def _presence(topology: Topology, roster: Roster, seed: int) -> Iterator[Condition]:
    for group in roster.groups:
        if group.members is None:
            continue
        first, beyond, presence = group.first, group.first + group.count, group.members.presence
        if presence.share < 1:
            absent = Absent.of(draws.key(seed, "presence"), presence.spell, presence.share)
            yield Condition("away", absent, first, beyond)
        if presence.hours is not None:
            opens, closes = (seconds_of(each) for each in presence.hours.split("-"))
            if opens != closes:
                yield Condition("closed", Outside(opens, closes, seconds_of(topology.begins)), first, beyond)


def _joined(conditions: Iterable[Condition]) -> list[Condition]:
    """One in place of two for neighbours that are under the same."""
    joined = list[Condition]()
    for each in sorted(conditions, key=lambda each: (each.kind, each.first)):
        last = joined[-1] if joined else None
        if last is not None and (last.kind, last.process, last.beyond) == (each.kind, each.process, each.first):
            joined[-1] = replace(last, beyond=each.beyond)
        else:
            joined.append(each)
    return joined


def seconds_of(clock: str) -> float:
    """Since midnight, of a time such as 07:30."""
    hours, minutes = clock.split(":")
    return (int(hours) * 3600.0 + int(minutes) * 60.0) % DAY_S


def _fault(fault: Fault, place: int, roster: Roster, seed: int) -> Iterator[Condition]:
    if fault.kind == "lies":  # of the center's making, and nothing that keeps a message
        return
    lasts = max(fault.lasts, AGAIN_S) if fault.kind == "crash" else fault.lasts
    process: Process
    if fault.at is not None:
        process = Once(fault.at, fault.at + lasts)
    else:
        assert fault.every is not None
        process = Struck(Marks(draws.key(seed, "fault", place), fault.every), lasts)
    use = draws.key(seed, "befallen", place)
    first, beyond = roster.span(fault.who)
    yield Condition(fault.kind, process, first, beyond, fault.share, use, fault.times, fault.by)
