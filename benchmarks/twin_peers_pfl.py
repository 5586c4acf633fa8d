"""The arm of `twin_peers.py` that is pfl-research: its own loop, in one process or in several of torchrun."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.twin_peers_arm import Line
from benchmarks.twin_peers_task import BATCH, RATE, Cases, Floats, network


class Taught(nn.Module):
    """The model with the loss and the measures that pfl asks for."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Of a batch."""
        return functional.cross_entropy(self.model(x), y)

    def metrics(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        """Before and after the first round, which is not timed; never again."""
        return {"loss": Weighted(functional.cross_entropy(self.model(x), y, reduction="sum").item(), len(y))}


class Told(TrainingProcessCallback):  # type: ignore[misc]
    """Waits between two rounds for the next one to be asked for."""

    def __init__(self, line: Line, model: nn.Module) -> None:
        self._line, self._model, self._began = line, model, 0.0

    def _weights(self) -> list[Floats]:
        return [each.detach().numpy() for each in self._model.parameters()]

    def _waited(self) -> bool:
        is_asked = self._line.awaited(self._weights())
        self._began = time.perf_counter()
        return is_asked

    def on_train_begin(self, *, model: Any) -> Metrics:
        """The first."""
        self._waited()
        return Metrics()

    def after_central_iteration(self, aggregate_metrics: Any, model: Any, *, central_iteration: int) -> tuple[bool, Metrics]:
        """The others."""
        self._line.say(seconds=time.perf_counter() - self._began)
        return not self._waited(), Metrics()


def run(path: str, cases: Cases, rounds: int) -> None:
    """All rounds."""
    logging.disable(logging.CRITICAL)
    task = cases.task
    asked = ((number, client) for number in range(rounds + 1) for client in task.members(number))

    def made(who: tuple[int, int]) -> PyTorchTensorDataset:
        number, client = who
        return PyTorchTensorDataset(cases.of(client, number), user_id=str(client))

    inner = network(task)
    taught = Taught(inner)
    model = PyTorchModel(
        model=taught,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(taught.parameters(), lr=1.0),
    )
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=rounds, evaluation_frequency=10**6, train_cohort_size=task.cohort, val_cohort_size=0
        ),
        SimulatedBackend(
            training_data=FederatedDataset(made, lambda: next(asked)),
            val_data=None,
            postprocessors=[WeightByDatapoints()],
        ),
        model,
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=RATE, local_batch_size=BATCH),
        None,
        callbacks=[Told(Line(path), inner)],
    )
