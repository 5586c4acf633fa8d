"""A simulated federation in virtual time: which site is which member of the topology, and how long its work takes there.

Data, training and masks are real; the topology's own numbers of cases are for learning that is modelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.config.scenario import Scenario
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError
from fedmed.federation.journal import events
from fedmed.federation.patience import work
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.underway import Trip, Trips
from fedmed.learning import inputs
from fedmed.learning import plan as planning
from fedmed.learning.order import ModelSpec, Preparation
from fedmed.learning.plan import Described
from fedmed.simulate.folder import RunFolder
from fedmed.sites.cases import Site, class_counts
from fedmed.twin.clock import MONDAY, VirtualClock
from fedmed.twin.conditions import seconds_of
from fedmed.twin.counting import cost_of
from fedmed.twin.paces import paces
from fedmed.twin.profiles import PASSES
from fedmed.twin.world import World


@dataclass(frozen=True)
class Timing:
    """What a run in virtual time goes by."""

    clock: VirtualClock
    trips: Trips
    sites: tuple[str, ...]
    members: tuple[str, ...]
    """Their names in the topology."""
    machines: tuple[str, ...]
    """Of the sites."""
    works: Mapping[str, tuple[float, ...]]
    """Cases to go through, forward and backward, by kind of message and site; what is not here is only answered."""

    @property
    def who(self) -> dict[str, str]:
        """Which member of the topology each site is."""
        return dict(zip(self.sites, self.members, strict=True))

    def work(self, node: int, kind: str) -> float:
        """What a kind of message gives a node of the grid to do."""
        return self.works[kind][node - FIRST_NODE] if kind in self.works else 0.0


@dataclass(frozen=True)
class Placed:
    """The trips of the grid's nodes; implements `Trips`."""

    world: World
    numbers: Sequence[int]
    """Members of the world, by site."""

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Trip:
        """See `Trips`."""
        return self.world.trip(self.numbers[node - FIRST_NODE], at, down_bytes, work, up_bytes)

    def all_trips(
        self, nodes: Sequence[int], at: float, down_bytes: int, works: Sequence[float], up_bytes: int
    ) -> Sequence[Trip]:
        """See `Trips`."""
        if self.world.roster.regions:
            return [self.trip(node, at, down_bytes, work, up_bytes) for node, work in zip(nodes, works, strict=True)]
        moment, worked = np.full(len(nodes), at), np.array(works, np.float64)
        legs = self.world.legs(self._numbers(nodes), moment, down_bytes, worked, up_bytes)
        return [legs.trip(place) for place in range(len(nodes))]

    def _numbers(self, nodes: Sequence[int]) -> NDArray[np.int64]:
        return np.array([self.numbers[node - FIRST_NODE] for node in nodes], np.int64)

    def is_there(self, node: int, at: float) -> bool:
        """See `Trips`."""
        return self.world.is_there(self.numbers[node - FIRST_NODE], at)

    def those_there(self, nodes: Sequence[int], at: float) -> list[int]:
        """See `Trips`."""
        present = self.world.there(self._numbers(nodes), np.full(len(nodes), at))
        return [node for node, is_there in zip(nodes, present, strict=True) if is_there]


def faults(scenario: Scenario) -> Iterator[str]:
    """What a topology asks for that real learning cannot do, each with what can be written instead."""
    topology = scenario.topology
    if topology is None:
        return
    if topology.learning != "real":
        yield f"topology.learning: got {topology.learning}; allowed where sites train: real"
        return
    if topology.masks == "timed":
        yield "topology.masks: got timed, masks that are counted and not made; with learning: real allowed: real, none"
    if topology.masks == "none" and scenario.privacy.differential_privacy is not None:
        yield "topology.masks: got none; with privacy.differential_privacy allowed: real (noise needs masks)"
    if topology.cohort is not None or topology.over != 1:
        yield "topology.cohort, over: with learning: real write strategy.options, such as fraction_train: 0.2"
    yield from _faults_of_members(topology)


def _faults_of_members(topology: Topology) -> Iterator[str]:
    for clinics in topology.clinics:
        if clinics.devices:
            names = ", ".join(each.name for each in clinics.devices)
            yield f"topology.clinics {clinics.name}: devices ({names}) do not train yet with learning: real; leave them out"
        if clinics.skew:
            yield f"topology.clinics {clinics.name}: skew of clocks is not there yet with learning: real; leave it out"
    for fault in topology.faults:
        if fault.kind in ("clock", "lies"):
            yield f"topology.faults: {fault.kind!r} of {fault.who} is not there yet with learning: real; leave it out"


def check(scenario: Scenario) -> None:
    """Raise ConfigError with all that a topology asks for in vain."""
    if found := list(faults(scenario)):
        raise ConfigError("; ".join(found))


def as_run(scenario: Scenario) -> Scenario:
    """The scenario with secure aggregation off where its topology says `masks: none`."""
    topology = scenario.topology
    if topology is None or topology.masks != "none" or not scenario.privacy.is_masked:
        return scenario
    privacy = scenario.privacy.model_copy(update={"secure_aggregation": "off"})
    return scenario.model_copy(update={"privacy": privacy})


def clock_for(topology: Topology, folder: RunFolder) -> VirtualClock:
    """The clock of a run: at its beginning, or at its last commit, from where it is taken up again."""
    clock = VirtualClock(began_unix=MONDAY + seconds_of(topology.begins))
    last = max(folder.commits.rounds(), default=0)
    for event in events(folder.path):
        if event["event"] == "committed" and event["round"] == last:
            clock.go_to(float(event["unix"]) - clock.began_unix)
    return clock


def timing_for(scenario: Scenario, sites: Sequence[Site], clock: VirtualClock) -> Timing:
    """The timing of a run on these sites: those of the topology's clinics that train, in its order.

    Raises ConfigError for machines that nobody knows, or that the model does not fit.
    """
    topology = scenario.topology
    assert topology is not None
    cost = cost_of(spec_of(scenario, sites), scenario.task.frozen)
    world = World(topology, scenario.seed, paces(scenario, cost))
    clinics = np.arange(world.roster.clinics)
    numbers = [int(each) for each in clinics[world.roster.cases(clinics) > 0]]
    members = tuple(world.roster.name(number) for number in numbers)
    names = tuple(site.name for site in sites)
    groups = world.roster.group_of(np.array(numbers, np.int64)).tolist()
    machines = tuple(world.roster.groups[group].machine for group in groups)
    return Timing(clock, Placed(world, numbers), names, members, machines, _works(scenario, sites))


def _works(scenario: Scenario, sites: Sequence[Site]) -> dict[str, tuple[float, ...]]:
    training = tuple(work(scenario.training, len(site.train)) for site in sites)
    return {"train": training, "evaluate": tuple(len(site.validation) / PASSES for site in sites)}


def spec_of(scenario: Scenario, sites: Sequence[Site]) -> ModelSpec:
    """The model that the sites will train. Raises ConfigError or DataError as `planning.make`."""
    preparation = planning.first_preparation(scenario)
    return planning.make(scenario, [_described(site, preparation) for site in sites]).spec


def _described(site: Site, preparation: Preparation) -> Described:
    train = site.train
    sample = inputs.featurise(train.take(np.arange(min(1, len(train)))), preparation)
    counts = tuple(class_counts(train).tolist())
    return Described(
        site.name, train.classes, tuple(sample.shape[1:]), {"train": len(train)}, counts, None, masks=train.has_masks
    )


def masks_of(scenario: Scenario) -> str:
    """Whether updates of a run were masked: `real` or `none`."""
    return "real" if scenario.privacy.is_masked else "none"
