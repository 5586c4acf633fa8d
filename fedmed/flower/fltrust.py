"""FLTrust: updates count by how far they go in the direction of the center's own, trained on a small clean root set.

Cao, Fang, Liu and Gong, "FLTrust: Byzantine-robust federated learning via trust bootstrapping", NDSS 2021, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from fedmed.errors import ConfigError, FederationError
from fedmed.flower.arrays import array_records, own, views
from fedmed.flower.keys import CONFIG_KEY
from fedmed.wire.tensors import Tensors

Train = Callable[[str, Tensors], Tensors]
"""(the round's order, the global model) -> the model trained on the root set."""
Vector = NDArray[np.float64]


class FLTrust(FedAvg):
    """Flower's FedAvg with the mean of algorithm 2. It needs every update, so that masked rounds refuse it."""

    def __init__(self, root_share: float = 0.05, **settings: Any) -> None:
        """`root_share`: of each site's training patients, taken from it before the run for the center's root set: no site
        has them. Raises ValueError outside 0 to 0.5."""
        if not 0 < root_share <= 0.5:
            raise ValueError(f"root_share is {root_share}; allowed: above 0 and at most 0.5")
        super().__init__(**settings)
        self.root_share = root_share
        self._train: Train | None = None
        self._asked: tuple[str, Tensors] | None = None

    def trust(self, train: Train | None) -> None:
        """Take the center's own training. Raises ConfigError where there is none, as at a center without a root set."""
        if train is None:
            raise ConfigError(
                "strategy.name: fltrust needs a root set at the center, which a simulation alone has (strategy.options."
                "root_share); allowed here: fedavg, fedmedian, fedtrimmedavg, krum, multikrum, bulyan"
            )
        self._train = train

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """As FedAvg; the order and the model are kept for the center's own training."""
        self._asked = str(config[CONFIG_KEY]), views(arrays)
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The global model moved by the trusted mean; counters by FedAvg's. The numbers say how many had any trust."""
        answers = list(replies)
        mean, numbers = super().aggregate_train(server_round, answers)
        if mean is None:
            return None, None
        if self._train is None or self._asked is None:
            raise FederationError("fltrust was given no root set before its first round")
        order, model = self._asked
        names = [name for name, value in model.items() if value.dtype.kind == "f"]
        start = _flat(model, names)
        root = _flat(self._train(order, model), names) - start
        sent = [_flat(update, names) - start for update in map(_update, answers)]
        scores = trust_scores(root, sent)
        moved = _shaped(start + trusted_mean(root, sent, scores), model, names)
        numbers = MetricRecord({**(numbers or {}), "trusted": int(np.count_nonzero(scores)), "trust": float(scores.mean())})
        return own({**views(mean), **moved}), numbers

    def state_dict(self) -> dict[str, Any]:
        """Nothing: each round is by itself."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


def trust_scores(root: Vector, updates: Sequence[Vector]) -> Vector:
    """Cosine of each update with the root's, 0 where it is negative or an update is 0: `(N,)` (Cao et al., equation 3)."""
    norms = np.array([np.linalg.norm(root) * np.linalg.norm(update) for update in updates])
    products = np.array([float(np.dot(root, update)) for update in updates])
    return np.asarray(np.clip(np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0), 0.0, 1.0))


def trusted_mean(root: Vector, updates: Sequence[Vector], scores: Vector) -> Vector:
    """Mean by scores of the updates, each brought to the root's norm: `(P,)`; 0 where none is trusted (equations 4, 5)."""
    total, length = float(scores.sum()), float(np.linalg.norm(root))
    found = np.zeros_like(root)
    for score, update in zip(scores, updates, strict=True):
        if score > 0:
            found += score / total * length / float(np.linalg.norm(update)) * update
    return found


def _update(answer: Message) -> Tensors:
    [record] = array_records(answer.content).values()
    return views(record)


def _flat(tensors: Tensors, names: Sequence[str]) -> Vector:
    return np.concatenate([np.ravel(tensors[name]).astype(np.float64) for name in names])


def _shaped(flat: Vector, like: Tensors, names: Sequence[str]) -> Tensors:
    found: Tensors = {}
    at = 0
    for name in names:
        value = like[name]
        found[name] = flat[at : at + value.size].reshape(value.shape).astype(value.dtype)
        at += value.size
    return found
