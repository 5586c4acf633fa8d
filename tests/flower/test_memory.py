from __future__ import annotations

import json
import math
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg, Strategy

from fedmed.errors import StoreError
from fedmed.flower.memory import Memory
from fedmed.flower.rule import Rule
from fedmed.store.commits import Commit, Commits
from tests.flower.federations import NODES, first_model, our_round


class Halves(FedAvg):
    """A rule of one's own that says itself what to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.opaque = {object(): 1.0}

    def aggregate_train(self, server_round, replies):
        record, metrics = super().aggregate_train(server_round, replies)
        [factor] = self.opaque.values()
        self.opaque = {object(): factor / 2}
        return ArrayRecord({name: Array(np.asarray(array.numpy() * factor)) for name, array in record.items()}), metrics

    def state_dict(self):
        [factor] = self.opaque.values()
        return {"layer/factor": factor, "layer": np.array([factor])}

    def load_state_dict(self, state):
        assert state["layer"].tolist() == [state["layer/factor"]]
        self.opaque = {object(): state["layer/factor"]}


class Remembers(FedAvg):
    """A rule of one's own that keeps things in attributes, as anyone would."""

    def __init__(self) -> None:
        super().__init__()
        self.by_node = {}
        self.best = math.inf
        self.factor = np.float64(1.0)

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        for reply in replies:
            seen = self.by_node.setdefault(reply.metadata.src_node_id, [])
            seen.append((server_round, reply.content["metrics"]["loss"]))
        self.best = min(self.best, *(seen[-1][1] for seen in self.by_node.values()))
        self.factor = self.factor * np.float64(0.9)
        record, metrics = super().aggregate_train(server_round, replies)
        made = {
            name: Array(np.asarray(array.numpy() * np.float32(1) * self.factor + len(self.by_node[NODES[0]]) * self.best))
            for name, array in record.items()
        }
        return ArrayRecord(made), metrics


def private(inner: Strategy) -> Strategy:
    return flower.DifferentialPrivacyServerSideFixedClipping(inner, 0.5, 1.0, len(NODES))


STRATEGIES = {
    "FedAvg": FedAvg,
    "FedAvgM": lambda: flower.FedAvgM(server_learning_rate=0.7, server_momentum=0.9),
    "FedAdam": flower.FedAdam,
    "FedYogi": flower.FedYogi,
    "FedAdagrad": flower.FedAdagrad,
    "FedMedian": flower.FedMedian,
    "QFedAvg": lambda: flower.QFedAvg(client_learning_rate=0.1, train_loss_key="loss"),
    "private FedAvg": lambda: private(FedAvg()),
    "private FedAdam": lambda: private(flower.FedAdam()),
    "adaptively private FedYogi": lambda: flower.DifferentialPrivacyServerSideAdaptiveClipping(
        flower.FedYogi(), 0.5, len(NODES), clipped_count_stddev=1.0
    ),
    "own state_dict": Halves,
    "own attributes": Remembers,
}


def play(rule: Rule, model, first: int, last: int):
    for number in range(first, last + 1):
        np.random.seed(number)  # where Flower's noise comes from
        model = our_round(rule, number, model)
    return model


@pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES)
def test_a_resumed_run_goes_on_as_if_nothing_had_happened(make, tmp_path):
    undisturbed = play(Rule(make(), 1), first_model(), 1, 5)
    stopped = Rule(make(), 1)
    model = play(stopped, first_model(), 1, 3)
    learned, values = stopped.state()
    tensors = {**{"model/" + k: v for k, v in model.items()}, **{"strategy/" + k: v for k, v in learned.items()}}
    Commits(tmp_path).write(Commit(3, tensors, {"strategy": values}))

    commit = Commits(tmp_path).read(3)
    resumed = Rule(make(), 1)
    resumed.restore({k[9:]: v for k, v in commit.tensors.items() if k.startswith("strategy/")}, commit.state["strategy"])
    model = play(resumed, {k[6:]: v for k, v in commit.tensors.items() if k.startswith("model/")}, 4, 5)
    assert {k: v.tobytes() for k, v in model.items()} == {k: v.tobytes() for k, v in undisturbed.items()}


def carried(**attributes):
    """The attributes after a save and a load into a new strategy, through JSON."""
    strategy, fresh = FedAvg(), FedAvg()
    memory, other = Memory(strategy), Memory(fresh)
    vars(strategy).update(attributes)
    tensors, values = memory.save()
    other.load(tensors, json.loads(json.dumps(values, allow_nan=False)))
    return {name: getattr(fresh, name) for name in attributes}


def test_values_come_back_with_their_types():
    sent = {
        "text": "é/#",
        "nothing": None,
        "yes": True,
        "whole": 2**70,
        "nested": {"a": [1, (2.5, "x")], 7: {"b": None}, "": []},
        "ordered": OrderedDict([("z", 1), ("a", 2)]),
        "single": np.float32(0.1),
        "double": np.float64(0.1),
        "flag": np.bool_(True),
    }
    got = carried(**sent)
    assert got == sent
    assert {name: type(value) for name, value in got.items()} == {name: type(value) for name, value in sent.items()}
    assert type(got["nested"]["a"][1]) is tuple


def test_numbers_that_are_not_finite_come_back():
    got = carried(best=math.inf, worst=-math.inf, unknown=math.nan)
    assert (got["best"], got["worst"]) == (math.inf, -math.inf)
    assert math.isnan(got["unknown"])


def test_arrays_come_back_writable_and_apart():
    first, second = np.arange(3, dtype=np.float32), np.array(5, np.int64)
    got = carried(momentum=[first, second], named={"a": {"b": first}, "a/b": first + 1})
    assert [v.tolist() for v in got["momentum"]] == [[0, 1, 2], 5]
    assert [v.dtype for v in got["momentum"]] == [np.float32, np.int64]
    assert got["momentum"][1].shape == ()
    assert got["named"]["a"]["b"].tolist() == [0, 1, 2]
    assert got["named"]["a/b"].tolist() == [1, 2, 3]
    got["momentum"][0][0] = 9
    assert first[0] == 0


def test_flowers_records_come_back():
    got = carried(
        arrays=ArrayRecord({"w": Array(np.ones(2, np.float32))}),
        metrics=MetricRecord({"loss": 0.5, "list": [1, 2]}),
        config=ConfigRecord({"text": "a", "yes": True}),
    )
    assert got["arrays"]["w"].numpy().tolist() == [1, 1]
    assert dict(got["metrics"]) == {"loss": 0.5, "list": [1, 2]}
    assert dict(got["config"]) == {"text": "a", "yes": True}


class Opaque(FedAvg):
    def __init__(self) -> None:
        super().__init__()
        self.names = {"a"}
        self.random = np.random.default_rng(1)
        self.counts = defaultdict(int)
        self.key = lambda value: value


def test_what_cannot_be_kept_is_no_trouble_while_it_does_not_change():
    strategy = Opaque()
    memory = Memory(strategy)
    _, values = memory.save()
    assert not {"names", "random", "counts", "key"} & set(values[""])
    memory.save()


def add_name(strategy: Opaque) -> None:
    strategy.names.add("b")


def draw(strategy: Opaque) -> None:
    strategy.random.random()


def count(strategy: Opaque) -> None:
    strategy.counts["a"] += 1


def replace(strategy: Opaque) -> None:
    strategy.key = lambda value: -value


def bring(strategy: Opaque) -> None:
    strategy.new = np.array(["text"])


@pytest.mark.parametrize(
    ("change", "name"), [(add_name, "names"), (draw, "random"), (count, "counts"), (replace, "key"), (bring, "new")]
)
def test_a_change_that_cannot_be_kept_is_refused_by_name(change, name):
    strategy = Opaque()
    memory = Memory(strategy)
    change(strategy)
    with pytest.raises(StoreError, match=rf"'{name}' of Opaque is a .*state_dict\(\) and load_state_dict"):
        memory.save()


class SaysTooMuch(FedAvg):
    def state_dict(self):
        return {"ok": 1, "names": {"a"}}


def test_a_state_dict_that_cannot_be_kept_is_refused_by_name():
    with pytest.raises(StoreError, match=r"state_dict\(\)\['names'\] of SaysTooMuch is a set"):
        Memory(SaysTooMuch()).save()


def test_a_wrapped_strategy_is_kept_under_the_name_of_its_attribute():
    inner = flower.FedAvgM(server_momentum=0.5)
    memory = Memory(private(inner))
    inner.momentum_vector = [np.ones(2, np.float32)]
    tensors, values = memory.save()
    assert list(values) == ["", "strategy/"]
    assert any(name.startswith("strategy/momentum_vector") for name in tensors)
    fresh = flower.FedAvgM(server_momentum=0.5)
    Memory(private(fresh)).load(tensors, values)
    assert fresh.momentum_vector[0].tolist() == [1, 1]
    with pytest.raises(KeyError):
        Memory(private(fresh)).load(tensors, {"": values[""]})
