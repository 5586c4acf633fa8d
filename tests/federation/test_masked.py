from __future__ import annotations

import json
import re

import numpy as np
import pytest

from fedmed.config.own_metrics import NO_METRICS
from fedmed.config.privacy import Privacy
from fedmed.config.scenario import Quorum
from fedmed.errors import ConfigError, FederationError, QuorumError
from fedmed.federation.gathering import Plain
from fedmed.federation.masked import NOT_IN, Shape, Sums, moved, refuse_for_sums, trained
from fedmed.federation.rounds import RoundLoop
from fedmed.flower.keys import SEALED, VECTOR
from fedmed.flower.rule import Rule
from fedmed.flower.strategies import build
from fedmed.learning.histograms import BINS
from fedmed.learning.order import ModelSpec
from fedmed.outbound.gate import WITHHELD, Rules
from fedmed.privacy.secagg.layout import Tensor
from fedmed.privacy.secagg.quantise import error_bound
from fedmed.privacy.secagg.scale import Scale
from tests.federation import peers
from tests.federation.conftest import MODEL
from tests.federation.peers import Peer, erring, silent
from tests.federation.test_epochs import FOUR, events

SPEC = ModelSpec(name="logistic", inputs=(3,), classes=2)
MOST = 20


def shape(frozen=(), own=NO_METRICS) -> Shape:
    return Shape(SPEC, frozen, MOST, 4, BINS, 4, own)


def loop_of(found, strategy="fedavg", frozen=(), attempts=2, own=NO_METRICS):
    rule = Rule(build(strategy, {}, len(found.peers)), 42)
    sums = Sums(found.asking(), rule, shape(frozen, own))
    return RoundLoop(rule, found.members, sums, found.phase, attempts)


def plain_mean(found, *names):
    """The weighted mean over what the named honest peers make of the model."""
    own = {peer.name: peer for peer in found.peers}
    sent = {found.grid.peers[m.metadata.dst_node_id].name: m for m in found.grid.sent if m.metadata.message_type == "train"}
    made = [peers.trained(own[name], sent[name])[0]["w"] for name in names]
    return np.average(np.asarray(made, np.float64), axis=0, weights=[own[name].examples for name in names])


def bound_of(found, *names) -> float:
    rules, total = found.rules, sum(peer.examples for peer in found.peers if peer.name in names)
    return error_bound(Scale(rules.lanes, len(found.peers), rules.value_bound, MOST), len(names), total) + 2.0**-22


@pytest.mark.parametrize(
    "rules", [Privacy(), Privacy(lanes=16, bound=8.0), Privacy(secure_aggregation="hbc")], ids=["32", "16", "hbc"]
)
def test_the_model_is_the_plain_mean_but_for_rounding_and_no_site_is_told_of(masked, rules):
    found = masked(Peer("a", 20), Peer("b", 7), Peer("c", 13), Peer("d", 1), rules=rules)
    model, record = loop_of(found).train(1, MODEL, "order")
    assert np.abs(model["w"] - plain_mean(found, *FOUR)).max() <= bound_of(found, *FOUR)
    assert model["w"].dtype == np.float32
    assert int(model["seen"]) == 3, "a counter is not summed"
    assert record["joined"] == record["cohort"] == list(FOUR)
    assert (record["train"]["cases"], record["train"]["sites"]) == (41, {})
    assert 0 <= record["train"]["loss"] <= 1
    assert record["phases"].keys() == {"train", "open", "aggregate"}


def test_what_travels_is_masked(masked):
    found = masked(*FOUR)
    heard = []

    def listening(peer, message):
        made = found.parties["a"].act(peer, message)
        heard.append(made[0][1].content)
        return made

    found.peers[0].acts["train"] = listening
    loop_of(found).train(1, MODEL, "order")
    (content,) = heard
    assert set(content) == {SEALED, "arrays"}
    vector = content["arrays"][VECTOR].numpy()
    assert len(np.unique(vector)) > 0.99 * len(vector), "the witness alone would be two equal lanes"


def test_a_frozen_tensor_stays_as_it_is(masked):
    found = masked(*FOUR)
    model, _ = loop_of(found, frozen=("w",)).train(1, MODEL, "order")
    assert np.array_equal(model["w"], MODEL["w"])


def test_the_measures_are_those_of_all_cases_together(masked):
    found = masked("a", "b", "c")
    record = loop_of(found).validate(1, MODEL, "order")
    assert (record["cases"], record["sites"], record["missing"]) == (12, {}, {})
    assert record["auc"] == pytest.approx(0.75)
    assert record["loss"] == pytest.approx(0.5, abs=1e-5)


def test_the_census_is_that_of_all_sites(masked):
    found = masked(Peer("a", 20), Peer("b", 7), Peer("c", 13))
    census = found.asking().census("{}", 2, None, MOST, 4)
    assert census.class_counts == (10 + 3 + 6, 10 + 4 + 7)
    assert census.moments is None
    assert [event["kind"] for event in events(found, "answered")] == ["query.census"] * 3


def test_a_census_without_a_site_is_an_error_that_names_it(masked):
    found = masked("a", "b", "c", Peer("d", acts={"query.census": erring}))
    with pytest.raises(FederationError, match=r"could not be counted \(a site is missing\). Absent: d: .*on fire"):
        found.asking().census("{}", 2, None, MOST, 4)


def test_a_site_that_is_gone_is_named_and_the_sum_is_over_the_others(masked):
    found = masked("a", Peer("b", 7), "c", Peer("d", acts={"train": silent}))
    model, record = loop_of(found).train(1, MODEL, "order")
    assert np.abs(model["w"] - plain_mean(found, "a", "b", "c")).max() <= bound_of(found, "a", "b", "c")
    assert record["missing"] == {"d": "no answer by the deadline of 60 s"}
    assert (record["train"]["cases"], record["verdict"]) == (27, "closed by quorum")


def test_sites_may_be_gone_between_the_upload_and_the_opening(masked):
    found = masked("a", "b", "c", Peer("d"))
    said = found.peers[3].acts["query.protocol"]

    def only_sets_up(peer, message):
        return [] if events(found, "survivors") else said(peer, message)

    found.peers[3].acts["query.protocol"] = only_sets_up
    model, record = loop_of(found).train(1, MODEL, "order")
    assert record["joined"] == list(FOUR)
    assert np.abs(model["w"] - plain_mean(found, *FOUR)).max() <= bound_of(found, *FOUR)


def test_too_few_shares_lose_the_attempt_and_the_next_is_another_round_of_another_epoch(masked):
    found = masked(*FOUR)
    lost = []

    def loses_the_first(peer, message):
        if len(events(found, "survivors")) == 1 and not events(found, "unopened"):
            lost.append(peer.name)
            return []
        return found.parties[peer.name].act(peer, message)

    for peer in found.peers[:2]:
        peer.acts["query.protocol"] = loses_the_first
    model, record = loop_of(found).train(1, MODEL, "order")
    assert lost
    assert record["attempt"] == 2
    (unopened,) = events(found, "unopened")
    assert (unopened["round"], unopened["purpose"]) == (1, "update")
    assert len(events(found, "epoch")) == 2
    assert np.abs(model["w"] - plain_mean(found, *FOUR)).max() <= bound_of(found, *FOUR)


def test_of_three_sites_one_that_is_gone_ends_the_attempts(masked):
    found = masked("a", "b", Peer("c", acts={"train": erring}))
    with pytest.raises(QuorumError, match=r"2 clinics sent their update, 3 are needed.*c: ValueError: the scanner"):
        loop_of(found).train(1, MODEL, "order")
    assert [event["lacks"] for event in events(found, "short")] == [
        ["sum over too few clinics: 2 clinics sent their update, 3 are needed"]
    ] * 2


def test_an_evaluation_that_cannot_be_opened_is_told_as_such(masked):
    found = masked("a", "b", Peer("c", acts={"evaluate": erring}))
    record = loop_of(found).validate(1, MODEL, "order")
    assert (record["sites"], list(record["missing"])) == ({}, ["c"])
    assert "3 are needed" in record["lacks"][0]


def test_a_site_outside_the_epoch_is_not_asked_and_counts_as_missing(masked):
    found = masked("a", "b", "c", Peer("d", acts={"query.protocol": silent}))
    _, record = loop_of(found).train(1, MODEL, "order")
    assert record["missing"] == {"d": NOT_IN}
    asked = [m.metadata.dst_node_id for m in found.grid.sent if m.metadata.message_type == "train"]
    assert found.node("d") not in asked


def test_a_required_site_outside_the_epoch_stops_the_round(masked):
    found = masked("a", "b", "c", Peer("d", acts={"query.protocol": silent}), quorum=Quorum(required=("d",)))
    with pytest.raises(QuorumError, match="required and absent: d"):
        loop_of(found).train(1, MODEL, "order")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda tensors, metrics: tensors.update(w=np.full((2, 3), np.nan, np.float32)), "not finite"),
        (lambda tensors, metrics: tensors.update(w=np.full((2, 3), 500, np.float32)), "w"),
        (lambda tensors, metrics: tensors.clear(), "tensor 'w': the app answers with none"),
        (lambda tensors, metrics: metrics.update({"num-examples": MOST + 1}), f"allowed: 1 to {MOST}"),
        (lambda tensors, metrics: metrics.pop("loss"), r"metrics are \[\]; agreed on: .'loss'."),
    ],
)
def test_an_answer_that_may_not_leave_is_told_to_the_staff_alone(masked, change, why):
    found = masked(*FOUR)

    def spoilt(peer, message):
        tensors, metrics = peers.trained(peer, message)
        change(tensors, metrics)
        return peers.reply(message, tensors, metrics)

    found.parties["d"].apps["train"] = spoilt
    _, record = loop_of(found).train(1, MODEL, "order")
    assert record["missing"] == {"d": f"UpdateRefused: {WITHHELD}"}
    (told,) = found.parties["d"].told
    assert re.search(why, told), told


OWN = {"norm": 100.0, "accuracy": 1.0, "silent": 1.0}
ORDER = json.dumps({"training": {"metrics": OWN}})
TOLD = {
    "a": {"norm": 12.5, "accuracy": 0.25},
    "b": {"norm": -3.7, "accuracy": 0.75},
    "c": {"norm": 100.0, "accuracy": 1.5},  # beyond its bound: undefined
    "d": {"accuracy": 1.0, "patients": 17.0},  # no norm, and a number that nobody declared
}
KNOWN = {"norm": (20 * 12.5 - 7 * 3.7 + 13 * 100) / 40, "accuracy": (20 * 0.25 + 7 * 0.75 + 1) / 28, "silent": None}


def telling(metrics):
    def act(peer, message):
        tensors, told = peers.trained(peer, message)
        return peers.reply(message, tensors, told | metrics)

    return act


def test_numbers_of_the_researchers_own_are_told_as_means_by_cases(masked):
    found = masked(Peer("a", 20), Peer("b", 7), Peer("c", 13), Peer("d", 1))
    for name, metrics in TOLD.items():
        found.parties[name].apps["train"] = telling(metrics)
    loop = loop_of(found, own=OWN)
    for number in (1, 2):
        _, record = loop.train(number, MODEL, ORDER)
        assert record["missing"] == {}
        assert record["train"].keys() == {"loss", "cases", "sites", *OWN}
        for name, value in KNOWN.items():
            assert record["train"][name] == (None if value is None else pytest.approx(value, abs=OWN[name] * 2.0**-31))
        known = {name: value for name, value in record["train"].items() if name in ("loss", "norm", "accuracy")}
        assert record["strategy"] == pytest.approx(known), "Flower's own mean of the one answer that it is given"
    assert [len(found.parties[name].told) for name in FOUR] == [0, 0, 0, 1], "once, not once a round"
    assert "metric 'patients'" in found.parties["d"].told[0]


def test_without_masks_the_same_numbers_come_out(federation):
    acts = {name: peers.says(**metrics) for name, metrics in TOLD.items()}
    found = federation(*(Peer(name, size, {"train": acts[name]}) for name, size in zip(FOUR, (20, 7, 13, 1), strict=True)))
    plain = Plain(found.phase(), found.rule, found.rules, OWN)
    record = RoundLoop(found.rule, found.members, plain, found.phase(), 1).train(1, MODEL, ORDER)[1]
    assert {name: record["train"][name] for name in OWN} == pytest.approx(KNOWN)
    assert record["train"]["sites"]["d"]["patients"] == 17.0


def test_a_center_that_asks_for_more_than_its_order_declares_gets_nothing(masked):
    found = masked(*FOUR)
    with pytest.raises(QuorumError, match="0 of 4 sites joined"):
        loop_of(found, own=OWN).train(1, MODEL, json.dumps({"training": {"metrics": {"norm": 100.0}}}))
    assert all("accuracy.sum" in line for party in found.parties.values() for line in party.told)


def test_the_clinics_own_limit_of_the_norm_holds(masked):
    found = masked(*FOUR, rules_of=Rules(most_norm=1e-6))
    with pytest.raises(QuorumError, match="0 of 4 sites joined"):
        loop_of(found).train(1, MODEL, "order")
    assert all("L2 norm" in line for party in found.parties.values() for line in party.told)
    assert [len(party.told) for party in found.parties.values()] == [2] * 4


def test_a_strategy_that_tells_sites_different_things_is_refused(masked):
    found = masked(*FOUR)
    loop = loop_of(found)
    rule = loop._rule
    messages = rule.propose("train", 1, MODEL, "order", [each.node for each in found.members])
    other = rule.propose("train", 1, {**MODEL, "w": MODEL["w"] + 1}, "order", [each.node for each in found.members])
    third = rule.propose("train", 1, MODEL, "another order", [each.node for each in found.members])
    for wrong in (other, third):
        with pytest.raises(FederationError, match="gives sites different models or settings"):
            loop._gathering.train(1, [messages[0], *wrong[1:]], MODEL)


@pytest.mark.parametrize("name", ["fedmedian", "fedtrimmedavg", "krum"])
def test_a_strategy_that_needs_every_update_is_refused(name):
    with pytest.raises(ConfigError, match=r"needs every site's own update.*secure_aggregation: off"):
        refuse_for_sums(Rule(build(name, {}, 5), 1))


@pytest.mark.parametrize("name", ["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_a_strategy_of_the_mean_is_not(name):
    refuse_for_sums(Rule(build(name, {}, 5), 1))


def test_what_is_sent_and_what_becomes_of_it():
    model = {"w": np.ones((2, 2), np.float32), "b": np.zeros(3, np.float64), "n": np.array(4), "f": np.ones(1, np.float32)}
    assert trained(model, {"f"}) == (Tensor("w", (2, 2)), Tensor("b", (3,)))
    after = moved(model, {"w": np.full((2, 2), 0.5, np.float32), "b": np.ones(3, np.float32)})
    assert after["w"].tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert {name: value.dtype for name, value in after.items()} == {name: value.dtype for name, value in model.items()}
    assert (after["n"], after["f"].tolist()) == (4, [1.0])
    assert after["f"] is not model["f"]
