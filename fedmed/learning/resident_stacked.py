"""Members side by side on an accelerator: each with weights of its own, all taking a step at once (`torch.func.vmap`).

For devices that are idle with one small model. On a CPU grouped kernels are slower than one model after the other. Batches
and steps are those of a clinic; sums within a step have another order, so that weights are equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from fedmed.learning.kinds import Batch
from fedmed.learning.order import Order
from fedmed.learning.resident_fold import losses_of
from fedmed.learning.resident_steps import batches_of

TOGETHER = 32
"""Members that have their weights on the device at once."""
Named = tuple[str, Batch]
"""A member's name and cases."""


class Stacked:
    """Trains members of a model for which `resident_fold.mixing` finds nothing, by orders it has no objections to."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._device, self._model = device, model.to(device)
        names = [name for name, _ in model.named_parameters()]

        def loss(weights: list[Tensor], x: Tensor, y: Tensor, shares: Tensor) -> Tensor:
            logits = functional_call(self._model, dict(zip(names, weights, strict=True)), (x,))
            return (losses_of(logits, y) * shares).sum()

        self._slopes = vmap(grad_and_value(loss))

    def each(
        self, members: Sequence[Named], order: Order, start: Sequence[Tensor]
    ) -> Iterator[tuple[str, list[Tensor], float]]:
        """Each member's name, its weights on the CPU after its training from `start`, and its mean loss.

        Not in their order: members of one size are trained together, so that they end together.
        """
        by_size = sorted(members, key=lambda member: len(member[1][1]), reverse=True)
        for begin in range(0, len(by_size), TOGETHER):
            group = by_size[begin : begin + TOGETHER]
            trained, losses = self._train(group, order, start)
            for number, (name, _) in enumerate(group):
                yield name, [each[number] for each in trained], losses[number]

    def _train(self, members: Sequence[Named], order: Order, start: Sequence[Tensor]) -> tuple[list[Tensor], list[float]]:
        weights = [each.to(self._device).expand(len(members), *each.shape).clone() for each in start]
        total, steps = torch.zeros(len(members)), torch.zeros(len(members))
        for x, y, shares in _in_step(members, order):
            slopes, losses = self._slopes(weights, x.to(self._device), y.to(self._device), shares.to(self._device))
            torch._foreach_add_(weights, list(slopes), alpha=-order.learning_rate)
            total += losses.cpu()
            steps += shares.any(1)
        return [each.cpu() for each in weights], (total / steps).tolist()


def _in_step(members: Sequence[Named], order: Order) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """`x (K, N, ...)`, `y (K, N)` and what each case's loss counts `(K, N)`, step by step until the last member is done.

    Short batches are filled with cases again that count nothing, as are those of members who are done.
    """
    classes = torch.tensor(order.class_weights)
    for batches in zip_longest(*(batches_of(cases, order, name) for name, cases in members)):
        width = max(len(batch[1]) for batch in batches if batch is not None)
        filled = [
            _filled(batch or (cases[0][:1], cases[1][:1]), width, classes, batch is not None)
            for batch, (_, cases) in zip(batches, members, strict=True)
        ]
        x, y, shares = (torch.stack(parts) for parts in zip(*filled, strict=True))
        yield x, y, shares


def _filled(batch: Batch, width: int, classes: Tensor, counts: bool) -> tuple[Tensor, Tensor, Tensor]:
    rows = torch.arange(width) % len(batch[1])
    shares = torch.zeros(width)
    if counts:
        each = classes[batch[1]]
        shares[: len(each)] = each / each.sum()
    return batch[0][rows], batch[1][rows], shares
