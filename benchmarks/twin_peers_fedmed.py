"""The arm of `twin_peers.py` that is ours: a crowd in two processes."""

from __future__ import annotations

import numpy as np

from benchmarks.twin_peers_task import BATCH, CLASSES, RATE, SEED, Cases, Cnn, Floats, name_of
from fedmed.config.scenario import Training
from fedmed.learning import models, weights
from fedmed.learning.crowd import Member
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.simulate.crowd import Crowd

WORKERS = 2
CNN = "cnn-of-the-benchmark"


class Engine:
    """The crowd, asked round by round."""

    def __init__(self, cases: Cases) -> None:
        task = cases.task
        models.TABLE[CNN] = lambda inputs, outputs: Cnn(task.tuned)
        spec = ModelSpec(name="logistic-regression" if task.model == "lr" else CNN, inputs=(1, 28, 28), classes=CLASSES)
        self._order = Order(
            round=1,
            seed=SEED,
            model=spec,
            preparation=Preparation(),
            training=Training(batch_size=BATCH, epochs=1, learning_rate=RATE),
            learning_rate=RATE,
            class_weights=(1.0,) * CLASSES,
            device="cpu",
        )
        self._names = list(weights.fresh(spec, 0))
        members = [Member(name_of(client), cases.all_of(client)) for client in range(task.clients)]
        self._crowd, self._number = Crowd(members, self._order, WORKERS), 0

    def round(self, members: list[int], start: list[Floats]) -> list[Floats]:
        """The mean of what the members learn from these weights."""
        self._number += 1
        order = self._order.model_copy(update={"round": self._number})
        found = self._crowd.train(members, dict(zip(self._names, start, strict=True)), order).mean
        return [np.asarray(each, np.float32) for each in found.values()]
