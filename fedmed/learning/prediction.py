"""From a trained network to class probabilities, on the device there is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def device_of(wish: str) -> torch.device:
    """The device to compute on: `auto` takes CUDA where there is one."""
    return torch.device("cuda" if wish == "auto" and torch.cuda.is_available() else "cpu" if wish == "auto" else wish)


def channels_last(x: Tensor) -> Tensor:
    """Images `(N, C, H, W)` in the memory order that convolutions like; anything else as it is."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def predict(model: nn.Module, x: Tensor, device: torch.device, batch: int = 512) -> Tensor:
    """Class probabilities `(N, K)` float32 on the CPU, K = 2 for a binary task."""
    model.to(device).eval()
    with torch.inference_mode():
        logits = [model(channels_last(part.to(device))).float().cpu() for part in torch.split(x, batch)]
    return probabilities_of(torch.cat(logits)) if logits else torch.zeros(0, 2)


def probabilities_of(logits: Tensor) -> Tensor:
    """Logits `(N, 1 or K, ...)` as probabilities `(N, 2 or K, ...)`: one logit is that of the second class."""
    if logits.shape[1] > 1:
        return torch.softmax(logits, 1)
    positive = torch.sigmoid(logits)
    return torch.cat([1 - positive, positive], 1)
