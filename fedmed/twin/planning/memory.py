"""Memory of training a model: weights, gradients, the optimiser's state, and what forward keeps for backward."""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.config.scenario import Training
from fedmed.config.topology import Precision
from fedmed.twin.planning.cost import Cost, checkpointed

FLOAT, HALF = 4, 2
"""Bytes of a number."""
STATES = {"sgd": 0, "adam": 2, "adamw": 2}
"""Numbers of state for each parameter: Adam's two moments (Kingma & Ba 2015); SGD has one where it has momentum."""
CONTEXT = 500e6
"""Bytes of libraries and of the device's context before any model is there (recalled: 0.3 to 0.6 GB with CUDA)."""
USABLE = 0.9
"""Share of a memory that can be filled before pieces no longer fit (assumed)."""


@dataclass(frozen=True)
class Need:
    """Bytes, by what they are for."""

    weights: float
    """In float32, with a copy in half precision where that is mixed in, the model received and the update."""
    gradients: float
    state: float
    """The optimiser's, and FedProx's anchors."""
    activations: float
    """What forward keeps of one micro-batch, and two gradients of its largest part."""
    logits: float
    """What comes out for the whole batch, and its gradient: the loss is of all of it (fedmed.learning.fitting)."""
    context: float = CONTEXT

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.state + self.activations + self.logits + self.context


def is_mixed(precision: Precision) -> bool:
    """Whether training in it keeps weights in float32 beside."""
    return precision in ("fp16", "bf16")


def need(
    cost: Cost, training: Training, precision: Precision, micro: int, again: bool = False, for_each: bool = False
) -> Need:
    """Of training `cost` on `micro` cases at a time; `again`: with checkpointing; `for_each`: a gradient of each case.

    Weights, gradients and state: Rajbhandari et al. 2020 (ZeRO), section 3.1, with weights and gradients in float32 as
    PyTorch's autocast has them. Gradients of each case, which differential privacy clips: Abadi et al. 2016, algorithm 1.
    """
    mixed = is_mixed(precision)
    kept = cost.kept_bytes(mixed)
    states = STATES[training.optimiser] + (training.optimiser == "sgd" and training.momentum > 0)
    anchors = FLOAT * cost.parameters if training.proximal_mu else 0
    once = checkpointed(kept) if again else sum(kept)
    return Need(
        weights=(3 * FLOAT + (HALF if mixed else 0)) * cost.parameters,
        gradients=FLOAT * cost.trained * (1 + (micro if for_each else 0)),
        state=FLOAT * states * cost.trained + anchors,
        activations=micro * (once + 2 * max(kept, default=0)),
        logits=2 * cost.logits * max(micro, training.batch_size),
    )
