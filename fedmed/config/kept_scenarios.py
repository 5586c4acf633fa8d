"""What a scenario cannot have beside algorithms by which a site keeps something between rounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmed.config.scenario import Scenario


def faults(scenario: Scenario) -> Iterator[str]:
    """Every fault, with what to write instead."""
    training = scenario.training
    kept = {
        "task.local": bool(scenario.task.local),
        "training.scaffold": training.scaffold,
        "training.ditto": training.ditto is not None,
    }
    chosen = ", ".join(name for name, is_set in kept.items() if is_set)
    if not chosen:
        return
    if scenario.privacy.differential_privacy is not None:
        yield f"{chosen}: training under differential privacy keeps nothing between rounds; leave one of the two out"
    if scenario.engine.name == "crowd":
        yield f"{chosen}: a crowd keeps nothing of a site between rounds; take engine.name: inprocess or ray"
    if scenario.evaluation.choose == "best" and scenario.task.local:
        yield "task.local: a site keeps its newest tensors, not those of the best round; write evaluation.choose: last"
    if training.average_last > 1 and scenario.task.local:
        yield "task.local: a site keeps its newest tensors, no mean of several rounds'; leave training.average_last at 1"
    if training.scaffold:
        yield from _correction_faults(scenario)


def _correction_faults(scenario: Scenario) -> Iterator[str]:
    training = scenario.training
    if scenario.federation.buffer is not None:
        yield "training.scaffold: corrections are of one round's sites, and a buffer mixes several rounds'; leave out one"
    if training.optimiser != "sgd" or training.momentum:
        got = f"{training.optimiser}, momentum {training.momentum:g}"
        yield (
            f"training.scaffold: got optimiser {got}; allowed: sgd without momentum, for a site's mean gradient is read off "
            "how far its steps went"
        )
    if scenario.strategy.name != "fedavg":
        yield (
            f"training.scaffold: got strategy.name {scenario.strategy.name}; allowed: fedavg, for what sites tell of their "
            "gradients is averaged as it is"
        )
