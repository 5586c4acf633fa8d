"""Training steps on a device whose memory is too small for a batch: its cases go through the network in parts.

The step stays the one of the whole batch, whatever the loss is, also one that does not add up over cases (Dice). First all
parts go through the network without gradients; of the whole batch's loss comes the gradient of each output; then each part
goes through again, and its outputs' gradients back (Gao et al. 2021, "Scaling deep contrastive learning batch size under
memory limited setup", section 3.2). That is one forward pass more. Equal up to rounding; dropout draws other, equally
likely masks, and batch normalisation takes its statistics of each part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fedmed.errors import DataError

Loss = Callable[[Tensor, Tensor], Tensor]
_log = logging.getLogger(__name__)


class Fitting:
    """Takes gradients of batches; remembers how many cases fit at once."""

    def __init__(
        self, model: nn.Module, forward: Callable[[Tensor], Tensor], loss: Loss, more: Callable[[], Tensor | float]
    ) -> None:
        """`forward`: cases to logits, float32. `loss`: of logits and y, a scalar. `more`: added to it, of weights alone."""
        self._model, self._forward, self._loss, self._more = model, forward, loss, more
        self.at_once: int | None = None
        """Cases that go through the network at a time; None: a batch whole."""

    def backward(self, x: Tensor, y: Tensor, scale: Callable[[Tensor], Tensor]) -> Tensor:
        """Leave the gradients of `scale(loss + more)` in the model's parameters; returns the loss, a scalar.

        Raises DataError where not even one case fits into the device's memory.
        """
        while True:
            at_once = min(len(x), self.at_once or len(x))
            try:
                with _as_it_was_unless_done(self._model):
                    self._model.zero_grad(set_to_none=False)
                    return self._whole(x, y, scale) if at_once == len(x) else self._in_parts(x, y, scale, at_once)
            except torch.OutOfMemoryError as error:
                if at_once == 1:
                    raise DataError(
                        f"one case of shape {tuple(x.shape[1:])} does not fit into the memory of {x.device}: use smaller "
                        "patches or a smaller model, end other programs on the GPU, or set device: cpu"
                    ) from error
            self.at_once = -(-at_once // 2)
            _log.warning(
                "the memory of %s is too small for %d cases at once; going on with %d", x.device, at_once, self.at_once
            )
            if x.device.type == "cuda":
                torch.cuda.empty_cache()

    def _whole(self, x: Tensor, y: Tensor, scale: Callable[[Tensor], Tensor]) -> Tensor:
        loss = self._loss(self._forward(x), y)
        scale(loss + self._more()).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _in_parts(self, x: Tensor, y: Tensor, scale: Callable[[Tensor], Tensor], at_once: int) -> Tensor:
        parts, draws = torch.split(x, at_once), []
        with torch.no_grad():
            outputs = []
            for part in parts:
                draws.append(_draws(x.device))
                outputs.append(self._forward(part))
        logits = torch.cat(outputs).requires_grad_()
        loss = self._loss(logits, y)
        scale(loss + self._more()).backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        after, kept = _draws(x.device), _buffers(self._model)
        for part, gradient, drawn in zip(parts, torch.split(logits.grad, at_once), draws, strict=True):
            _draw_again(drawn)
            self._forward(part).backward(gradient)  # type: ignore[no-untyped-call]
        _draw_again(after)
        _put_back(self._model, kept)  # statistics count a case once
        return loss.detach()


Draws = tuple[Tensor, Tensor | None]


def _draws(device: torch.device) -> Draws:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _draw_again(drawn: Draws) -> None:
    torch.set_rng_state(drawn[0])
    if drawn[1] is not None:
        torch.cuda.set_rng_state(drawn[1])


def _buffers(model: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in model.buffers()]


def _put_back(model: nn.Module, kept: list[Tensor]) -> None:
    with torch.no_grad():
        for buffer, value in zip(model.buffers(), kept, strict=True):
            buffer.copy_(value)


@contextmanager
def _as_it_was_unless_done(model: nn.Module) -> Iterator[None]:
    """Statistics and draws of a step that broke off are as before it."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    kept, drawn = _buffers(model), _draws(device)
    try:
        yield
    except torch.OutOfMemoryError:
        _put_back(model, kept)
        _draw_again(drawn)
        raise
