"""Ditto (Li et al. 2021, "Ditto: Fair and Robust Federated Learning Through Personalization", algorithm 1).

Beside the shared model each site trains one of its own, on the same cases and by the same steps, with lambda/2 |v - w|^2
added to its loss, where w is the shared model as the round gave it. It stays at the site.
"""

from __future__ import annotations

from fedmed.learning import weights
from fedmed.learning.kinds import Batch
from fedmed.learning.order import Order
from fedmed.learning.training import Beside, train
from fedmed.wire.checkpoints import unkept
from fedmed.wire.tensors import Tensors


def apply(own: Tensors, given: Tensors, cases: Batch, order: Order, site: str) -> Tensors:
    """The site's own model after a round; `own` is empty before the first, which begins from the shared one, `given`."""
    assert order.training.ditto is not None
    pulled = order.training.model_copy(update={"proximal_mu": order.training.ditto})
    model = weights.loaded(order.model, own or given)
    with unkept():  # checkpoints are of the shared model's training
        train(model, cases, order.model_copy(update={"training": pulled}), site, Beside(anchor=given))
    return {name: value.copy() for name, value in weights.read(model).items()}
