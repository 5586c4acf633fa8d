"""FedBN (Li et al. 2021, "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", section 3).

Norm layers see how a site's scanners make images, and stay there: each site trains them and keeps them, and the rest of the
model is shared. Which tensors these are is the scenario's to say (`task.local`), by name.
"""

from __future__ import annotations

from collections.abc import Collection

from fedmed.wire.tensors import Tensors


def apply(given: Tensors, own: Tensors) -> Tensors:
    """The model of a site: what is its `own`, and the rest as `given`."""
    return {name: own.get(name, value) for name, value in given.items()}


def part(trained: Tensors, names: Collection[str]) -> Tensors:
    """What the site keeps of a model that it trained."""
    return {name: trained[name].copy() for name in trained if name in names}


def told(given: Tensors, trained: Tensors, names: Collection[str]) -> Tensors:
    """What it answers: the trained model, its own part as it was given."""
    return {name: given[name] if name in names else value for name, value in trained.items()}
