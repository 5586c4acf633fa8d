"""The engine `crowd`: sites that are met by messages, as ever, and trained and validated all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.federation.journal import Voice
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import FIRST_NODE, InProcessGrid
from fedmed.flower.keys import MEMBER, WEIGHT_KEY
from fedmed.flower.ours import Asked, Masked, MaskedPart, Summed
from fedmed.learning.crowd import Resident
from fedmed.learning.order import Order
from fedmed.simulate import members
from fedmed.simulate.crowd import Crowd
from fedmed.simulate.masked_crowd import MaskedCrowd, Rules, member_of, on_cpu
from fedmed.sites.prepared import names
from fedmed.wire.tensors import Tensors

MEASURES = "torchmetrics.functional.classification"


@dataclass(frozen=True)
class Sites:
    """The sites of a crowd, laid out in a folder, and who works on them."""

    folder: Path
    loads: Sequence[float]
    workers: int

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """What each site's app knows of itself."""
        return [{"partition-id": number, "sites-folder": str(self.folder)} for number in range(len(self.loads))]

    @property
    def by_name(self) -> dict[str, int]:
        """Each site's node."""
        return {name: FIRST_NODE + number for number, name in enumerate(names(self.folder))}


class _Met(InProcessGrid):
    """Sites of one machine whose app answers in the caller; how they train is told once."""

    def __init__(self, ref: AppRef, sites: Sites, scenario: Scenario, run_config: dict[str, Any], voice: Voice) -> None:
        super().__init__(ref, sites.nodes, sites.loads, 0, run_config)
        self._many = max(1, min(sites.workers, len(sites.loads)))
        self._whom, self._scenario, self._voice = sites, scenario, voice
        self._node_of = sites.by_name

    def _tell(self, why_not_fast: Sequence[str]) -> None:
        self._voice.say("crowded", workers=self._many, why_not_fast=list(why_not_fast))

    def _by_node(self, told: Mapping[str, str]) -> dict[int, str]:
        return {self._node_of[name]: reason for name, reason in told.items()}


class CrowdGrid(_Met):
    """Sites whose training is that of a crowd.

    The crowd is made when its first order comes, which says how cases are prepared and which model they have.
    """

    _crowd: Crowd | None = None

    def train_all(self, nodes: Sequence[int], model: Tensors, order: str) -> Summed:
        """See `Crowding`."""
        asked = on_cpu(order)
        found = self._hired(asked).train([node - FIRST_NODE for node in nodes], model, asked)
        told, losses = found.told, found.told.losses
        numbers = {self._node_of[name]: {WEIGHT_KEY: self._sizes[name], "loss": losses[name]} for name in losses}
        return Summed(found.mean, numbers, self._by_node(told.failed), self._by_node(told.refused))

    def validate_all(self, nodes: Sequence[int], model: Tensors, order: str) -> Mapping[int, Mapping[str, Any]]:
        """See `Crowding`."""
        asked = on_cpu(order)
        found = self._hired(asked).validate([node - FIRST_NODE for node in nodes], model, asked)
        return {self._node_of[name]: measured for name, measured in found.items()}

    def _hired(self, order: Order) -> Crowd:
        if self._crowd is None:
            import_module(MEASURES)  # before the processes are forked, which share it then
            numbers = range(len(self._whom.loads))
            members = [member_of(self._whom.folder, number, order.preparation) for number in numbers]
            self._sizes = {member.name: len(member.cases[1]) for member in members}
            rules = self._scenario
            self._crowd = Crowd(members, order, self._many, rules.engine.fast, rules.federation.max_update_norm)
            self._tell(self._crowd.why_not_fast)
        return self._crowd

    def close(self) -> None:
        """End the crowd, too."""
        if self._crowd is not None:
            self._crowd.close()
        super().close()


class MaskedCrowdGrid(_Met):
    """Sites that mask: their members of the protocol are played by the crowd's processes."""

    _crowd: MaskedCrowd | None = None
    _has_told = False

    def answer_all(self, kind: str, requests: Mapping[int, bytes]) -> Iterator[tuple[int, bytes, str | None]]:
        """See `MaskedCrowding`."""
        if kind == MEMBER:
            for node in requests:
                yield node, members.certificate_of(self._whom.folder, node - FIRST_NODE), None
            return
        for answers in self._hired().answer({node - FIRST_NODE: said for node, said in requests.items()}):
            yield from ((FIRST_NODE + number, said, None) for number, said in answers.said.items())
            yield from ((FIRST_NODE + number, b"", reason) for number, reason in answers.refused.items())

    def masked_all(self, nodes: Sequence[int], asked: Asked) -> Masked:
        """See `MaskedCrowding`."""
        if asked.kind == "train" and not self._has_told:
            self._tell(Resident(on_cpu(asked.order), self._scenario.engine.fast).why_not)
            self._has_told = True
        found = self._hired().ask([node - FIRST_NODE for node in nodes], asked)
        parts = [
            MaskedPart(
                handed.total,
                {FIRST_NODE + number: (each.envelope, each.vector) for number, each in handed.uploads.items()},
            )
            for handed, _ in found
        ]
        failed = {name: reason for _, told in found for name, reason in told.failed.items()}
        refused = {name: reason for _, told in found for name, reason in told.refused.items()}
        return Masked(parts, self._by_node(failed), self._by_node(refused))

    def _hired(self) -> MaskedCrowd:
        if self._crowd is None:
            rules = Rules(self._whom.folder, self._scenario.engine.fast, self._scenario.federation.max_update_norm)
            self._crowd = MaskedCrowd(self._whom.loads, self._many, rules)
        return self._crowd

    def close(self) -> None:
        """End the crowd, too."""
        if self._crowd is not None:
            self._crowd.close()
        super().close()
