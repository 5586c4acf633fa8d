"""The engine `crowd`: sites that are met by messages, as ever, and trained and validated all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.federation.journal import Voice
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import FIRST_NODE, InProcessGrid
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.ours import Summed
from fedmed.learning.crowd import Member
from fedmed.learning.inputs import prepare
from fedmed.learning.order import Order, parse
from fedmed.simulate.crowd import Crowd
from fedmed.sites.prepared import open_site
from fedmed.wire.tensors import Tensors

MEASURES = "torchmetrics.functional.classification"


class CrowdGrid(InProcessGrid):
    """Sites of one machine whose app answers in the caller, and whose training is that of a crowd.

    The crowd is made when its first order comes, which says how cases are prepared and which model they have.
    """

    def __init__(
        self,
        ref: AppRef,
        nodes: Sequence[dict[str, Any]],
        scenario: Scenario,
        workers: int,
        run_config: dict[str, Any],
        voice: Voice,
    ) -> None:
        """`voice` is told once how the crowd trains."""
        super().__init__(ref, nodes, [1.0] * len(nodes), 0, run_config)
        self._folders = [Path(str(node["sites-folder"])) for node in nodes]
        self._scenario, self._many, self._voice = scenario, max(1, workers), voice
        self._crowd: Crowd | None = None
        self._node_of: dict[str, int] = {}
        self._sizes: dict[str, int] = {}

    def train_all(self, nodes: Sequence[int], model: Tensors, order: str) -> Summed:
        """See `Crowding`."""
        asked = _on_cpu(order)
        found = self._hired(asked).train([node - FIRST_NODE for node in nodes], model, asked)
        node_of, told = self._node_of, found.told
        losses = {node_of[name]: {WEIGHT_KEY: self._sizes[name], "loss": told.losses[name]} for name in told.losses}
        failed = {node_of[name]: reason for name, reason in told.failed.items()}
        return Summed(found.mean, losses, failed, {node_of[name]: reason for name, reason in told.refused.items()})

    def validate_all(self, nodes: Sequence[int], model: Tensors, order: str) -> Mapping[int, Mapping[str, Any]]:
        """See `Crowding`."""
        asked = _on_cpu(order)
        found = self._hired(asked).validate([node - FIRST_NODE for node in nodes], model, asked)
        return {self._node_of[name]: measured for name, measured in found.items()}

    def _hired(self, order: Order) -> Crowd:
        if self._crowd is None:
            import_module(MEASURES)  # before the processes are forked, which share it then
            members = [_member(folder, number, order) for number, folder in enumerate(self._folders)]
            self._node_of = {member.name: FIRST_NODE + number for number, member in enumerate(members)}
            self._sizes = {member.name: len(member.cases[1]) for member in members}
            rules = self._scenario
            self._crowd = Crowd(members, order, self._many, rules.engine.fast, rules.federation.max_update_norm)
            self._voice.say("crowded", workers=self._many, why_not_fast=list(self._crowd.why_not_fast))
        return self._crowd

    def close(self) -> None:
        """End the crowd, too."""
        if self._crowd is not None:
            self._crowd.close()
        super().close()


def _on_cpu(order: str) -> Order:
    return parse(order).model_copy(update={"device": "cpu"})


def _member(folder: Path, number: int, order: Order) -> Member:
    made = prepare(open_site(folder, number), order.preparation)
    return Member(made.name, made.train, made.validation)
