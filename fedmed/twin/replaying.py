"""A recorded federation in virtual time: round by round the questions that its center asked, through the real state machine.

To train, then to validate where the scenario says so; the model goes down once a change, with the question that needs it
first. Sites have their own times, the center what was recorded of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from fedmed.config.recorded import Recorded
from fedmed.config.scenario import Scenario
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError
from fedmed.federation.round import Verdict
from fedmed.twin.asking import Outcome, Terms
from fedmed.twin.events import Events
from fedmed.twin.world import World


@dataclass(frozen=True)
class Spent:
    """Of a round, what a site's messages and work took, in seconds; it waited for the others for the rest."""

    down: float
    work: float
    up: float


@dataclass(frozen=True)
class Replayed:
    """One round."""

    number: int
    predicted: float
    observed: float | None
    """What the recorded round took; None where there were fewer."""
    verdict: str
    missing: Mapping[str, str]
    spent: Mapping[str, Spent]
    """By site, of those that were in it."""

    @property
    def transfer(self) -> float:
        """Share of the round in which the site that moved bytes for longest did so."""
        return max((each.down + each.up for each in self.spent.values()), default=0.0) / self.predicted


@dataclass(frozen=True)
class Replay:
    """All rounds, and what the records left open."""

    rounds: tuple[Replayed, ...]
    unknown: tuple[str, ...]

    @property
    def predicted(self) -> float:
        """Median seconds of a round."""
        return median(each.predicted for each in self.rounds)

    @property
    def observed(self) -> float:
        """Median seconds of the recorded rounds."""
        return median(each.observed for each in self.rounds if each.observed is not None)

    @property
    def error(self) -> float:
        """Of the median, as a share of what was observed."""
        return self.predicted / self.observed - 1


def replay(scenario: Scenario) -> Replay:
    """Run the rounds of a recording. Raises ConfigError for what is none, QuorumError where a round comes to nothing."""
    topology = scenario.topology
    if topology is None or topology.recorded is None:
        raise ConfigError(f"{scenario.name} has no topology.recorded; give a file that fedmed twin record wrote")
    return _Twin(scenario, topology, topology.recorded).run()


class _Twin:
    def __init__(self, scenario: Scenario, topology: Topology, recorded: Recorded) -> None:
        self._scenario, self._recorded = scenario, recorded
        trains = _paces(topology, scenario.training.batch_size)
        down, up = recorded.down, recorded.up
        terms = Terms(scenario.federation, scenario.training, down, up)
        self._anew = Events(World(topology, scenario.seed, trains), terms, reasons=True)
        self._cached = Events(self._anew.world, Terms(scenario.federation, scenario.training, 0.0, up), reasons=True)
        asked = _validating(topology, recorded, terms)
        self._asks = Events(
            World(topology, scenario.seed, asked), Terms(terms.rules, terms.training, down, 0.0), reasons=True
        )
        self._words = recorded.words * 2 * max(topology.lines[each.line].latency for each in topology.clinics)

    def run(self) -> Replay:
        at, brought, rounds = 0.0, bool(self._recorded.validates), list[Replayed]()
        for number in range(1, self._scenario.rounds + 1):
            is_last = number == self._scenario.rounds
            is_asked = bool(self._recorded.validates) and (number % self._scenario.evaluation.every == 0 or is_last)
            events = self._cached if brought else self._anew
            trained, spent = _ask(events, number, at)
            until = trained.closed
            if is_asked:
                validated, more = _ask(self._asks, number, until)
                until, spent = validated.closed, _sum(spent, more)
            until += self._recorded.center + self._words
            rounds.append(self._replayed(events.world, number, until - at, trained, spent))
            at, brought = until, is_asked
        return Replay(tuple(rounds), self._recorded.unknown)

    def _replayed(self, world: World, number: int, seconds: float, outcome: Outcome, spent: Mapping[str, Spent]) -> Replayed:
        seen = self._recorded.rounds
        missing = {_site(world, node): why for node, why in outcome.missing.items()}
        observed = seen[number - 1] if number <= len(seen) else None
        return Replayed(number, seconds, observed, outcome.verdict.value, missing, spent)


def _ask(events: Events, number: int, at: float) -> tuple[Outcome, dict[str, Spent]]:
    """One question at `at`, as often as it takes; the times are those of the attempt that counts."""
    events.clock.go_to(at)
    outcome = [each for each in events.rounds(1, number) if each.verdict is not Verdict.SHORT][-1]
    world, terms, nodes = events.world, events.terms, np.sort(outcome.joined)
    sent = np.full(len(nodes), outcome.began)
    legs = world.legs(nodes, sent, terms.down_bytes, terms.work(world.roster.cases(nodes)), terms.up_bytes)
    parts = zip(nodes.tolist(), legs.heard - sent, legs.done - legs.heard, legs.there - legs.done, strict=True)
    return outcome, {_site(world, node): Spent(float(down), float(work), float(up)) for node, down, work, up in parts}


def _site(world: World, node: int) -> str:
    """A group of one is a site of that name."""
    name, group = world.roster.name(node), world.roster.groups[int(world.roster.group_of(np.array([node]))[0])]
    return group.name if group.count == 1 else name


def _sum(one: Mapping[str, Spent], other: Mapping[str, Spent]) -> dict[str, Spent]:
    none = Spent(0.0, 0.0, 0.0)
    pairs = {name: (one.get(name, none), other.get(name, none)) for name in {**one, **other}}
    return {name: Spent(a.down + b.down, a.work + b.work, a.up + b.up) for name, (a, b) in pairs.items()}


def _paces(topology: Topology, batch: int) -> dict[str, float]:
    """Seconds a case, of every machine that somebody has. Raises ConfigError with all that have no measured step."""
    machines = topology.machines
    named = dict.fromkeys(each.machine for each in topology.clinics)
    lacking = [name for name in named if name not in machines or machines[name].step is None]
    if lacking:
        raise ConfigError(
            f"topology.machines: {', '.join(lacking)} without a step; a replay knows no model, so give each machine the "
            "seconds of a step, as fedmed calibrate measures it"
        )
    found = {name: (machines[name].step or 0.0) / batch for name in named}
    return {**found, topology.center.machine: found.get(topology.center.machine, 0.0)}


def _validating(topology: Topology, recorded: Recorded, terms: Terms) -> dict[str, float]:
    """Seconds a case that make a site's validation as long as it was; work does not take part in it."""
    found = {topology.center.machine: 0.0}
    for each in topology.clinics:
        cases = float(terms.work(np.array([each.cases.median]))[0])
        found[each.machine] = recorded.validates.get(each.name, 0.0) / max(1.0, cases)
    return found
