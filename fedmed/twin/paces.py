"""How fast each machine of a scenario trains its model, for virtual time: seconds for one case once."""

from __future__ import annotations

from collections.abc import Iterator

from fedmed.config.scenario import Scenario
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError
from fedmed.twin.planning.advice import unfit
from fedmed.twin.planning.cost import Cost
from fedmed.twin.planning.steps import choose, misfit
from fedmed.twin.profiles import PASSES, built_in, profiles_of


def paces(scenario: Scenario, cost: Cost) -> dict[str, float]:
    """Seconds for one training case once, by machine, of every machine that the topology may name.

    Of the step that the machine's memory allows (`planning.steps.choose`), or as it was measured; of a task in patches, for
    all patches of a case. Raises ConfigError with every group of members whose machine the model does not fit.
    """
    topology = scenario.topology
    if topology is None:
        raise ConfigError(f"{scenario.name} has no topology: there are no machines")
    known, training = profiles_of(topology), scenario.training
    each_case = scenario.task.patches.per_case if scenario.task.patches is not None else 1
    steps = {name: choose(cost, training, profile) for name, profile in known.items()}
    faults = []
    for who, machine in _trainers(topology):
        if steps[machine] is None:
            found = misfit(cost, training, known[machine], built_in().values())
            faults.append(unfit(who, cost, known[machine], found).words())
    if faults:
        raise ConfigError("\n  ".join(["the model does not fit:", *faults]))
    paced = {}
    for name, profile in known.items():
        step = steps[name]
        if step is not None:
            paced[name] = each_case * step.seconds(cost, profile) / step.batch
        else:  # of one that trains nothing
            paced[name] = each_case * PASSES * cost.operations / profile.rate(profile.precision(training.precision))
    return paced


def _trainers(topology: Topology) -> Iterator[tuple[str, str]]:
    for clinics in topology.clinics:
        if clinics.trains:
            yield clinics.name, clinics.machine
        for devices in clinics.devices:
            yield f"{clinics.name}/{devices.name}", devices.machine
