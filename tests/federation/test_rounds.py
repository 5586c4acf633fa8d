from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fedmed.config.scenario import Quorum
from fedmed.errors import QuorumError
from fedmed.flower.keys import WEIGHT_KEY
from tests.federation.conftest import MODEL
from tests.federation.peers import Peer, after, erring, poisoned, reply, says, silent, spoilt, trained, twice

STRATEGIES = ["fedavg", "fedadam", "fedmedian", "fedtrimmedavg"]


def expected(found, *names):
    """The weighted mean over what the named honest peers send."""
    sent = {found.grid.peers[m.metadata.dst_node_id].name: m for m in found.grid.sent if m.metadata.message_type == "train"}
    peers = {peer.name: peer for peer in found.peers}
    updates = [trained(peers[name], sent[name])[0]["w"] for name in names]
    return np.average(updates, axis=0, weights=[peers[name].examples for name in names])


def test_the_model_is_the_weighted_mean_and_the_record_says_who_made_it(federation):
    found = federation(Peer("zug", 30), Peer("lyon", 10))
    model, record = found.loop.train(1, MODEL, "order")
    np.testing.assert_allclose(model["w"], expected(found, "zug", "lyon"), rtol=1e-6)
    assert (model["w"].dtype, model["seen"].dtype, int(model["seen"])) == (np.float32, np.int64, 4)
    assert record["cohort"] == record["joined"] == ["lyon", "zug"]
    assert (record["missing"], record["refused"], record["late"]) == ({}, {}, [])
    assert (record["verdict"], record["attempt"], record["round"]) == ("complete", 1, 1)
    losses = {site: numbers["loss"] for site, numbers in record["train"]["sites"].items()}
    assert record["train"]["loss"] == pytest.approx((losses["lyon"] * 10 + losses["zug"] * 30) / 40)
    assert record["train"]["sites"]["zug"]["examples"] == 30
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_of_answers_does_not_change_the_model(federation, strategy, tmp_path):
    models, records = [], []
    for order in (range(6), reversed(range(6))):
        peers = [Peer(name, ord(name), {"train": after(delay)}) for name, delay in zip("abcdef", order, strict=True)]
        model, record = federation(*peers, strategy=strategy).loop.train(1, MODEL, "order")
        models.append(model["w"])
        records.append((record["train"], record["strategy"]))
    np.testing.assert_allclose(models[0], models[1], rtol=1e-6)
    assert repr(records[0]) == repr(records[1]), "to the last bit: the history of a resumed run is the same"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("bad", "part", "reason"),
    [
        (poisoned(math.nan), "refused", "6 of 6 values of tensor 'w' are not finite"),
        (poisoned(-math.inf), "refused", "not finite"),
        (spoilt(lambda tensors, _: tensors.update(w=tensors["w"].T.copy())), "refused", "float32 [3, 2]"),
        (spoilt(lambda tensors, _: tensors.update(w=tensors["w"].astype(np.float64))), "refused", "float64"),
        (spoilt(lambda tensors, _: tensors.pop("seen")), "refused", "lacks seen"),
        (spoilt(lambda tensors, _: tensors.clear()), "refused", "lacks seen, w"),
        (says(**{WEIGHT_KEY: 31}), "refused", "at most the 30 cases declared"),
        (says(**{WEIGHT_KEY: 0}), "refused", "above 0"),
        (says(**{WEIGHT_KEY: -5}), "refused", "above 0"),
        (says(**{WEIGHT_KEY: math.nan}), "refused", "num-examples is nan"),
        (says(**{WEIGHT_KEY: None}), "refused", "num-examples is None"),
        (erring, "missing", "the scanner is on fire"),
        (silent, "missing", "no answer by the deadline of 60 s"),
        (after(61), "missing", "no answer by the deadline of 60 s"),
    ],
)
def test_what_cannot_be_used_leaves_no_trace_in_the_model(federation, strategy, bad, part, reason):
    quorum = Quorum(sites=0.5, data_weight=0.1)
    found = federation(Peer("a"), Peer("b"), Peer("bad", 30, {"train": bad}), strategy=strategy, quorum=quorum)
    alone = federation(Peer("a"), Peer("b"), strategy=strategy, quorum=quorum)
    model, record = found.loop.train(1, MODEL, "order")
    assert reason in record[part]["bad"]
    assert record["joined"] == ["a", "b"]
    assert record["verdict"] == "closed by quorum"
    assert set(record["train"]["sites"]) == {"a", "b"}
    assert model["w"].tobytes() == alone.loop.train(1, MODEL, "order")[0]["w"].tobytes()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_update_counts_once_however_often_it_comes(federation, strategy):
    found = federation(Peer("a", acts={"train": twice}), Peer("b", acts={"train": after(5)}), strategy=strategy)
    once = federation(Peer("a"), Peer("b"), strategy=strategy)
    assert found.loop.train(1, MODEL, "order")[0]["w"].tobytes() == once.loop.train(1, MODEL, "order")[0]["w"].tobytes()


def test_an_update_too_far_away_is_refused(federation):
    found = federation(Peer("a"), Peer("b"), Peer("far", acts={"train": poisoned(1e4)}), max_update_norm=100.0)
    _, record = found.loop.train(1, MODEL, "order")
    assert "L2 norm" in record["refused"]["far"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "odd",
    [
        says(mood=1.0),
        says(loss=None),
        says(loss=[1.0, 2.0]),
        says(loss=1e308),
        says(loss=math.nan),
        says(loss=-(2**63) + 1),
        spoilt(lambda _, metrics: metrics.update({f"m{i}": 1.0 for i in range(50)})),
    ],
)
def test_one_site_s_odd_numbers_cost_nobody_the_round(federation, strategy, odd, first):
    delays = (0, 1) if first else (1, 0)
    peers = [Peer(name, 10, {"train": after(delays[1])}) for name in "ab"]

    def oddly(peer, message):
        return [(delays[0], answer) for _, answer in odd(peer, message)]

    found = federation(*peers, Peer("odd", 10, {"train": oddly}), strategy=strategy)
    model, record = found.loop.train(1, MODEL, "order")
    assert record["joined"] == ["a", "b", "odd"]
    json.dumps(record, allow_nan=False)
    assert np.isfinite(model["w"]).all()
    assert record["train"]["sites"]["a"]["loss"] is not None


def test_a_number_beyond_64_bits_is_refused(federation):
    found = federation(Peer("a"), Peer("b"), Peer("odd", acts={"train": says(loss=10**400)}))
    _, record = found.loop.train(1, MODEL, "order")
    assert "64-bit" in record["refused"]["odd"]


def test_a_round_short_of_quorum_is_tried_again(federation):
    found = federation(Peer("a"), Peer("b", at={1: silent}), quorum=Quorum(sites=1.0))
    model, record = found.loop.train(1, MODEL, "order")
    assert record["attempt"] == 2
    assert record["joined"] == ["a", "b"]
    np.testing.assert_allclose(model["w"], expected(found, "a", "b"), rtol=1e-6)
    (short,) = found.events("short")
    assert short["missing"] == {"b": "no answer by the deadline of 60 s"}


def test_a_late_answer_to_the_first_attempt_is_not_used_in_the_second(federation):
    found = federation(Peer("a"), Peer("b", at={1: after(70)}, acts={"train": after(30)}), quorum=Quorum(sites=1.0))
    model, record = found.loop.train(1, MODEL, "order")
    assert (record["attempt"], record["joined"], record["late"]) == (2, ["a", "b"], ["b"])
    np.testing.assert_allclose(model["w"], expected(found, "a", "b"), rtol=1e-6)


def test_the_quorum_missed_for_good_ends_the_run_and_names_everybody(federation):
    found = federation(
        Peer("a"), Peer("b", acts={"train": erring}), Peer("c", acts={"train": poisoned(math.nan)}), attempts=3
    )
    with pytest.raises(QuorumError) as caught:
        found.loop.train(7, MODEL, "order")
    said = str(caught.value)
    assert "round 7 missed its quorum 3 times (1 of 3 sites joined, 50% are needed" in said
    assert "b: ValueError: the scanner is on fire" in said
    assert "c: 6 of 6 values" in said
    assert "--resume" in said
    assert len(found.events("short")) == 3


def test_a_required_site_holds_the_round(federation):
    quorum = Quorum(sites=0.1, data_weight=0.1, required=("b",))
    with pytest.raises(QuorumError, match="required and absent: b"):
        federation(Peer("a"), Peer("b", acts={"train": erring}), quorum=quorum).loop.train(1, MODEL, "order")


def test_nobody_in_time_is_a_quorum_error_and_no_crash(federation):
    with pytest.raises(QuorumError, match="0 of 2 sites joined"):
        federation(Peer("a", acts={"train": silent}), Peer("b", acts={"train": silent})).loop.train(1, MODEL, "order")


def test_a_finite_update_that_would_overflow_the_sum_is_refused_and_the_round_goes_on(federation):
    found = federation(Peer("a", acts={"train": poisoned(3e38)}), Peer("b"))
    _, record = found.loop.train(1, MODEL, "order")
    assert record["joined"] == ["b"]
    assert "allowed: up to 1e+28" in record["refused"]["a"]


def test_the_global_model_is_lent_and_never_changed(federation):
    model = {name: value.copy() for name, value in MODEL.items()}
    federation(Peer("a"), Peer("b")).loop.train(1, model, "order")
    assert all((model[name] == value).all() for name, value in MODEL.items())


def test_bytes_are_those_of_all_phases_and_attempts(federation):
    found = federation(Peer("a"), Peer("b", at={1: silent}), quorum=Quorum(sites=1.0))
    size = sum(value.nbytes for value in MODEL.values())
    model, _ = found.loop.train(1, MODEL, "order")
    found.loop.validate(1, model, "order")
    assert found.loop.moved() == {"down": 6 * size, "up": 3 * size}
    found.loop.train(2, model, "order")
    assert found.loop.moved() == {"down": 2 * size, "up": 2 * size}
    assert found.loop.moved() == {"down": 0, "up": 0}


def scores(**numbers):
    return lambda peer, message: [(0.0, reply(message, {}, {WEIGHT_KEY: peer.examples} | numbers))]


def test_validation_is_weighed_by_cases(federation):
    found = federation(
        Peer("a", 30, {"evaluate": scores(loss=1.0, auc=0.5)}), Peer("b", 10, {"evaluate": scores(loss=2.0, auc=0.9)})
    )
    record = found.loop.validate(1, MODEL, "order")
    assert (record["loss"], record["auc"]) == (pytest.approx(1.25), pytest.approx(0.6))
    assert record["sites"]["b"] == {"examples": 10, "loss": 2.0, "auc": 0.9}
    assert record["missing"] == {}


def test_a_site_without_validation_cases_does_not_weigh(federation):
    nothing = scores(**{WEIGHT_KEY: 0}, loss=math.nan, auc=math.nan)
    found = federation(Peer("a", acts={"evaluate": nothing}), Peer("b", acts={"evaluate": scores(loss=2.0, auc=math.nan)}))
    record = found.loop.validate(1, MODEL, "order")
    assert (record["loss"], record["auc"], list(record["sites"])) == (2.0, None, ["b"])
    assert federation(Peer("a", acts={"evaluate": nothing})).loop.validate(1, MODEL, "order") is None


@pytest.mark.parametrize(
    ("odd", "named"),
    [
        (erring, True),
        (silent, True),
        (scores(**{WEIGHT_KEY: math.inf}), True),
        (scores(**{WEIGHT_KEY: -3}), True),
        (scores(**{WEIGHT_KEY: [3, 4]}), True),
        (scores(**{WEIGHT_KEY: 10**400}), True),
        (lambda peer, message: [(0.0, reply(message, {}, {"loss": 1.0}))], True),
        (scores(), False),
        (scores(loss=1.0, mood=2.0), False),
        (scores(loss=[1.0], auc=0.5), False),
        (scores(loss=1e308, auc=-1e308), False),
        (scores(loss=math.inf, auc=math.nan), False),
    ],
)
@pytest.mark.parametrize("name", ["a", "z"])
def test_one_site_s_odd_validation_costs_nobody_the_run(federation, odd, named, name):
    honest = scores(loss=2.0, auc=0.8)
    found = federation(
        Peer("m", acts={"evaluate": honest}), Peer("n", acts={"evaluate": honest}), Peer(name, acts={"evaluate": odd})
    )
    record = found.loop.validate(1, MODEL, "order")
    json.dumps(record, allow_nan=False)
    assert record["sites"]["m"]["loss"] == 2.0
    assert (name in record["missing"]) == named


def test_two_silent_validations_do_not_hide_the_site(federation):
    found = federation(Peer("a"), Peer("b", acts={"evaluate": silent}))
    assert found.loop.validate(1, MODEL, "order")["missing"] == {"b": "no answer by the deadline of 60 s"}


def test_a_strategy_that_needs_all_updates_gets_its_own_copies(federation):
    # an in-process answer's memory is used again for the next one
    found = federation(Peer("a"), Peer("b"), Peer("c"), strategy="fedmedian")
    model, _ = found.loop.train(1, MODEL, "order")
    sent = {found.grid.peers[m.metadata.dst_node_id].name: m for m in found.grid.sent}
    updates = [trained(peer, sent[peer.name])[0]["w"] for peer in found.peers]
    np.testing.assert_allclose(model["w"], np.median(updates, axis=0), rtol=1e-6)
