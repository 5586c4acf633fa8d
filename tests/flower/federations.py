"""Rounds without sites: updates drawn from a seed, aggregated by our rule and by Flower's strategy itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy

from fedmed.federation.mean import WeightedMean
from fedmed.flower.rule import Roster, Rule, Taken
from fedmed.wire.tensors import Tensors

NODES = [11, 3, 7, 5, 2]  # in the order of their sites' names
CASES = [10, 250, 33, 1, 90]


def first_model() -> Tensors:
    random = np.random.default_rng(1)
    return {
        "body.weight": random.normal(size=(4, 3)).astype(np.float32),
        "body.bias": random.normal(size=4).astype(np.float32),
        "scale": np.array(0.5, np.float32),
    }


def updates(model: Tensors, number: int) -> list[Taken]:
    """What the sites answer to `model` in a round."""
    random = np.random.default_rng(number)
    made = []
    for node, cases in zip(NODES, CASES, strict=True):
        tensors = {
            name: np.asarray(value + random.normal(0, 0.1, value.shape).astype(np.float32)) for name, value in model.items()
        }
        made.append(Taken(node, {"num-examples": cases, "loss": float(random.uniform(0.1, 1))}, tensors))
    return made


def our_round(rule: Rule, number: int, model: Tensors, taken: list[Taken] | None = None) -> Tensors:
    """A round as the round loop does it."""
    rule.propose("train", number, model, "{}", NODES)
    taken = updates(model, number) if taken is None else taken
    if not rule.streams:
        return rule.aggregate(number, taken, None, model)
    mean = WeightedMean(model)
    for one in taken:
        mean.add(0, one.tensors, one.metrics["num-examples"])
    return rule.aggregate(number, [Taken(one.node, one.metrics) for one in taken], mean.result(), model)


def flowers_round(strategy: Strategy, number: int, model: Tensors) -> Tensors:
    """The same round by the strategy alone, with all replies at once."""
    list(strategy.configure_train(number, _record(model), ConfigRecord(), Roster(NODES)))
    record, _ = strategy.aggregate_train(number, [_reply(one) for one in updates(model, number)])
    return {name: array.numpy() for name, array in record.items()}


def _record(tensors: dict[str, Any]) -> ArrayRecord:
    return ArrayRecord({name: Array(value) for name, value in tensors.items()})


def _reply(one: Taken) -> Message:
    content = RecordDict({"arrays": _record(one.tensors), "metrics": MetricRecord(one.metrics)})
    return Message(content, reply_to=Message(RecordDict(), one.node, "train"))
