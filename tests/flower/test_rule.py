from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian

from fedmed.errors import ConfigError, FederationError
from fedmed.flower.rule import Roster, Rule, Taken
from fedmed.flower.strategies import TABLE
from tests.flower.federations import CASES, NODES, first_model, flowers_round, our_round, updates

OPTIONS = {
    "fedavgm": {"server_learning_rate": 0.7, "server_momentum": 0.9},
    "fedtrimmedavg": {"beta": 0.2},
    "qfedavg": {"client_learning_rate": 0.1, "train_loss_key": "loss"},
    "krum": {"num_malicious_nodes": 1},
    "multikrum": {"num_malicious_nodes": 1, "num_nodes_to_select": 3},
    "bulyan": {"num_malicious_nodes": 0},
}
STREAM = ("fedavg", "fedavgm", "fedprox", "fedadam", "fedyogi", "fedadagrad")


def made(name: str) -> Rule:
    return Rule(TABLE[name](**OPTIONS.get(name, {})), seed=1)


def test_the_table_knows_which_rules_stream():
    assert tuple(name for name in TABLE if made(name).streams) == STREAM


@pytest.mark.parametrize("name", TABLE)
def test_the_new_model_is_the_one_that_flower_makes(name):
    rule, reference, model = made(name), TABLE[name](**OPTIONS.get(name, {})), first_model()
    for number in (1, 2, 3):
        expected = flowers_round(reference, number, model)
        model = our_round(rule, number, model)
        assert {k: (v.dtype, v.shape) for k, v in model.items()} == {k: (v.dtype, v.shape) for k, v in first_model().items()}
        for key, value in model.items():
            if rule.streams:
                np.testing.assert_allclose(value, expected[key], rtol=2e-5, atol=2e-6, err_msg=f"{key}, round {number}")
            else:
                np.testing.assert_array_equal(value, expected[key].astype(np.float32))
    assert not np.allclose(model["body.weight"], first_model()["body.weight"], atol=1e-3)


def test_flowers_adam_makes_doubles_and_ours_does_not():
    assert flowers_round(FedAdam(), 1, first_model())["body.weight"].dtype == np.float64
    assert our_round(Rule(FedAdam(), 1), 1, first_model())["body.weight"].dtype == np.float32


@pytest.mark.parametrize("name", TABLE)
def test_whole_numbers_stay_whole(name):
    model = {"w": np.ones(3, np.float32), "steps": np.array(100, np.int64), "mask": np.array([True, False])}
    answered = [
        {"w": np.full(3, i, np.float32), "steps": np.array(100 + 2 * i), "mask": np.array([True, False])} for i in range(5)
    ]
    taken = [Taken(node, {"num-examples": 10, "loss": 0.5}, tensors) for node, tensors in zip(NODES, answered, strict=True)]
    new = our_round(made(name), 1, model, taken)
    assert {type(value) for value in new.values()} == {np.ndarray}
    assert new["steps"].dtype == np.int64
    assert new["steps"].shape == ()
    assert new["mask"].dtype == np.bool_
    if name in ("fedavg", "fedprox"):
        assert new["steps"] == 104
        assert new["mask"].tolist() == [True, False]


class ClipsEverything(FedAvg):
    """A rule of one's own that needs every update."""

    def aggregate_train(self, server_round, replies):
        self.seen = [reply.metadata.src_node_id for reply in replies]
        return super().aggregate_train(server_round, replies)


class AddressesFewer(FedAdam):
    """A cohort of one's own: the aggregation stays Flower's."""

    def configure_train(self, server_round, arrays, config, grid):
        return list(super().configure_train(server_round, arrays, config, grid))[:3]


def test_switches_are_decided_by_the_majority_of_the_cases():
    model = {"mask": np.array([True, False, True])}
    taken = [Taken(node, {"num-examples": 10}, {"mask": np.array([i < 1, i < 4, True])}) for i, node in enumerate(NODES)]
    for rule in (made("fedavg"), made("fedavgm"), made("fedmedian"), made("fedtrimmedavg")):
        assert our_round(rule, 1, model, taken)["mask"].tolist() == [False, True, True]


def test_a_rule_of_ones_own_gets_every_update():
    rule = Rule(ClipsEverything(), 1)
    assert not rule.streams
    our_round(rule, 1, first_model())
    assert rule.strategy.seen == NODES


def test_a_cohort_of_ones_own_still_streams():
    rule = Rule(AddressesFewer(), 1)
    assert rule.streams
    assert len(rule.propose("train", 1, first_model(), "{}", NODES)) == 3


def test_another_weight_than_the_number_of_cases_is_honoured():
    rule = Rule(FedAvg(weighted_by_key="loss"), 1)
    assert not rule.streams
    model = first_model()
    expected = flowers_round(FedAvg(weighted_by_key="loss"), 1, model)
    np.testing.assert_array_equal(our_round(rule, 1, model)["body.weight"], expected["body.weight"])
    with pytest.raises(FederationError, match="nonsense"):
        our_round(Rule(FedAvg(weighted_by_key="nonsense"), 1), 1, model)


def worst_of(contents: list[RecordDict], key: str) -> MetricRecord:
    return MetricRecord({"worst": max(content["metrics"]["loss"] for content in contents), "sites": len(contents)})


def test_a_summary_of_ones_own_sees_every_site_and_does_not_break_the_mean():
    rule, model = Rule(FedAdam(train_metrics_aggr_fn=worst_of), 1), first_model()
    our_round(rule, 1, model)
    taken = updates(model, 1)
    assert rule.metrics("train", 1, taken) == {"worst": max(one.metrics["loss"] for one in taken), "sites": 5}


def test_the_usual_summary_is_weighted_by_cases():
    taken = updates(first_model(), 1)
    expected = np.average([one.metrics["loss"] for one in taken], weights=CASES)
    assert Rule(FedAvg(), 1).metrics("train", 1, taken) == {"loss": pytest.approx(expected)}
    assert Rule(FedAvg(), 1).metrics("evaluate", 1, taken) == {"loss": pytest.approx(expected)}
    assert Rule(FedAvg(), 1).metrics("evaluate", 1, []) == {}


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_seed_chooses_the_same_sites_whatever_their_nodes(kind):
    def chosen(nodes: list[int], seed: int) -> list[list[str]]:
        rule = Rule(FedAvg(fraction_train=0.4, fraction_evaluate=0.4), seed)
        names = dict(zip(nodes, "abcdefghij", strict=True))
        rounds = [rule.propose(kind, number, first_model(), "{}", nodes) for number in range(1, 6)]
        return [[names[message.metadata.dst_node_id] for message in messages] for messages in rounds]

    first = chosen(list(range(2, 12)), 7)
    assert {len(names) for names in first} == {4}
    assert first == chosen([91, 4, 33, 7, 8, 1000, 2, 5, 17, 12], 7)
    assert len({tuple(names) for names in first}) > 1
    assert first != chosen(list(range(2, 12)), 8)


def test_a_proposal_depends_on_its_round_and_not_on_those_before():
    def names(rule: Rule, number: int) -> list[int]:
        return [m.metadata.dst_node_id for m in rule.propose("train", number, first_model(), "{}", list(range(2, 12)))]

    straight, resumed = Rule(FedAvg(fraction_train=0.4), 7), Rule(FedAvg(fraction_train=0.4), 7)
    assert [names(straight, n) for n in (1, 2, 3)][2] == names(resumed, 3)


def test_a_proposal_carries_the_order_and_the_model():
    model = first_model()
    messages = Rule(FedAvg(), 1).propose("train", 4, model, '{"round": 4}', NODES)
    assert sorted(message.metadata.dst_node_id for message in messages) == sorted(NODES)
    for message in messages:
        assert message.metadata.message_type == "train"
        assert message.content["config"]["fedmed.order"] == '{"round": 4}'
        np.testing.assert_array_equal(message.content["arrays"]["body.weight"].numpy(), model["body.weight"])


class Meddles(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        arrays["body.weight"].numpy()[:] = 0
        return super().configure_train(server_round, arrays, config, grid)


def test_a_strategy_cannot_change_the_model_it_is_shown():
    with pytest.raises(ValueError, match="read-only"):
        Rule(Meddles(), 1).propose("train", 1, first_model(), "{}", NODES)


class AddressesStrangers(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        return [Message(RecordDict({"arrays": arrays}), node, "train") for node in (*grid.get_node_ids(), 99)]


class Sends(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        grid.push_messages([])
        return []


@pytest.mark.parametrize(("strategy", "why"), [(AddressesStrangers, r"unknown nodes \[99\]"), (Sends, "round loop alone")])
def test_a_strategy_speaks_to_the_federations_nodes_through_the_loop(strategy, why):
    with pytest.raises(FederationError, match=why):
        Rule(strategy(), 1).propose("train", 1, first_model(), "{}", NODES)


def test_the_roster_refuses_all_but_its_nodes():
    roster = Roster([3, 1])
    assert list(roster.get_node_ids()) == [3, 1]
    for use in (lambda: roster.run, lambda: roster.pull_messages([]), lambda: roster.send_and_receive([])):
        with pytest.raises(FederationError, match="round loop"):
            use()


class MakesNothing(FedAvg):
    def aggregate_train(self, server_round, replies):
        return None, None


class MakesAnother(FedAvg):
    def aggregate_train(self, server_round, replies):
        return ArrayRecord({"other": Array(np.zeros(1))}), None


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        (MakesNothing(), "MakesNothing made no model from 5 answers"),
        (MakesAnother(), "MakesAnother made another model"),
        (flower.QFedAvg(client_learning_rate=0.1), "train_loss"),
    ],
)
def test_a_rule_that_makes_no_model_is_an_error_of_the_federation(strategy, why):
    with pytest.raises(FederationError, match=why):
        our_round(Rule(strategy, 1), 1, first_model())


def test_what_is_held_is_said_before():
    model = first_model()
    assert Rule(FedMedian(), 1).peak_bytes(model, 7) == 7 * (12 + 4 + 1) * 4
    assert Rule(FedAdam(), 1).peak_bytes(model, 7) == 0


def test_the_state_of_another_strategy_is_refused():
    rule = Rule(flower.FedAvgM(server_momentum=0.9), 1)
    our_round(rule, 1, first_model())
    tensors, values = rule.state()
    with pytest.raises(ConfigError, match="FedAvgM"):
        Rule(flower.FedAvgM(), 1).restore({}, values)
    Rule(flower.FedAvgM(server_momentum=0.9), 1).restore(tensors, values)
