"""Checkpoints of a training: after so many steps, all that the next step depends on.

That is weights and statistics, the optimiser's state, the scaler's, and what dropout is drawn from. The batches are not in
it: the same seed makes them again, and those that were trained on are made and passed over.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor, nn

from fedmed.learning.fitting import Fitting
from fedmed.wire.checkpoints import Checkpoint, keeper
from fedmed.wire.tensors import Tensors

MODEL, OPTIMISER, DRAWS, LOSS = "model/", "optimiser/", "draws/", "loss"


class Progress:
    """Steps of one training: taken up where somebody kept them, offered to whoever keeps them."""

    def __init__(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler, fitting: Fitting
    ) -> None:
        self._model, self._optimiser, self._scaler, self._fitting = model, optimiser, scaler, fitting
        self._keeper = keeper()
        self._found = None if self._keeper is None else self._keeper.found()
        self.done = 0
        """Steps that are in the checkpoint; 0 where there is none, or it is not one of this training."""
        if self._found is not None and self._fits(self._found.tensors):
            self.done = int(json.loads(self._found.text)["steps"])

    def _fits(self, tensors: Tensors) -> bool:
        kept = {name: value.shape for name, value in tensors.items() if name.startswith(MODEL)}
        return kept == {MODEL + name: tuple(value.shape) for name, value in self._model.state_dict().items()}

    def take_up(self) -> Tensor:
        """Be where the checkpoint is; returns the sum of the losses of its steps, a scalar."""
        assert self._found is not None
        told, tensors = json.loads(self._found.text), {name: _tensor(v) for name, v in self._found.tensors.items()}
        self._found = None
        self._model.load_state_dict(_below(MODEL, tensors))
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(OPTIMISER, tensors).items():
            number, what = name.split("/")
            states.setdefault(int(number), {})[what] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": states})
        if told["scaler"]:  # it scales nothing where there is no GPU, or a newer one
            self._scaler.load_state_dict(told["scaler"])
        self._fitting.at_once = told["at_once"]
        torch.set_rng_state(tensors[f"{DRAWS}cpu"])
        if f"{DRAWS}cuda" in tensors and self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors[f"{DRAWS}cuda"], self._device)
        return tensors[LOSS].to(self._device)

    @property
    def _device(self) -> torch.device:
        return next((parameter.device for parameter in self._model.parameters()), torch.device("cpu"))

    def stepped(self, steps: int, loss: Tensor) -> None:
        """So many steps are done, and `loss` is the sum of theirs; kept if it is time."""
        if self._keeper is None or not self._keeper.is_due():
            return
        held = {MODEL + name: value for name, value in self._model.state_dict().items()}
        for number, state in self._optimiser.state_dict()["state"].items():
            held |= {f"{OPTIMISER}{number}/{name}": value for name, value in state.items() if isinstance(value, Tensor)}
        held |= {LOSS: loss, f"{DRAWS}cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            held[f"{DRAWS}cuda"] = torch.cuda.get_rng_state(self._device)
        told = {"steps": steps, "scaler": self._scaler.state_dict(), "at_once": self._fitting.at_once}
        self._keeper.keep(Checkpoint(json.dumps(told), {name: v.detach().cpu().numpy() for name, v in held.items()}))


def _tensor(value: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(value))  # of its own: what was kept may be read-only


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
