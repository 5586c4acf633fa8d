"""Many small sites trained one after the other on one resident model, their models added up as they come.

A site's model is never kept: it begins as the global one, is trained, and is added to one flat sum with the weight of its
cases (McMahan et al. 2017, algorithm 1). What cannot be reckoned in closed form is trained by `fedmed.learning.training`
itself, so that batches, draws and steps are those of a clinic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedmed.errors import ConfigError, DataError
from fedmed.learning import weights
from fedmed.learning.kinds import Batch
from fedmed.learning.order import Order
from fedmed.learning.prediction import device_of
from fedmed.learning.resident_fold import Fold, mixing, objections
from fedmed.learning.resident_stacked import Stacked
from fedmed.learning.resident_steps import Steps, batches_of, obstacles
from fedmed.learning.training import train

FOLDED = 1024
"""Cases that are joined to one batch at a time."""


@dataclass(frozen=True)
class Member:
    """One site of a crowd: its name, which its draws come from, and its prepared training cases `x (N, ...)`, `y (N,)`."""

    name: str
    cases: Batch


def steps_of(count: int, order: Order) -> int:
    """Optimiser steps that an order asks of a site with `count` cases."""
    training = order.training
    return training.steps if training.steps is not None else -(-count // training.batch_size) * (training.epochs or 1)


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


def check(order: Order) -> None:
    """Raise ConfigError for what a sum of whole models cannot be: noise and clipping are of each site's own update."""
    if order.privacy is not None:
        raise ConfigError("the crowd engine: got differential privacy, allowed: none; use the engine without `crowd`")


class Resident:
    """One process's model and what it adds up. All state is float32, flat in the order of the model's state."""

    def __init__(self, order: Order, fast: bool = True) -> None:
        """Raises ConfigError for privacy, for state of another type than float32, and for a model that cannot be built."""
        check(order)
        self._model = weights.built(order.model)
        self._state = list(self._model.state_dict().values())
        if odd := {str(each.dtype) for each in self._state if each.dtype != torch.float32}:
            raise ConfigError(f"the crowd engine: the model has state of {', '.join(sorted(odd))}; allowed: float32")
        if len(order.model.inputs) == 3:
            self._model = self._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._state = list(self._model.state_dict().values())
        self.why_not = hindrances(self._model, order) if fast else ["switched off"]
        """Why the generic loop is taken; empty where the closed form is."""
        self._steps = Steps(self._model, order) if fast and not obstacles(self._model, order) else None
        is_alone = fast and not mixing(self._model, order.model.inputs)
        self._joining = Fold(self._model) if self._steps and is_alone else None
        self._spec, self._can_stack = order.model, is_alone
        self._stacked: Stacked | None = None

    @property
    def size(self) -> int:
        """Words of the flat model."""
        return sum(each.numel() for each in self._state)

    def add(self, members: Iterable[Member], order: Order, start: Tensor, total: Tensor) -> None:
        """Add each member's model after its training from `start (P,)` to `total (P,)`, times its number of cases.

        Raises DataError for a member without cases.
        """
        check(order)
        run = self._plain if self.why_not else self._closed
        with torch.no_grad():
            run(_those_with_cases(members), order, start, total)

    def _plain(self, members: Iterable[Member], order: Order, start: Tensor, total: Tensor) -> None:
        shapes, sums, folded = self._views(start), self._views(total), list[Member]()
        if stacked := self._side_by_side(order):
            stacked.add([(member.name, member.cases) for member in members], order, shapes, sums)
            return
        fold = None if objections(order) or obstacles(self._model, order) else self._joining
        for member in members:
            if fold and _is_one_step(member, order):
                folded.append(member)
            else:
                self._alone(member, order, shapes, sums)
        for part in _parts(folded):
            assert fold is not None
            fold.add([member.cases for member in part], order, shapes, sums)

    def _alone(self, member: Member, order: Order, shapes: list[Tensor], sums: list[Tensor]) -> None:
        torch._foreach_copy_(self._state, shapes)
        if self._steps and not obstacles(self._model, order):
            self._steps.train(member.cases, order, member.name)
        else:
            with torch.enable_grad():
                train(self._model, member.cases, order, member.name)
            if device_of(order.device).type != "cpu":  # moving a model gives it other memory
                self._state, self._steps = list(self._model.cpu().state_dict().values()), None
        torch._foreach_add_(sums, self._state, alpha=float(len(member.cases[1])))

    def _side_by_side(self, order: Order) -> Stacked | None:
        """On an accelerator, where float32 is asked for and nothing stands against it."""
        device = device_of(order.device)
        if device.type != "cuda" or not self._can_stack or objections(order) or order.training.precision != "float32":
            return None
        self._stacked = self._stacked or Stacked(weights.built(self._spec), device)
        return self._stacked

    def _views(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, [each.numel() for each in self._state])
        return [part.view(each.shape) for part, each in zip(parts, self._state, strict=True)]

    def _closed(self, members: Iterable[Member], order: Order, start: Tensor, total: Tensor) -> None:
        alone, gradient = start.clone(), _gradient_of(order)
        weight, bias = self._views(alone)
        sums, folded = self._views(total), []
        for member in members:
            count = len(member.cases[1])
            if _is_one_step(member, order):
                folded.append(member)
                continue
            alone.copy_(start)
            for x, y in batches_of(member.cases, order, member.name):
                x = x.flatten(1)
                slope = gradient(torch.addmm(bias, x, weight.t()), y, [len(y)])
                weight.addmm_(slope.t(), x, alpha=-order.learning_rate / len(y))
                bias.add_(slope.sum(0), alpha=-order.learning_rate / len(y))
            total.add_(alone, alpha=float(count))
        alone.copy_(start)
        for part in _parts(folded):
            self._fold(part, order, (weight, bias), sums)

    def _fold(self, members: list[Member], order: Order, at: tuple[Tensor, Tensor], sums: list[Tensor]) -> None:
        """Members of one step: sum of n_i (w - rate * mean gradient_i) = w * sum n_i - rate * the sum over all cases."""
        sizes = [len(member.cases[1]) for member in members]
        x = torch.cat([member.cases[0] for member in members]).flatten(1)
        y = torch.cat([member.cases[1] for member in members])
        slope = _gradient_of(order)(torch.addmm(at[1], x, at[0].t()), y, sizes)
        torch._foreach_add_(sums, list(at), alpha=float(sum(sizes)))
        sums[0].addmm_(slope.t(), x, alpha=-order.learning_rate)
        sums[1].add_(slope.sum(0), alpha=-order.learning_rate)


def _is_one_step(member: Member, order: Order) -> bool:
    """Whether the member's training is one step of all its cases as they are."""
    count = len(member.cases[1])
    return order.augment == "none" and count <= order.training.batch_size and steps_of(count, order) == 1


def _parts(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Members with `FOLDED` cases together, or one with more, so that what is joined does not grow with the cohort."""
    part, cases = list[Member](), 0
    for member in members:
        if part and cases + len(member.cases[1]) > FOLDED:
            yield part
            part, cases = [], 0
        part.append(member)
        cases += len(member.cases[1])
    if part:
        yield part


def _those_with_cases(members: Iterable[Member]) -> Iterable[Member]:
    for member in members:
        if len(member.cases[1]) == 0:
            raise DataError(f"site {member.name} has no training cases")
        yield member


def _gradient_of(order: Order) -> Callable[[Tensor, Tensor, list[int]], Tensor]:
    """`(logits (N, K), y (N,), cases of each group)` -> each case's gradient of its group's mean loss, times its cases.

    Cross-entropy or, of one logit, binary cross-entropy, each the mean weighted by class of `fedmed.learning.losses`.
    """
    classes = torch.tensor(order.class_weights)

    def gradient(logits: Tensor, y: Tensor, sizes: list[int]) -> Tensor:
        if logits.shape[1] == 1:
            slope = torch.sigmoid(logits) - y.to(logits.dtype)[:, None]
        else:
            slope = torch.softmax(logits, 1)
            slope.scatter_add_(1, y[:, None], torch.full((len(y), 1), -1.0))
        if len(set(order.class_weights)) == 1:
            return slope  # a weighted mean of equal weights is the mean
        each = classes[y]
        shares = [part * (len(part) / part.sum()) for part in torch.split(each, sizes)]
        return slope * torch.cat(shares)[:, None]

    return gradient
