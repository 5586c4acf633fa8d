"""The training of one linear layer without automatic differentiation, for a crowd of small sites; checked to hold first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from fedmed.learning.kinds import Batch
from fedmed.learning.order import Order
from fedmed.learning.prediction import device_of
from fedmed.learning.resident_fold import losses_of, means_of, shares_of
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
        """A site's steps from the start; returns the mean loss of its steps."""
        torch._foreach_copy_(self.model, list(self._start))
        weight, bias = self.model
        seen, shares = list[tuple[Tensor, Tensor]](), list[Tensor]()
        for x, y in batches_of(cases, self._order, site):
            x, count = x.flatten(1), y.shape[0]
            logits = torch.addmm(bias, x, weight.t())
            slope, share = self._gradient(logits, y, [count])
            rate = -self._order.learning_rate / count
            weight.addmm_(slope.t(), x, alpha=rate)
            bias.add_(slope.sum(0), alpha=rate)
            seen.append((logits, y))
            if share is not None:
                shares.append(share)
        losses = losses_of(torch.cat([logits for logits, _ in seen]), torch.cat([y for _, y in seen]))
        if shares:
            losses = losses * torch.cat(shares)
        return float(losses @ _each_step_alike(tuple(y.shape[0] for _, y in seen)))

    def fold(self, cases: Sequence[Batch], sums: Sequence[Tensor]) -> list[float] | None:
        """Sites of one step: sum of n_i (w - rate * mean gradient_i) = w * sum n_i - rate * the sum over all cases.

        The loss of each; None where something was not finite, and nothing is added then.
        """
        sizes = [len(y) for _, y in cases]
        x = torch.cat([each for each, _ in cases]).flatten(1)
        y = torch.cat([each for _, each in cases])
        logits = torch.addmm(self._start[1], x, self._start[0].t())
        slope, shares = self._gradient(logits, y, sizes)
        if not math.isfinite(float(slope.sum())):
            return None
        torch._foreach_add_(list(sums), list(self._start), alpha=float(sum(sizes)))
        sums[0].addmm_(slope.t(), x, alpha=-self._order.learning_rate)
        sums[1].add_(slope.sum(0), alpha=-self._order.learning_rate)
        losses = losses_of(logits, y)
        return means_of(losses if shares is None else losses * shares, sizes)

    def _gradient(self, logits: Tensor, y: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor | None]:
        """Of `logits (N, K)`, `y (N,)` and the cases of each group: each case's gradient of its group's mean loss, times
        the group's cases, `(N, K)`; and what its loss counts `(N,)`, None where all count alike.

        Cross-entropy or, of one logit, binary cross-entropy, each the mean weighted by class of `fedmed.learning.losses`.
        """
        if logits.shape[1] == 1:
            slope = torch.sigmoid(logits) - y.to(logits.dtype)[:, None]
        else:
            slope = torch.softmax(logits, 1)
            slope.scatter_add_(1, y[:, None], self._less_one(y.shape[0]))
        if self._even:
            return slope, None
        shares = shares_of(y, sizes, self._classes)
        return slope * shares[:, None], shares

    def _less_one(self, count: int) -> Tensor:
        if self._ones.shape[0] < count:
            self._ones = torch.full((count, 1), -1.0)
        return self._ones[:count]


@lru_cache(maxsize=4096)
def _each_step_alike(sizes: tuple[int, ...]) -> Tensor:
    """`(N,)`: what each case counts in the mean over steps of the means over their cases."""
    counts = torch.tensor(sizes)
    return torch.repeat_interleave(1.0 / (counts * len(sizes)), counts)
