"""A clinic's part in differential privacy: clip, noise and charge, by terms that it works out itself.

What comes from the center is compared with them or only scales both an update and its noise: the learning rate and the
mean number of patients divide the clipped sum and the share of noise alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fedmed.config.privacy import DifferentialPrivacy
from fedmed.config.scenario import Training
from fedmed.errors import UpdateRefused
from fedmed.flower.keys import CONFIG_KEY
from fedmed.outbound.charging import pay
from fedmed.privacy.dp.history import Spent
from fedmed.privacy.dp.mechanisms import RECORD_DISTRIBUTED
from fedmed.privacy.dp.terms import Cohort, Terms, hide, terms
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.store.budgets import Budget
from fedmed.wire.tensors import Tensors

COMPARED = ("mode", "clip", "rate", "noise_multiplier")
UNSAID = {"rate": 1.0, "patients": 1.0, "most_patients": 1.0}
"""What an order leaves out of `learning.order.PrivateWork`."""


@dataclass(frozen=True)
class Agreed:
    """The terms of one round, and its learning rate."""

    terms: Terms
    learning_rate: float

    @property
    def gives_changes(self) -> bool:
        """Whether training answers with the change of the weights instead of the weights."""
        return self.terms.mode == RECORD_DISTRIBUTED

    def least_bound(self, own: float) -> float:
        """The least bound of a layout's tensors beyond which nothing can be: what is clipped fits, whatever the data.

        In mode record-local, where nothing is clipped but the noise is in the update already, it is the clinic's `own`.
        """
        return self.terms.reach(self.learning_rate) if self.terms.has_shares else own


@dataclass(frozen=True)
class Private:
    """What a clinic's staff has allowed for a data set."""

    rules: DifferentialPrivacy
    training: Training
    rounds: int
    """Of the run."""
    unit: str
    """`patient` or `record`, by what the data set's cases can be told apart."""
    dataset: str
    """What the budget knows the data set by: its name, whatever its version."""
    budget: Budget
    seed: Callable[[bytes], bytes]
    """24 bytes for the noise of one vector, for the digest of what was given."""

    def agree(self, text: str, layout: Layout, epoch: Parameters, cohort: int) -> Agreed:
        """The terms of a round that the message `text` asks for. Raises UpdateRefused where it asks for other ones."""
        order = order_in(text)
        work = order.get("privacy")
        if not isinstance(work, Mapping):
            raise UpdateRefused("work without differential privacy; this site's data is used under it only")
        work = {**UNSAID, **work}
        self._refuse_other_work(order)
        rate, patients = float(order["learning_rate"]), float(work["patients"])
        facts = Cohort.of(epoch, cohort, patients, float(work["most_patients"]))
        found = terms(self.rules, self.training, self.rounds, layout.parameters, facts)
        own = {name: getattr(found, name) for name in COMPARED}
        if wrong := {name: work.get(name) for name in COMPARED if work.get(name) != own[name]}:
            allowed = ", ".join(f"{name} {own[name]}" for name in wrong)
            raise UpdateRefused(f"the center asks for {wrong} under differential privacy; allowed here: {allowed}")
        if layout.fields or layout.most_weight != 1:
            raise UpdateRefused("the center asks for numbers beside the tensors, which would be opened without noise")
        return Agreed(found, rate)

    def _refuse_other_work(self, order: Mapping[str, Any]) -> None:
        """More steps than are charged for, or a scale that one patient moves for all others, would undo every clip."""
        try:
            training = Training.model_validate_json(json.dumps(order.get("training")))
        except ValidationError:
            training = None
        if training != self.training:
            raise UpdateRefused(
                "the center asks for another training than this site's staff has allowed under differential privacy, where "
                "every step is charged"
            )
        if (scale := order.get("preparation", {}).get("normalise", "none")) != "none":
            raise UpdateRefused(
                f"the center asks for cases on the scale {scale!r}, which one patient moves for all others; allowed under "
                "differential privacy: none"
            )

    def lanes(
        self, agreed: Agreed, layout: Layout, changes: Mapping[str, NDArray[Any]], given: bytes, dither: bytes
    ) -> Lanes:
        """The vector with its share of noise, not masked yet. Raises UpdateRefused."""
        share = agreed.terms.share(agreed.learning_rate, layout.scale.factor)
        lanes = layout.write(agreed.terms.clipped(changes, agreed.learning_rate), 1, {}, dither)
        hide(lanes, layout.parameters, share, self.seed(given))
        return lanes

    def pay(self, agreed: Agreed, run: str, number: int, vector: Lanes) -> Spent:
        """Charge what leaves; see `charging.pay`."""
        return pay(self.budget, agreed.terms, self.unit, self.dataset, run, number, vector.view(np.uint8).data)

    def noise(self, agreed: Agreed, layout: Layout) -> float | None:
        """Standard deviation of this clinic's own share in each value; None where training added the noise."""
        share = agreed.terms.share(agreed.learning_rate, layout.scale.factor)
        return share / layout.scale.factor if share else None


def order_in(text: str) -> dict[str, Any]:
    """The order in canonical settings (`flower.proposal.text_of`). Raises UpdateRefused where there is none."""
    for record in json.loads(text).values():
        if isinstance(told := record.get(CONFIG_KEY), str):
            found = json.loads(told)
            if isinstance(found, dict):
                return found
    raise UpdateRefused("the work comes without an order that says how to train")


def as_changes(layout: Layout, tensors: Tensors) -> Tensors:
    """The changes that training answers with, of the layout's tensors. Raises UpdateRefused."""
    for tensor in layout.tensors:
        got = tensors.get(tensor.name)
        if got is None or got.shape != tensor.shape or got.dtype.kind != "f":
            raise UpdateRefused(f"the change of tensor {tensor.name!r} is missing or of another shape than {tensor.shape}")
    return {tensor.name: tensors[tensor.name] for tensor in layout.tensors}
