"""A federation whose learning is modelled: its rounds in virtual time through the real state machine, no weight anywhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.federation.round import Verdict
from fedmed.twin.asking import Outcome, Terms
from fedmed.twin.events import Events
from fedmed.twin.paces import paces
from fedmed.twin.planning.cost import Cost
from fedmed.twin.planning.members import Messages
from fedmed.twin.trace import Trace
from fedmed.twin.use import Use
from fedmed.twin.world import World

REAL_ONLY = ("lies",)
"""Faults that are seen where messages are real alone."""


def check(scenario: Scenario) -> None:
    """Raise ConfigError with all that a scenario asks for and a modelled run cannot show."""
    topology, found = scenario.topology, list[str]()
    if topology is None:
        raise ConfigError(f"{scenario.name} has no topology: there is nobody whose rounds could be modelled")
    if topology.masks == "real":
        found.append("topology.masks: got real; allowed with learning: modelled: timed, none (there is nothing to mask)")
    if topology.recorded is not None:
        found.append("topology.recorded: a recording is run by fedmed twin replay")
    for fault in topology.faults:
        if fault.kind in REAL_ONLY:
            found.append(f"topology.faults: {fault.kind!r} of {fault.who} is played with learning: real alone; leave it out")
    if found:
        raise ConfigError("; ".join(found))


@dataclass(frozen=True)
class Attempt:
    """One attempt at a round, in seconds of virtual time since the run began and in bytes on the clinics' own lines."""

    number: int
    attempt: int
    began: float
    closed: float
    verdict: str
    asked: int
    joined: int
    devices: int
    """Of those clinics, whose updates are in theirs."""
    down_bytes: float
    """The model, to everybody who was asked."""
    up_bytes: float
    """The updates that are in the sum."""
    missing: dict[str, str]
    """Each clinic that is not in the sum, and why."""
    last: str = ""
    """Whose answer was the last one in the sum."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.closed - self.began

    @property
    def is_short(self) -> bool:
        """Whether nothing came of it."""
        return self.verdict == Verdict.SHORT.value

    def reasons(self) -> Counter[str]:
        """How many are missing for which reason."""
        return Counter(self.missing.values())


class Modelled:
    """The rounds of a scenario whose model costs `cost`."""

    def __init__(self, scenario: Scenario, cost: Cost, trace: Trace | None = None) -> None:
        """Raises ConfigError as `check`, and where the model does not fit a machine."""
        check(scenario)
        assert scenario.topology is not None
        self._rounds = scenario.rounds
        self.messages = Messages.of(scenario, cost)
        world = World(scenario.topology, scenario.seed, paces(scenario, cost), _masking(scenario, cost))
        terms = Terms(scenario.federation, scenario.training, self.messages.model, self.messages.update)
        self.use = Use(world.roster)
        self._events = Events(world, terms, trace, reasons=True, use=self.use)

    def attempts(self) -> Iterator[Attempt]:
        """Every attempt. Raises QuorumError where all attempts at a round were short, FederationError where nobody comes."""
        return map(self._told, self._events.rounds(self._rounds))

    def _told(self, outcome: Outcome) -> Attempt:
        self.use.settle(outcome.closed)
        name = self._events.world.roster.name
        return Attempt(
            outcome.number,
            outcome.attempt,
            outcome.began,
            outcome.closed,
            outcome.verdict.value,
            len(outcome.asked),
            len(outcome.joined),
            outcome.devices,
            self.messages.model * len(outcome.asked),
            self.messages.update * len(outcome.joined),
            {name(node): reason for node, reason in outcome.missing.items()},
            name(int(outcome.joined[-1])) if len(outcome.joined) else "",
        )


def _masking(scenario: Scenario, cost: Cost) -> float:
    """Seconds of a clinic for the masks of one update; 0 where none are counted."""
    topology = scenario.topology
    if topology is None or topology.masks != "timed" or not scenario.privacy.is_masked:
        return 0.0
    from fedmed.twin import masking  # it knows the protocol, which no other modelled run needs

    every = sum(each.count for each in topology.clinics)
    asked = every if topology.cohort is None else min(every, math.ceil(topology.cohort * topology.over))
    return masking.seconds(asked, cost.trained, scenario.privacy.lanes)
