"""The training of one linear layer without automatic differentiation, for a crowd of small sites; checked to hold first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmed.learning.kinds import Batch
from fedmed.learning.order import Order
from fedmed.learning.prediction import device_of
from fedmed.learning.resident_fold import shares_of
from fedmed.learning.resident_steps import batches_of


def hindrances(model: nn.Module, order: Order) -> list[str]:
    """Why the gradient of this order has no closed form here; empty where it has: one linear layer, plain SGD, no more."""
    training = order.training
    layers = list(model) if isinstance(model, nn.Sequential) else [model]
    linear = len(layers) == 2 and isinstance(layers[0], nn.Flatten) and isinstance(layers[1], nn.Linear)
    found = {
        "the model is not one linear layer": not linear or order.model.kind != "classification",
        f"the optimiser is {training.optimiser}": training.optimiser != "sgd",
        "momentum": training.momentum != 0,
        "weight decay": training.weight_decay != 0,
        "an l2 penalty": training.l2 != 0,
        "a proximal term": training.proximal_mu != 0,
        "metrics of one's own": bool(training.metrics),
        "frozen tensors": bool(order.frozen),
        f"device {order.device}": device_of(order.device).type != "cpu",
    }
    return [name for name, is_so in found.items() if is_so]


LEAST = float(torch.finfo(torch.float32).tiny)
MOST_LOSS = -math.log(LEAST)
"""87.3: of a probability that float32 hardly holds."""


class Linear:
    """A linear model's training in closed form: the gradient of weighted cross-entropy is softmax less the truth."""

    def __init__(self, start: Sequence[Tensor], order: Order) -> None:
        self._start, self._order = start, order
        self._classes = torch.tensor(order.class_weights)
        self._even = len(set(order.class_weights)) == 1  # a weighted mean of equal weights is the mean
        self._ones = torch.full((order.training.batch_size, 1), -1.0)
        self.model = [each.clone() for each in start]
        """Weight `(K, F)` and bias `(K,)` of the site that was trained last."""

    def train(self, site: str, cases: Batch) -> float:
        """A site's steps from the start; returns the mean loss of its steps; no case counts more than `MOST_LOSS`."""
        torch._foreach_copy_(self.model, list(self._start))
        weight, bias = self.model
        chances, sizes, rate = list[Tensor](), list[int](), self._order.learning_rate
        shares = list[Tensor]()
        for x, y in batches_of(cases, self._order, site):
            x = x.flatten(1)
            slope, chance, share = self._gradient(torch.addmm(bias, x, weight.t()), y, [len(y)])
            weight.addmm_(slope.t(), x, alpha=-rate / len(y))
            bias.add_(slope.sum(0), alpha=-rate / len(y))
            chances.append(chance)
            sizes.append(len(y))
            shares += [] if share is None else [share]
        losses = _losses(torch.cat(chances), torch.cat(shares) if shares else None)
        return sum(_means(losses, sizes)) / len(sizes)

    def fold(self, cases: Sequence[Batch], sums: Sequence[Tensor]) -> list[float] | None:
        """Sites of one step: sum of n_i (w - rate * mean gradient_i) = w * sum n_i - rate * the sum over all cases.

        The loss of each, as of `train`; None where something was not finite, and nothing is added then.
        """
        sizes = [len(y) for _, y in cases]
        x = torch.cat([each for each, _ in cases]).flatten(1)
        y = torch.cat([each for _, each in cases])
        slope, chances, shares = self._gradient(torch.addmm(self._start[1], x, self._start[0].t()), y, sizes)
        if not math.isfinite(float(slope.sum())):
            return None
        torch._foreach_add_(list(sums), list(self._start), alpha=float(sum(sizes)))
        sums[0].addmm_(slope.t(), x, alpha=-self._order.learning_rate)
        sums[1].add_(slope.sum(0), alpha=-self._order.learning_rate)
        return _means(_losses(chances, shares), sizes)

    def _gradient(self, logits: Tensor, y: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of `logits (N, K)`, `y (N,)` and the cases of each group: each case's gradient of its group's mean loss, times
        the group's cases, `(N, K)`; the probability of its class `(N,)`; and what its loss counts, None: all alike.

        Cross-entropy or, of one logit, binary cross-entropy, each the mean weighted by class of `fedmed.learning.losses`.
        """
        if logits.shape[1] == 1:
            truth = y.to(logits.dtype)[:, None]
            chances = torch.exp(-functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")[:, 0])
            slope = torch.sigmoid(logits) - truth
        else:
            slope = torch.softmax(logits, 1)
            chances = slope.gather(1, y[:, None])[:, 0]
            slope.scatter_add_(1, y[:, None], self._less_one(len(y)))
        if self._even:
            return slope, chances, None
        shares = shares_of(y, sizes, self._classes)
        return slope * shares[:, None], chances, shares

    def _less_one(self, count: int) -> Tensor:
        if len(self._ones) < count:
            self._ones = torch.full((count, 1), -1.0)
        return self._ones[:count]


def _means(losses: Tensor, sizes: Sequence[int]) -> list[float]:
    """Mean of each group of `losses (N,)`, one group after the other."""
    counts = torch.tensor(list(sizes))
    found: list[float] = (torch.segment_reduce(losses, "sum", lengths=counts) / counts).tolist()
    return found


def _losses(chances: Tensor, shares: Tensor | None) -> Tensor:
    """Each case's part of the loss of its batch."""
    losses = -torch.log(chances.clamp_min(LEAST))
    return losses if shares is None else losses * shares
