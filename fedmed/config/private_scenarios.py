"""What a scenario under differential privacy cannot have: settings that would open numbers without noise, or do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmed.config.scenario import Scenario


def faults(scenario: Scenario) -> Iterator[str]:
    """Every fault, with what to write instead; none where the scenario has no differential privacy."""
    private = scenario.privacy.differential_privacy
    if private is None:
        return
    if scenario.data.normalise != "none":
        yield (
            f"data.normalise is {scenario.data.normalise}: one patient would move the scale of all others, which no "
            "clipping bounds; write none, and let the features or the model standardise each image"
        )
    if scenario.task.class_weights in ("balanced", "sqrt"):
        yield (
            f"task.class_weights is {scenario.task.class_weights}: they are made of the sites' class counts, which would be "
            "opened without noise; write none"
        )
    if scenario.federation.gate != "off":
        yield (f"federation.gate is {scenario.federation.gate}: it opens statistics of images without noise; write off")
    if own := scenario.training.metrics:
        yield (
            f"training.metrics declares {', '.join(own)}: every number that is opened needs a share of the noise and its "
            "charge, and these have none; leave training.metrics out"
        )
    if private.mode == "record-distributed":
        yield from _step_faults(scenario)


def _step_faults(scenario: Scenario) -> Iterator[str]:
    """A round of mode record-distributed is one step of gradient descent: the rest of the section would do nothing."""
    training = scenario.training
    if training.steps != 1:
        yield "training.steps must be 1 in mode record-distributed, where a round is one step: write steps: 1 without epochs"
    idle = {
        "optimiser": training.optimiser != "sgd",
        "momentum": bool(training.momentum),
        "weight_decay": bool(training.weight_decay),
        "l2": bool(training.l2),
        "proximal_mu": bool(training.proximal_mu),
    }
    if named := [name for name, is_set in idle.items() if is_set]:
        yield (
            f"training.{', training.'.join(named)}: of no effect in mode record-distributed, where sites send plain "
            "gradients; leave out, and take a strategy with a momentum of its own (fedavgm, fedadam)"
        )
