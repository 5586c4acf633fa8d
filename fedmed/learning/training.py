"""One site's training in one round: plain PyTorch, seeded by run, site and round."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmed.clock import derive_seed
from fedmed.config.scenario import Training
from fedmed.learning import augment
from fedmed.learning.order import Order

Batch = tuple[Tensor, Tensor]


def device_of(wish: str) -> torch.device:
    """The device to compute on: `auto` takes CUDA where there is one."""
    return torch.device("cuda" if wish == "auto" and torch.cuda.is_available() else "cpu" if wish == "auto" else wish)


def train(model: nn.Module, data: Batch, order: Order, site: str) -> float:
    """Train `model` in place on the site's cases `x (N, ...)`, `y (N,)`; returns the mean loss of the steps."""
    seed = derive_seed(order.seed, "train", site, order.round)
    torch.manual_seed(seed)  # dropout draws from the global generator
    generator = torch.Generator().manual_seed(seed)
    device = device_of(order.device)
    model.to(device).train()
    optimiser = _optimiser(model, order)
    anchors = [p.detach().clone() for p in model.parameters()] if order.training.proximal_mu else []
    mixed = order.training.precision == "auto" and device.type == "cuda"
    half = torch.bfloat16 if mixed and torch.cuda.is_bf16_supported() else torch.float16
    scaler = torch.amp.GradScaler("cuda", enabled=mixed and half is torch.float16)
    weights = torch.tensor(order.class_weights, device=device)
    total, steps = torch.zeros((), device=device), 0
    for x, y in _batches(data, order, generator):
        x, y = _channels_last(x.to(device)), y.to(device)
        with torch.autocast("cuda", half, enabled=mixed):
            logits = model(x)
        loss = loss_of(logits.float(), y, weights)
        total, steps = total + loss.detach(), steps + 1
        optimiser.zero_grad(set_to_none=False)
        scaler.scale(loss + _penalty(model, anchors, order.training)).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimiser)
        scaler.update()
    return float(total) / max(1, steps)


def loss_of(logits: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy as a mean weighted by class: `(N, 1)` logits are one binary logit, `(N, K)` one logit a class."""
    if logits.shape[1] > 1:
        return functional.cross_entropy(logits, y, weights)
    each = functional.binary_cross_entropy_with_logits(logits[:, 0], y.float(), reduction="none")
    return (each * weights[y]).sum() / weights[y].sum()


def _penalty(model: nn.Module, anchors: list[Tensor], training: Training) -> Tensor | float:
    penalty: Tensor | float = 0.0
    if training.l2:
        squares = [p.square().sum() for p in model.parameters() if p.ndim > 1]
        penalty = training.l2 * torch.stack(squares).sum()
    if anchors:
        # FedProx, Li et al. 2020, equation 2: mu/2 |w - w_global|^2
        squares = [(p - anchor).square().sum() for p, anchor in zip(model.parameters(), anchors, strict=True)]
        penalty = penalty + training.proximal_mu / 2 * torch.stack(squares).sum()
    return penalty


def _optimiser(model: nn.Module, order: Order) -> torch.optim.Optimizer:
    training, rate = order.training, order.learning_rate
    decay = training.weight_decay
    match training.optimiser:
        case "sgd":
            return torch.optim.SGD(model.parameters(), rate, training.momentum, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(model.parameters(), rate, weight_decay=decay)
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)


def _batches(data: Batch, order: Order, generator: torch.Generator) -> Iterator[Batch]:
    x, y = data
    change = augment.TABLE[order.augment]
    for rows in _rows(len(y), order.training, generator):
        yield change(x[rows], generator), y[rows]


def _rows(count: int, training: Training, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of each batch: a fresh permutation a pass, the last batch short, until the epochs or steps are done."""
    per_pass = -(-count // training.batch_size)
    steps = training.steps if training.steps is not None else per_pass * (training.epochs or 1)
    while steps > 0:
        rows = torch.randperm(count, generator=generator)
        yield from torch.split(rows, training.batch_size)[:steps]
        steps -= per_pass


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def predict(model: nn.Module, x: Tensor, device: torch.device, batch: int = 512) -> Tensor:
    """Class probabilities `(N, K)` float32 on the CPU, K = 2 for a binary task."""
    model.to(device).eval()
    with torch.inference_mode():
        logits = [model(_channels_last(part.to(device))).float().cpu() for part in torch.split(x, batch)]
    if not logits:
        return torch.zeros(0, 2)
    joined = torch.cat(logits)
    if joined.shape[1] == 1:
        positive = torch.sigmoid(joined[:, 0])
        return torch.stack([1 - positive, positive], 1)
    return torch.softmax(joined, 1)
