"""Training of which no patient can move more than a clip: per-patient gradients, clipped, summed, hidden in noise.

DP-SGD (Abadi et al.: Deep Learning with Differential Privacy, CCS 2016, algorithm 1). A step draws a Poisson sample of the
patients, takes one record of each, clips the gradient of each record's loss to an L2 norm of `clip` over all weights
together, and sums. `train_privately` adds the noise here, step by step; `descent` adds none: its sum goes into the masked
vector, where each clinic adds its share.

**The unit** is the patient, for a patient shows one record a step at most; where ids are missing it is the record.

What holds exactly, and what does not:

- Samples, augmentation and dropout are drawn under seeds from a CSPRNG that stay at the site. The center could foresee them
  under the run's public seed, and one patient more would move what all others' images become.
- Norms and sums are taken in float64: a clipped gradient is no longer than `clip`, and a sum differs from the true one by
  about 2^-50 of itself. A record's own gradient is computed in float32 beside others, and may differ in its last bits with
  the company it has; that is left out of account, as in every implementation of DP-SGD known to us.
- Noise is exact discrete Gaussian in whole numbers (`privacy.dp.local`): no normal numbers of torch's predictable generator.
- How long training takes is not hidden.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fedmed.clock import generator
from fedmed.learning.kinds import KINDS, Batch
from fedmed.learning.order import Order, PrivateWork
from fedmed.learning.prediction import device_of
from fedmed.learning.training import optimiser_of, penalty
from fedmed.learning.weights import trained
from fedmed.privacy.dp.local import noised
from fedmed.privacy.dp.sampling import poisson
from fedmed.privacy.dp.terms import Terms, steps_of
from fedmed.privacy.keystream import SEED_BYTES
from fedmed.wire.tensors import Tensors

Groups = Sequence[NDArray[np.int64]]
"""Rows of each patient, as `sites.cases.patient_rows` gives them."""
Seeds = Callable[[], bytes]
"""24 new bytes a call: `secrets.token_bytes(24)` at a site; made of the run's seed in a simulation, protecting nobody."""
GRADIENT_BYTES = 2**28
"""Of all gradients that are held at once."""
_MOST_AT_ONCE = 128
_DOUBLES = 2**20  # numbers that are float64 at once
_MARGIN = 1 - 2.0**-40  # a norm is rounded; a clipped gradient is not longer than the clip nevertheless


def fresh_seeds(site: str, order: Order) -> Seeds:
    """A site's own: from the machine's CSPRNG, the same never twice."""
    return lambda: secrets.token_bytes(SEED_BYTES)


def repeatable_seeds(site: str, order: Order) -> Seeds:
    """A simulation's: made of the run's seed, so that a run repeats to the bit. They protect nobody."""
    numbers = count()
    root = (order.seed, "privacy", site, order.round)
    return lambda: generator(*root, next(numbers)).bytes(SEED_BYTES)


def train_privately(model: nn.Module, data: Batch, groups: Groups, order: Order, patients: float, seeds: Seeds) -> None:
    """Mode record-local: `model` after this round's steps of DP-SGD, in place; no loss is returned, for none may be told.

    `patients` is the number that the site declared in public: steps are divided by it times the rate, not by how many came.
    Every step is one release at the order's noise multiplier. Raises ValueError for an order of another mode.
    """
    work = _work(order, "record-local")
    model.to(device_of(order.device)).train()
    optimiser, weights = optimiser_of(model, order), trained(model)
    anchors = [p.detach().clone() for p in model.parameters()] if order.training.proximal_mu else []
    for _ in range(steps_of(order.training, work.rate)):
        total = clipped_sum(model, data, poisson(groups, work.rate, seeds()), order, seeds())
        hidden = noised(total.cpu().numpy(), work.clip, work.noise_multiplier, seeds()) / (work.rate * patients)
        optimiser.zero_grad(set_to_none=False)
        more = penalty(model, anchors, order.training)
        if isinstance(more, Tensor):
            more.backward()  # type: ignore[no-untyped-call]
        for weight, step in zip(weights.values(), _cut(torch.from_numpy(hidden), weights), strict=True):
            step = step.to(weight)
            weight.grad = step if weight.grad is None else weight.grad.add_(step)
        optimiser.step()


def descent(model: nn.Module, data: Batch, groups: Groups, order: Order, seeds: Seeds) -> Tensors:
    """Mode record-distributed: this site's part of one step, as a change of the weights; without noise, to be masked only.

    Each site's part is -learning rate * sum of clipped gradients / (rate * mean number of patients): the mean over sites is
    the step of gradient descent on all patients. Weights that are not trained change by 0. One patient more or less changes
    the whole by an L2 norm of at most `Terms.sensitivity(order.learning_rate)`. Raises ValueError for another mode.
    """
    work = _work(order, "record-distributed")
    model.to(device_of(order.device)).train()
    weights = trained(model)
    total = clipped_sum(model, data, poisson(groups, work.rate, seeds()), order, seeds())
    total *= -order.learning_rate / (work.rate * work.patients)
    changes = {name: np.zeros(tuple(value.shape), np.float64) for name, value in model.state_dict().items()}
    for name, part in zip(weights, _cut(total.cpu(), weights), strict=True):
        changes[name] = part.numpy()
    return dict(changes)


def clipped_sum(model: nn.Module, data: Batch, rows: NDArray[np.int64], order: Order, seed: bytes) -> Tensor:
    """Sum `(d,)` float64 of the gradients of the loss of each row, clipped to the order's `clip`; d weights are trained.

    In the order of `trained(model)`, flattened. Memory is bounded by `GRADIENT_BYTES`, however many rows there are. `seed`:
    24 bytes, for augmentation and dropout.
    """
    if order.privacy is None:
        raise ValueError("the order says nothing of privacy")
    kind, device = KINDS[order.model.kind], device_of(order.device)
    weights = {name: value.detach() for name, value in trained(model).items()}
    size = sum(value.numel() for value in weights.values())
    total = torch.zeros(size, dtype=torch.float64, device=device)
    each = vmap(grad(_loss_of_one(model, order)), (None, 0, 0), randomness="different")
    generator = torch.Generator().manual_seed(int.from_bytes(seed[:8], "big") >> 1)
    at_once = max(1, min(_MOST_AT_ONCE, GRADIENT_BYTES // (4 * size)))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(seed[8:16], "big") >> 1)  # dropout draws from the global generator
        for start in range(0, len(rows), at_once):
            x, y = kind.examples(data, torch.from_numpy(rows[start : start + at_once]), order, generator)
            found = each(weights, x.to(device), y.to(device))
            _add_clipped(total, torch.cat([part.flatten(1) for part in found.values()], 1), order.privacy.clip)
    return total


def work_of(found: Terms) -> PrivateWork:
    """What the terms ask of a site's training, for its order."""
    return PrivateWork(
        mode=found.mode,
        clip=found.clip,
        noise_multiplier=found.noise_multiplier,
        rate=found.rate,
        patients=found.cohort.patients,
        most_patients=found.cohort.most_patients,
    )


def _loss_of_one(model: nn.Module, order: Order) -> Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]:
    kind, classes = KINDS[order.model.kind], torch.tensor(order.class_weights, device=device_of(order.device))

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return kind.loss(functional_call(model, weights, (x[None],)).float(), y[None], classes)

    return loss


def _add_clipped(total: Tensor, gradients: Tensor, clip: float) -> None:
    """Clipped rows of `gradients (n, d)` onto `total (d,)`, a few at a time: float64 is needed, but not of all at once."""
    for some in torch.split(gradients, max(1, _DOUBLES // max(1, gradients.shape[1]))):
        wide = some.double()
        norms = torch.linalg.vector_norm(wide, dim=1)
        total += (clip * _MARGIN / norms).clamp(max=1.0) @ wide


def _cut(flat: Tensor, weights: dict[str, nn.Parameter]) -> list[Tensor]:
    parts = torch.split(flat, [value.numel() for value in weights.values()])
    return [part.reshape(value.shape) for part, value in zip(parts, weights.values(), strict=True)]


def _work(order: Order, mode: str) -> PrivateWork:
    if order.privacy is None or order.privacy.mode != mode:
        raise ValueError(f"an order of mode {order.privacy and order.privacy.mode} is not trained as {mode}")
    return order.privacy
