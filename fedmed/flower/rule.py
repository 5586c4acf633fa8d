"""A Flower strategy as the round loop sees it: it proposes messages, then turns answers into a new global model.

Where the strategy's rule starts from a weighted mean, the loop forms that mean while answers come in and the strategy is
given one answer that carries it: the mean of one is itself, so Flower's own code runs unchanged and the memory does not
grow with the number of sites. Every other strategy gets all answers, held until the round closes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.app.exception import AppExitException
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from fedmed.clock import derive_seed
from fedmed.errors import ConfigError, FederationError
from fedmed.flower import arrays
from fedmed.flower.keys import CONFIG_KEY, WEIGHT_KEY
from fedmed.flower.memory import Memory
from fedmed.wire.tensors import Tensors

Messages = Sequence[Message]
MEANS = (flower.FedAvg, flower.FedAvgM, flower.FedAdam, flower.FedYogi, flower.FedAdagrad)


@dataclass(frozen=True)
class Taken:
    """An answer that was taken: always its numbers, and its tensors where the rule needs every update."""

    node: int
    metrics: dict[str, Any]
    tensors: Tensors | None = None


class Roster(Grid):
    """The Grid that a strategy sees while it proposes: the nodes in the order of their sites' names, nothing to send on.

    Flower samples by position, so the order makes one seed choose the same sites on every engine.
    """

    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = list(nodes)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes, in the order of their sites' names."""
        return list(self._nodes)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise FederationError("a strategy proposes messages; the round loop alone sends and receives them")

    set_run = create_message = push_messages = pull_messages = send_and_receive = _refuse
    run = property(_refuse)


class Rule:
    """One Flower strategy, with what it needs to be replayed and resumed."""

    def __init__(self, strategy: Strategy, seed: int) -> None:
        self.strategy = strategy
        self._seed = seed
        self._memory = Memory(strategy)
        own = type(strategy).aggregate_train
        weighted_by_cases = getattr(strategy, "weighted_by_key", WEIGHT_KEY) == WEIGHT_KEY
        declared = getattr(strategy, "needs_only_the_mean", False) is True
        self.streams = weighted_by_cases and (declared or any(own is base.aggregate_train for base in MEANS))
        self._is_plain_mean = own is flower.FedAvg.aggregate_train
        self._summary: dict[str, Any] | None = None  # of a rule that has seen every answer itself

    @property
    def name(self) -> str:
        """The strategy's class."""
        return type(self.strategy).__name__

    def propose(self, kind: str, number: int, model: Tensors, order: str, nodes: Sequence[int]) -> list[Message]:
        """The strategy's messages for a phase (`train` or `evaluate`) of round `number`; their nodes are the cohort."""
        for value in model.values():
            value.flags.writeable = False  # the strategy borrows the model
        random.seed(derive_seed(self._seed, "cohort", kind, number))  # Flower samples from the global generator
        configure = self.strategy.configure_train if kind == MessageType.TRAIN else self.strategy.configure_evaluate
        config = ConfigRecord({CONFIG_KEY: order})
        messages = list(configure(number, arrays.borrow(model), config, Roster(nodes)))
        strangers = {message.metadata.dst_node_id for message in messages} - set(nodes)
        if strangers:
            raise FederationError(f"{self.name} addressed unknown nodes {sorted(strangers)}")
        return messages

    def aggregate(self, number: int, taken: Sequence[Taken], mean: Tensors | None, model: Tensors) -> Tensors:
        """The new global model from the answers of a round: from their mean where `streams`, else from all of them."""
        if self._is_plain_mean and mean is not None:
            return mean
        given = list(taken) if mean is None else [Taken(taken[0].node, _mean_metrics(taken), mean)]
        try:
            record, numbers = self.strategy.aggregate_train(number, [_message(one) for one in given])
        except AppExitException as error:  # the root of what Flower's strategies raise on purpose
            raise FederationError(f"{self.name} made no model in round {number}: {error}") from error
        self._summary = dict(numbers) if numbers and mean is None else None
        if record is None:
            raise FederationError(f"{self.name} made no model from {len(taken)} answers of round {number}")
        made = arrays.views(record)
        if {name: value.shape for name, value in made.items()} != {name: value.shape for name, value in model.items()}:
            raise FederationError(f"{self.name} made another model in round {number}: its tensors or their shapes changed")
        return {name: _as(made[name], value) for name, value in model.items()}

    def metrics(self, kind: str, number: int, taken: Sequence[Taken]) -> dict[str, Any]:
        """The strategy's own summary of the answers' numbers."""
        if not taken:
            return {}
        if kind == MessageType.TRAIN and self._summary is not None:
            return self._summary
        if kind == MessageType.TRAIN:
            summarise = getattr(self.strategy, "train_metrics_aggr_fn", None)
            contents = [_message(Taken(one.node, one.metrics)).content for one in taken]
            record = summarise(contents, getattr(self.strategy, "weighted_by_key", WEIGHT_KEY)) if summarise else None
        else:
            record = self.strategy.aggregate_evaluate(number, [_message(one) for one in taken])
        return dict(record) if record else {}

    def peak_bytes(self, model: Tensors, cohort: int) -> int:
        """Bytes of updates held at once by a rule that needs them all; 0 where the mean streams."""
        return 0 if self.streams else cohort * sum(value.nbytes for value in model.values())

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """What the strategy has learned since it was built, as tensors and JSON."""
        return self._memory.save()

    def restore(self, tensors: Tensors, values: dict[str, Any]) -> None:
        """Put back what `state` gave. Raises ConfigError where it does not fit the strategy."""
        try:
            self._memory.load(tensors, values)
        except KeyError as error:
            raise ConfigError(f"the state of {self.name} lacks {error}; was it saved by another strategy?") from error


def _mean_metrics(taken: Sequence[Taken]) -> dict[str, Any]:
    """The numbers of one answer that stands for all of them."""
    total = sum(one.metrics[WEIGHT_KEY] for one in taken)
    contents = [_message(Taken(one.node, one.metrics)).content for one in taken]
    return {WEIGHT_KEY: total, **aggregate_metricrecords(contents, WEIGHT_KEY)}


def _message(one: Taken) -> Message:
    content = RecordDict({"metrics": MetricRecord(one.metrics)})
    if one.tensors is not None:
        content["arrays"] = arrays.borrow({name: _real(value) for name, value in one.tensors.items()})
    instruction = Message(RecordDict({}), dst_node_id=one.node, message_type=MessageType.TRAIN)
    return Message(content, reply_to=instruction)


def _real(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whole numbers as floats: some of Flower's rules work in place, which NumPy refuses for whole numbers."""
    return value if np.issubdtype(value.dtype, np.floating) else value.astype(np.float64)


def _as(value: np.ndarray[Any, Any], like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`value` in the dtype of `like`: Flower's arithmetic makes float64 of integer buffers."""
    if value.dtype == like.dtype:
        return value
    rounded = np.rint(value) if like.dtype.kind in "iub" else value  # of a 0-d array NumPy makes a scalar
    return np.asarray(rounded, like.dtype)
