from __future__ import annotations

import re

import pytest
from flwr.serverapp.strategy import FedAdam, FedAvg

from fedmed.errors import ConfigError
from fedmed.flower.strategies import TABLE, arguments, build, find
from tests.flower import own_strategies

OWN = "tests.flower.own_strategies"


def test_names_of_the_table_are_flowers_strategies():
    assert find("fedadam") is FedAdam
    assert type(build("fedavg", {}, 4)) is FedAvg
    for name in TABLE:
        options = {"client_learning_rate": 0.1} if name == "qfedavg" else {}
        assert type(build(name, options, 4)) is TABLE[name]


def test_a_strategy_of_ones_own_by_module_and_class():
    built = build(f"{OWN}:Mine", {"strength": 3.0, "fraction_train": 0.5}, 4)
    assert type(built) is own_strategies.Mine
    assert (built.strength, built.fraction_train) == (3.0, 0.5)
    assert list(arguments(own_strategies.Mine))[:3] == ["strength", "fraction_train", "fraction_evaluate"]


def test_a_lone_site_is_enough():
    built = build("fedavg", {}, 1)
    assert (built.min_train_nodes, built.min_evaluate_nodes, built.min_available_nodes) == (1, 1, 1)


def test_our_clients_name_for_the_loss_is_qfedavgs_default():
    assert build("qfedavg", {"client_learning_rate": 0.1}, 4).train_loss_key == "loss"
    assert build("qfedavg", {"client_learning_rate": 0.1, "train_loss_key": "other"}, 4).train_loss_key == "other"


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("fedavgg", {}, r"strategy.name: got 'fedavgg', allowed: bulyan, fedadagrad, .*module:Class"),
        ("", {}, "strategy.name: got ''"),
        (f"{OWN}:Missing", {}, r"'tests.flower.own_strategies:Missing' cannot be imported"),
        ("no_such_module:Mine", {}, "cannot be imported.*no_such_module"),
        (":Mine", {}, "':Mine' cannot be imported"),
        ("..up:Mine", {}, "'..up:Mine' cannot be imported"),
        (f"{OWN}:NoStrategy", {}, "not a flwr.serverapp.strategy.Strategy class"),
        (f"{OWN}:__doc__", {}, "not a flwr.serverapp.strategy.Strategy class"),
        (f"{OWN}:Unfinished", {}, "abstract"),
        (
            "fedavg",
            {"eta": 0.1, "fraction": 1},
            "strategy.options: eta, fraction unknown to fedavg; allowed: fraction_train",
        ),
        (f"{OWN}:Mine", {"strenght": 1}, "strenght unknown.*strength"),
        ("qfedavg", {}, "client_learning_rate"),
        ("qfedavg", {"client_learning_rate": "small"}, "client_learning_rate: got 'small', allowed: float"),
        ("fedadam", {"eta": "big"}, "strategy.options.eta: got 'big', allowed: float"),
        ("fedadam", {"eta": True}, "strategy.options.eta: got True, allowed: float"),
        ("krum", {"num_malicious_nodes": 1.5}, "num_malicious_nodes: got 1.5, allowed: int"),
        ("fedavg", {"weighted_by_key": 3}, "weighted_by_key: got 3, allowed: str"),
        ("fedavg", {"train_metrics_aggr_fn": "mean"}, "a scenario cannot hold a function"),
        (f"{OWN}:Mine", {"strength": "3"}, "strength: got '3', allowed: float"),
        ("fedtrimmedavg", {"beta": 0.6}, r"fedtrimmedavg refuses.*\[0, 0.5\)"),
        ("fedprox", {"proximal_mu": 0.1}, "set training.proximal_mu"),
    ],
)
def test_a_strategy_that_cannot_be_built_is_explained(name, options, why):
    with pytest.raises(ConfigError, match=re.compile(why, re.DOTALL)):
        build(name, options, 4)


@pytest.mark.parametrize("key", ["min_train_nodes", "min_evaluate_nodes", "min_available_nodes"])
@pytest.mark.parametrize("value", [5, -1, "3", None, [2]])
def test_more_nodes_than_there_are_sites_are_refused_and_not_waited_for(key, value):
    with pytest.raises(ConfigError, match=rf"strategy.options.{key}: got {re.escape(repr(value))}, allowed: 0 to 4"):
        build("fedadam", {key: value}, 4)


@pytest.mark.parametrize("key", ["fraction_train", "fraction_evaluate"])
@pytest.mark.parametrize("value", [1.5, -0.1, "all", float("nan")])
def test_a_fraction_that_flower_would_wait_for_is_refused(key, value):
    with pytest.raises(ConfigError, match=f"strategy.options.{key}: got .*allowed: 0 to 1"):
        build("fedavg", {key: value}, 4)


@pytest.mark.parametrize(
    ("name", "why"), [("Demanding", "min_available_nodes: got 10"), ("Wrapping", "inner/min_train_nodes of FedAvg: got 10")]
)
def test_what_a_strategy_of_ones_own_demands_is_looked_at_too(name, why):
    with pytest.raises(ConfigError, match=why):
        build(f"{OWN}:{name}", {}, 4)
