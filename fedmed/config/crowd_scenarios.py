"""What a scenario on the engine `crowd` cannot have: whatever needs a message, a process or an update of each site's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmed.config.scenario import Scenario

COMPLETE = 128
"""Sites up to which everybody shares masks with everybody (`privacy.secagg.graph`)."""
MADE = ("iid", "dirichlet", "shards")
"""Partitions whose number of sites a scenario says."""


def faults(scenario: Scenario) -> Iterator[str]:
    """Every fault, with what to write instead; none on another engine."""
    if scenario.engine.name != "crowd":
        return
    other = "or take engine.name: inprocess"
    if scenario.privacy.differential_privacy is not None:
        yield (
            "privacy.differential_privacy: each site's own gate charges its budget, and a crowd has none; "
            f"leave it out, {other}"
        )
    share, partition = scenario.strategy.options.get("fraction_train", 1), scenario.data.partition
    if scenario.privacy.is_masked and share != 1 and partition.by in MADE and partition.sites > COMPLETE:
        yield (
            f"strategy.options.fraction_train is {share} of {partition.sites} sites: beyond {COMPLETE} masks hold together "
            "because nearly all are in a round; write 1, or privacy.secure_aggregation: off"
        )
    if scenario.topology is not None:
        yield f"topology: a crowd answers at once, and nobody is late, cut off or away; leave the section out, {other}"
    if scenario.federation.buffer is not None:
        yield f"federation.buffer: a crowd's sites are done together, so none comes first; leave it out, {other}"
    if scenario.attackers:
        yield f"attackers: a crowd's sites have no process in which to attack; leave them out, {other}"
    if scenario.training.metrics:
        named = ", ".join(scenario.training.metrics)
        yield f"training.metrics declares {named}, which a site's own app tells; a crowd has none. Leave it out, {other}"
    if scenario.engine.workers == 0:
        yield f"engine.workers is 0: a crowd lives in processes of its own; write 1 or more, {other}"
    if scenario.engine.device == "cuda":
        yield f"engine.device is cuda: a crowd's processes are forked, which CUDA does not bear; write cpu, {other}"
