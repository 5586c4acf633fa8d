"""A simulated federation in virtual time: which site is which member of the topology, and how long its work takes there.

Data, training and masks are real; the topology's own numbers of cases are for learning that is modelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedmed.config.members import trainers
from fedmed.config.scenario import Scenario
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError
from fedmed.federation.journal import events
from fedmed.federation.patience import work
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.underway import Trips
from fedmed.learning import inputs
from fedmed.learning import plan as planning
from fedmed.learning.order import ModelSpec, Preparation
from fedmed.learning.plan import Described
from fedmed.simulate import dishonest
from fedmed.simulate.devices import Dealt
from fedmed.simulate.folder import RunFolder
from fedmed.simulate.placing import Below, Placed
from fedmed.sites.cases import Site, class_counts
from fedmed.tiers.round import Rules
from fedmed.tiers.terms import privacy_fault
from fedmed.twin.clock import MONDAY, VirtualClock
from fedmed.twin.conditions import seconds_of
from fedmed.twin.counting import cost_of
from fedmed.twin.paces import paces
from fedmed.twin.profiles import PASSES
from fedmed.twin.world import World

LANE_BYTES = 4
"""Of a value in a device's update (`tiers.terms.layout_for`)."""


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
    below: Below | None = None
    """Devices, which stand behind the clinics in all that is by site."""

    @property
    def who(self) -> dict[str, str]:
        """Which member of the topology each site is."""
        return dict(zip(self.sites, self.members, strict=True))

    @property
    def devices(self) -> dict[str, str]:
        """Of each device, its clinic; both as sites."""
        under = {} if self.below is None else self.below.under
        return {self.sites[each]: self.sites[node - FIRST_NODE] for node, devices in under.items() for each in devices}

    def work(self, node: int, kind: str) -> float:
        """What a kind of message gives a node of the grid to do."""
        return self.works[kind][node - FIRST_NODE] if kind in self.works else 0.0


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
    yield from dishonest.faults(scenario)
    if has_devices(topology):
        yield from _faults_of_devices(scenario)


def has_devices(topology: Topology) -> bool:
    """Whether any clinic has devices."""
    return any(clinics.devices for clinics in topology.clinics)


def _faults_of_devices(scenario: Scenario) -> Iterator[str]:
    if scenario.engine.name != "inprocess":
        yield f"engine.name: got {scenario.engine.name}; allowed where clinics have devices that train: inprocess"
    private = scenario.privacy.differential_privacy
    if private is not None and (fault := privacy_fault(private.mode)):
        yield f"privacy.differential_privacy: {fault}"


def _faults_of_members(topology: Topology) -> Iterator[str]:
    for clinics in topology.clinics:
        if not clinics.trains:
            yield f"topology.clinics {clinics.name}: trains: false is not there yet with learning: real; give it cases"
        if clinics.skew:
            yield f"topology.clinics {clinics.name}: skew of clocks is not there yet with learning: real; leave it out"
    for fault in topology.faults:
        if fault.kind == "clock":
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


def timing_for(scenario: Scenario, dealt: Dealt, clock: VirtualClock) -> Timing:
    """The timing of a run on these sites: those of the topology's members that train, in its order.

    Raises ConfigError for machines that nobody knows, or that the model does not fit.
    """
    topology = scenario.topology
    assert topology is not None
    sites, own = dealt.all, len(dealt.clinics)
    cost = cost_of(spec_of(scenario, dealt.clinics), (*scenario.task.frozen, *scenario.task.local))
    world = World(topology, scenario.seed, paces(scenario, cost))
    named = [name.replace("#", "/") for name in trainers(topology)]
    members = (*(each for each in named if each.count("/") == 1), *(each for each in named if each.count("/") > 1))
    numbers = [world.roster.node(member) for member in members]
    groups = world.roster.group_of(np.array(numbers, np.int64)).tolist()
    machines = tuple(world.roster.groups[group].machine for group in groups)
    placed, works, names = Placed(world, numbers[:own]), _works(scenario, sites), tuple(site.name for site in sites)
    below = None
    if dealt.devices:
        under = {number + FIRST_NODE: devices for number, devices in dealt.under.items()}
        size = LANE_BYTES * cost.trained
        below = Below(world, placed, numbers, under, works["train"], size, hub_rules(scenario), names)
    return Timing(clock, placed, names, members, machines, works, below)


def hub_rules(scenario: Scenario) -> Rules:
    """What clinics' hubs go by: half of the center's time to train, three quarters for all of it (`clinic.hubline`)."""
    longest_s = scenario.federation.longest_s
    return Rules(longest_s / 2, whole_s=longest_s * 3 / 4)


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
