"""One site's training in one round: plain PyTorch, seeded by run, site and round."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedmed.clock import derive_seed
from fedmed.config.scenario import Training
from fedmed.learning.kinds import KINDS, Batch
from fedmed.learning.order import Order
from fedmed.learning.prediction import channels_last, device_of


def train(model: nn.Module, data: Batch, order: Order, site: str) -> float:
    """Train `model` in place on the site's cases `x (N, ...)`, `y (N, ...)`; returns the mean loss of the steps."""
    kind = KINDS[order.model.kind]
    seed = derive_seed(order.seed, "train", site, order.round)
    torch.manual_seed(seed)  # dropout draws from the global generator
    generator = torch.Generator().manual_seed(seed)
    device = device_of(order.device)
    model.to(device).train()
    optimiser = optimiser_of(model, order)
    anchors = [p.detach().clone() for p in model.parameters()] if order.training.proximal_mu else []
    mixed = order.training.precision == "auto" and device.type == "cuda"
    half = torch.bfloat16 if mixed and torch.cuda.is_bf16_supported() else torch.float16
    scaler = torch.amp.GradScaler("cuda", enabled=mixed and half is torch.float16)
    weights = torch.tensor(order.class_weights, device=device)
    total, steps = torch.zeros((), device=device), 0
    for x, y in kind.batches(data, order, generator):
        x, y = channels_last(x.to(device)), y.to(device)
        with torch.autocast("cuda", half, enabled=mixed):
            logits = model(x)
        loss = kind.loss(logits.float(), y, weights)
        total, steps = total + loss.detach(), steps + 1
        optimiser.zero_grad(set_to_none=False)
        scaler.scale(loss + penalty(model, anchors, order.training)).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimiser)
        scaler.update()
    return float(total) / max(1, steps)


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
    decay = training.weight_decay
    match training.optimiser:
        case "sgd":
            return torch.optim.SGD(model.parameters(), rate, training.momentum, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(model.parameters(), rate, weight_decay=decay)
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
