"""One site's training in one round: plain PyTorch, seeded by run, site and round."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedmed.clock import derive_seed
from fedmed.config.scenario import Training
from fedmed.learning import weights
from fedmed.learning.fitting import Fitting
from fedmed.learning.kinds import KINDS, Batch
from fedmed.learning.order import Order
from fedmed.learning.prediction import channels_last, device_of
from fedmed.learning.resuming import Progress
from fedmed.wire.tensors import Tensors


@dataclass(frozen=True)
class Beside:
    """What an algorithm adds to the steps of a training."""

    correction: Tensors = field(default_factory=dict)
    """Added to the gradients of these weights, by name."""
    anchor: Tensors | None = None
    """The weights that a proximal term pulls to; those that the training begins with where None."""


PLAIN = Beside()


def train(model: nn.Module, data: Batch, order: Order, site: str, beside: Beside = PLAIN) -> float:
    """Train `model` in place on the site's cases `x (N, ...)`, `y (N, ...)`; returns the mean loss of the steps.

    Tensors that the order freezes stay as they are to the last bit. Where somebody keeps checkpoints
    (`wire.checkpoints`), a training that was broken off goes on at the last one, with the same result to the last bit.
    """
    seed = derive_seed(order.seed, "train", site, order.round)
    torch.manual_seed(seed)  # dropout draws from the global generator
    generator = torch.Generator().manual_seed(seed)
    device = device_of(order.device)
    model.to(device).train()
    with holding(model, frozenset(weights.frozen_in(model, order.frozen))):
        return _steps(model, data, order, generator, device, beside)


def _steps(
    model: nn.Module, data: Batch, order: Order, generator: torch.Generator, device: torch.device, beside: Beside
) -> float:
    kind, optimiser = KINDS[order.model.kind], optimiser_of(model, order)
    anchors = _anchors(model, beside) if order.training.proximal_mu else []
    corrected = _corrected(model, beside)
    mixed = order.training.precision == "auto" and device.type == "cuda"
    half = torch.bfloat16 if mixed and torch.cuda.is_bf16_supported() else torch.float16
    scaler = torch.amp.GradScaler("cuda", enabled=mixed and half is torch.float16)
    classes = torch.tensor(order.class_weights, device=device)

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cuda", half, enabled=mixed):
            logits: Tensor = model(x)
        return logits.float()

    fitting = Fitting(
        model, forward, lambda logits, y: kind.loss(logits, y, classes), lambda: penalty(model, anchors, order.training)
    )
    progress = Progress(model, optimiser, scaler, fitting)
    total, steps = torch.zeros((), device=device), 0
    for x, y in kind.batches(data, order, generator):
        if steps < progress.done:
            steps += 1
            total = progress.take_up() if steps == progress.done else total
            continue
        total, steps = total + fitting.backward(channels_last(x.to(device)), y.to(device), scaler.scale), steps + 1
        for parameter, added in corrected:
            assert parameter.grad is not None
            parameter.grad.add_(added, alpha=scaler.get_scale())
        scaler.step(optimiser)
        scaler.update()
        progress.stepped(steps, total)
    return float(total) / max(1, steps)


def _anchors(model: nn.Module, beside: Beside) -> list[Tensor]:
    if beside.anchor is None:
        return [p.detach().clone() for p in model.parameters()]
    return [_beside(beside.anchor[name], p) for name, p in model.named_parameters()]


def _corrected(model: nn.Module, beside: Beside) -> list[tuple[nn.Parameter, Tensor]]:
    there = [(p, beside.correction[name]) for name, p in weights.trained(model).items() if name in beside.correction]
    return [(p, _beside(value, p)) for p, value in there]


def _beside(value: NDArray[Any], parameter: nn.Parameter) -> Tensor:
    """A tensor where a parameter is, of its type."""
    return torch.tensor(value, device=parameter.device, dtype=parameter.dtype)


@contextmanager
def holding(model: nn.Module, frozen: frozenset[str]) -> Iterator[None]:
    """Within, no step changes the tensors `frozen`: parameters have no gradient, and layers whose buffers are among them,
    as the statistics of batch normalisation, use these as they are."""
    held = [p for name, p in model.named_parameters(remove_duplicate=False) if name in frozen and p.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    for prefix, module in model.named_modules():
        if any(f"{prefix}.{name}".lstrip(".") in frozen for name, _ in module.named_buffers(recurse=False)):
            module.training = False  # of this layer alone, not of those in it
    try:
        yield
    finally:
        for parameter in held:  # the process's next order may have another list
            parameter.requires_grad_(True)


def penalty(model: nn.Module, anchors: list[Tensor], training: Training) -> Tensor | float:
    """What is added to a step's loss: of the weights alone, not of any case."""
    total: Tensor | float = 0.0
    if training.l2:
        squares = [p.square().sum() for p in model.parameters() if p.ndim > 1]
        total = training.l2 * torch.stack(squares).sum()
    if anchors:
        # FedProx, Li et al. 2020, equation 2: mu/2 |w - w_global|^2
        squares = [(p - anchor).square().sum() for p, anchor in zip(model.parameters(), anchors, strict=True)]
        total = total + training.proximal_mu / 2 * torch.stack(squares).sum()
    return total


def optimiser_of(model: nn.Module, order: Order) -> torch.optim.Optimizer:
    """The optimiser that the order names, new: its momentum ends with the round."""
    training, rate = order.training, order.learning_rate
    decay, parameters = training.weight_decay, [p for p in model.parameters() if p.requires_grad]
    match training.optimiser:
        case "sgd":
            return torch.optim.SGD(parameters, rate, training.momentum, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(parameters, rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, rate, weight_decay=decay)
