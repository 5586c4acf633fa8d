"""The training of one linear layer without automatic differentiation, for a crowd of small sites; checked to hold first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmed.clock import derive_seed
from fedmed.learning.kinds import KINDS, Batch
from fedmed.learning.order import Order
from fedmed.learning.prediction import device_of


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
        self.model = [each.clone() for each in start]
        """Weight `(K, F)` and bias `(K,)` of the site that was trained last."""

    def train(self, site: str, cases: Batch) -> float:
        """A site's steps from the start; returns the mean loss of its steps."""
        torch._foreach_copy_(self.model, list(self._start))
        weight, bias = self.model
        generator = torch.Generator().manual_seed(derive_seed(self._order.seed, "train", site, self._order.round))
        losses, rate = list[Tensor](), self._order.learning_rate
        for x, y in KINDS[self._order.model.kind].batches(cases, self._order, generator):
            x = x.flatten(1)
            slope, loss = self._gradient(torch.addmm(bias, x, weight.t()), y, [len(y)])
            weight.addmm_(slope.t(), x, alpha=-rate / len(y))
            bias.add_(slope.sum(0), alpha=-rate / len(y))
            losses.append(loss.sum() / len(y))
        return float(torch.stack(losses).mean())

    def fold(self, cases: Sequence[Batch], sums: Sequence[Tensor]) -> list[float] | None:
        """Sites of one step: sum of n_i (w - rate * mean gradient_i) = w * sum n_i - rate * the sum over all cases.

        The loss of each; None where something was not finite, and nothing is added then.
        """
        sizes = [len(y) for _, y in cases]
        x = torch.cat([each for each, _ in cases]).flatten(1)
        y = torch.cat([each for _, each in cases])
        slope, losses = self._gradient(torch.addmm(self._start[1], x, self._start[0].t()), y, sizes)
        if not math.isfinite(float(slope.sum())):
            return None
        torch._foreach_add_(list(sums), list(self._start), alpha=float(sum(sizes)))
        sums[0].addmm_(slope.t(), x, alpha=-self._order.learning_rate)
        sums[1].add_(slope.sum(0), alpha=-self._order.learning_rate)
        each: list[float] = (torch.segment_reduce(losses, "sum", lengths=torch.tensor(sizes)) / torch.tensor(sizes)).tolist()
        return each

    def _gradient(self, logits: Tensor, y: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
        """Of `logits (N, K)`, `y (N,)` and the cases of each group: each case's gradient of its group's mean loss, times
        the group's cases, `(N, K)`, and its part of that loss `(N,)`, likewise.

        Cross-entropy or, of one logit, binary cross-entropy, each the mean weighted by class of `fedmed.learning.losses`.
        """
        if logits.shape[1] == 1:
            truth = y.to(logits.dtype)[:, None]
            losses = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")[:, 0]
            slope = torch.sigmoid(logits) - truth
        else:
            logs = torch.log_softmax(logits, 1)
            losses = -logs.gather(1, y[:, None])[:, 0]
            slope = logs.exp_().scatter_add_(1, y[:, None], torch.full((len(y), 1), -1.0))
        if self._even:
            return slope, losses
        each = self._classes[y]
        shares = torch.cat([part * (len(part) / part.sum()) for part in torch.split(each, sizes)])
        return slope * shares[:, None], losses * shares
