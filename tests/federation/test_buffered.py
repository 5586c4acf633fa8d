from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.clock import generator
from fedmed.config.scenario import Buffer, Quorum
from fedmed.config.scenario import Rounds as Rules
from fedmed.errors import ConfigError, QuorumError
from fedmed.federation.buffered import Buffered, as_if_now
from fedmed.federation.pace import LEAST_S
from fedmed.federation.rounds import RoundLoop
from fedmed.federation.stale import discount
from fedmed.flower.client import order_in, tensors_in
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.store.commits import Commits
from tests.federation.conftest import MODEL, Federation
from tests.federation.lasting import Strikes
from tests.federation.lasting import federation as lasting
from tests.federation.peers import Peer, after, erring, honest, poisoned, reply, silent
from tests.federation.test_run import federate

NAMES = "abcdefgh"


def steps(peer: Peer, model: dict[str, Any], order: str) -> dict[str, Any]:
    """What a site makes of a model: it goes half of the way to a point of its own, and somewhat aside."""
    rng = generator(7, peer.name, order)
    return {"w": 0.5 * model["w"] + rng.normal(size=(2, 3)), "seen": model["seen"] + 1}


def paced(seconds: float):
    """An honest site that takes so long."""

    def act(peer: Peer, message: Any) -> Any:
        if message.metadata.message_type != "train":
            return honest(peer, message)
        given = tensors_in(message)
        made = {name: value.astype(given[name].dtype) for name, value in steps(peer, given, order_in(message)).items()}
        return [(seconds, reply(message, made, {WEIGHT_KEY: peer.examples, "loss": 0.5}))]

    return act


def buffered(found: Federation, **settings: Any) -> RoundLoop:
    phase = found.phase()
    gathering = Buffered(phase, found.rule, found.rules, Buffer(**settings))
    return RoundLoop(found.rule, found.members, gathering, phase, found.rules.attempts)


def rounds(loop: RoundLoop, count: int, validates: bool = False) -> tuple[list[Any], list[dict[str, Any]]]:
    models, records = [MODEL], []
    for number in range(1, count + 1):
        model, record = loop.train(number, models[-1], f"order {number}")
        if validates:
            record["validation"] = loop.validate(number, model, f"order {number}")
        models.append(model)
        records.append(record)
    return models, records


def algorithm_1(found: Federation, arrivals: list[str], size: int, exponent: float):
    """The paper's server and clients, driven by who arrives after whom, in float64; weights are cases, the paper's all 1."""
    peers = {peer.name: peer for peer in found.peers}
    model = {name: value.astype(np.float64) for name, value in MODEL.items()}
    models, inside, there = [model], [], {}
    given = dict.fromkeys(peers, (0, model))
    change, cases = np.zeros((2, 3)), 0
    for name in arrivals:
        began, base = given[name]
        there[name] = len(inside) - began
        made = steps(peers[name], base, f"order {began + 1}")
        change = change + peers[name].examples * (1 + there[name]) ** -exponent * (made["w"] - base["w"])
        cases += peers[name].examples
        if len(there) == size:
            model = {"w": model["w"] + change / cases, "seen": model["seen"]}
            models.append(model)
            inside.append(there)
            given |= dict.fromkeys(there, (len(inside), model))
            change, cases, there = np.zeros((2, 3)), 0, {}
    return models, inside


@given(
    st.integers(2, 6).flatmap(
        lambda sites: st.tuples(
            st.integers(1, sites),
            st.lists(st.lists(st.integers(1, 40), min_size=9, max_size=9), min_size=sites, max_size=sites),
        )
    ),
    st.sampled_from([0.0, 0.5, 2.0]),
)
@settings(max_examples=30, deadline=None)
def test_it_is_algorithm_1_of_the_paper_over_the_same_arrivals(drawn, exponent):
    size, whole = drawn
    delays = dict(zip(NAMES, whole, strict=False))
    peers = [
        Peer(name, 10 * (i + 1), at={n + 1: paced(d) for n, d in enumerate(delays[name])}) for i, name in enumerate(delays)
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = Federation(Path(folder), peers, Rules(deadline_s=1e5))
        models, records = rounds(buffered(found, size=size, discount=exponent), 5)
        found.journal.close()
        arrivals = [line["site"] for line in found.events("answered")]
    others, inside = algorithm_1(found, arrivals, size, exponent)
    assert [record["buffer"]["staleness"] for record in records] == [dict(sorted(each.items())) for each in inside]
    for mine, other in zip(models, others, strict=True):
        np.testing.assert_allclose(mine["w"], other["w"], rtol=1e-3, atol=1e-4)


acts = st.sampled_from(["quick", "slow", "never", "error", "bad"])


@given(st.integers(1, 4), st.integers(4, 7), st.lists(st.lists(acts, min_size=12, max_size=12), min_size=7, max_size=7))
@settings(max_examples=25, deadline=None)
def test_whatever_happens_each_update_counts_once_and_nobody_is_lost(size, concurrent, drawn):
    behave = {"quick": after(3), "slow": after(50), "never": silent, "error": erring, "bad": poisoned(float("nan"))}
    peers = [
        Peer(name, 10, {"train": after(5)}, {n + 1: behave[a] for n, a in enumerate(row)})
        for name, row in zip(NAMES, drawn, strict=False)
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = Federation(Path(folder), peers, Rules(deadline_s=60, attempts=12, quorum=Quorum(sites=0.1)))
        loop, model = buffered(found, size=size, concurrent=concurrent), MODEL
        begun: dict[str, int] = {}
        for number in range(1, 8):
            before = len(found.grid.sent)
            model, record = loop.train(number, model, str(number))
            given = [found.grid.peers[m.metadata.dst_node_id].name for m in found.grid.sent[before:]]
            assert not set(given) & begun.keys() or record["attempt"] > 1, "nobody is given a second model meanwhile"
            begun |= dict.fromkeys(given, number)
            told = record["buffer"]
            assert set(record["joined"]) == told["staleness"].keys()
            assert all(number - begun[site] == s for site, s in told["staleness"].items())
            over = {*record["joined"], *record["missing"], *record["refused"]}
            assert set(record["cohort"]) == over
            assert not over & told["under_way"].keys()
            assert len(record["joined"]) <= size
            assert len(told["under_way"]) <= concurrent
            begun = {site: since for site, since in begun.items() if site not in over}
            assert told["under_way"].items() <= begun.items()
            if record["attempt"] == 1:
                assert told["under_way"] == begun
            else:  # who failed in an attempt that was short is in that one's line of the journal
                short = [line["missing"] for line in found.events("short") if line["round"] == number]
                assert begun.keys() - told["under_way"].keys() <= set().union(*short)
                begun = dict(told["under_way"])
            assert np.isfinite(model["w"]).all()
        found.journal.close()


def test_a_buffer_of_all_is_a_round_of_all_to_the_bit(tmp_path):
    for name in ("plain", "buffer"):
        (tmp_path / name).mkdir()
    for number in range(1, 7):
        mine, _ = federate(tmp_path / "plain", rounds=number).latest()
        others, _ = federate(tmp_path / "buffer", "federation.buffer.size=3", rounds=number).latest()
        assert mine is not None
        assert others is not None
        assert mine.round == others.round == number
        assert {k: v.tobytes() for k, v in mine.tensors.items()} == {k: v.tobytes() for k, v in others.tensors.items()}
        for record in others.state["history"]:
            assert record.pop("buffer") == {"size": 3, "staleness": {"a": 0, "b": 0, "c": 0}, "under_way": {}}
        assert [r["train"] for r in mine.state["history"]] == [r["train"] for r in others.state["history"]]


def test_who_is_not_in_it_trains_on_and_is_in_a_later_one(federation):
    found = federation(
        Peer("a", 30, {"train": after(3)}), Peer("b", 10, {"train": after(4)}), Peer("slow", 20, {"train": after(10)})
    )
    _models, records = rounds(buffered(found, size=2), 4)
    assert [record["joined"] for record in records] == [["a", "b"], ["a", "b"], ["a", "slow"], ["a", "b"]]
    assert records[2]["buffer"] == {"size": 2, "staleness": {"a": 0, "slow": 2}, "under_way": {"b": 3}}
    assert records[3]["buffer"]["staleness"] == {"a": 0, "b": 1}
    assert [r["cohort"] for r in records[:3]] == [["a", "b"], ["a", "b"], ["a", "slow"]], "who trains on is not missing"
    assert all(record["missing"] == {} and record["verdict"] == "complete" for record in records)
    assert found.clock.now() - 1000 == pytest.approx(14.5, abs=2.0)
    sent = [found.grid.peers[m.metadata.dst_node_id].name for m in found.grid.sent]
    assert sorted(sent[:3]) == ["a", "b", "slow"]
    assert sent.count("slow") == 2
    json.dumps(records, allow_nan=False)


def test_the_places_go_to_those_without_work_and_chance_is_seeded(federation):
    peers = [Peer(name, 10, {"train": after(3 + i)}) for i, name in enumerate(NAMES)]
    found = federation(*peers)
    _, records = rounds(buffered(found, size=2, concurrent=3), 12)
    at_once = [len(record["joined"]) + len(record["buffer"]["under_way"]) for record in records]
    assert max(at_once) == 3
    assert {site for record in records for site in record["joined"]} == set(NAMES)


def test_a_site_that_never_answers_is_given_up_at_its_own_deadline_and_asked_again(federation):
    lost = Peer("lost", 10, {"train": after(3)}, at={1: silent})
    found = federation(Peer("a", 10, {"train": after(25)}), Peer("b", 10, {"train": after(25)}), lost, deadline_s=60.0)
    _, records = rounds(buffered(found, size=2), 4)
    assert [record["missing"] for record in records[:3]] == [{}, {}, {"lost": "no answer by the deadline of 60 s"}]
    assert records[3]["buffer"]["staleness"]["lost"] == 0
    assert [(line["round"], line["site"]) for line in found.events("failed")] == [(3, "lost")]


def test_who_was_given_up_validates_again_once_it_has_answered_anything(federation):
    lost = Peer("lost", 10, {"train": after(3)}, at={1: silent})
    found = federation(Peer("a", 10, {"train": after(25)}), Peer("b", 10, {"train": after(25)}), lost, deadline_s=60.0)
    _, records = rounds(buffered(found, size=2), 6, validates=True)
    seen = [set(record["validation"]["sites"]) for record in records]
    assert "lost" in records[2]["missing"]
    assert "lost" not in seen[2], "it may still be at work"
    assert "lost" in seen[3]


def test_what_comes_after_its_own_deadline_is_late_and_does_not_count(federation):
    late = Peer("late", 10, {"train": silent}, at={1: after(80)})
    found = federation(Peer("a", 10, {"train": after(25)}), Peer("b", 10, {"train": after(25)}), late, deadline_s=60.0)
    _, records = rounds(buffered(found, size=2), 4)
    assert records[2]["missing"] == {"late": "no answer by the deadline of 60 s"}
    assert records[3]["late"] == ["late"]
    assert all("late" not in record["joined"] for record in records)


def test_the_deadline_closes_a_buffer_by_its_quorum(federation):
    peers = [Peer("a", acts={"train": after(3)}), Peer("b", acts={"train": after(4)}), Peer("c", acts={"train": silent})]
    found = federation(*peers, quorum=Quorum(sites=0.6), deadline_s=60.0)
    _, records = rounds(buffered(found, size=3), 1)
    assert (records[0]["verdict"], records[0]["joined"]) == ("closed by quorum", ["a", "b"])
    assert records[0]["missing"] == {"c": "no answer by the deadline of 60 s"}


def test_a_short_buffer_keeps_what_it_has_for_the_next_attempt(federation):
    peers = [Peer("a", 10), Peer("b", 10, at={1: erring}), Peer("c", 10, at={1: erring})]
    found = federation(*peers, quorum=Quorum(sites=1))
    _, records = rounds(buffered(found, size=3), 1)
    assert (records[0]["attempt"], records[0]["joined"]) == (2, ["a", "b", "c"])
    assert [peer.trainings for peer in found.peers] == [1, 2, 2]
    assert found.events("short")[0]["lacks"] == ["1 of 3 updates of the buffer came, 100% are needed"]


def test_attempts_without_a_quorum_end_the_run(federation):
    found = federation(
        Peer("a"), Peer("b", acts={"train": erring}), Peer("c", acts={"train": erring}), quorum=Quorum(sites=1)
    )
    with pytest.raises(QuorumError, match="1 of 3 updates of the buffer came, 100% are needed"):
        buffered(found, size=3).train(1, MODEL, "order")


def test_what_cannot_be_used_is_refused_and_leaves_no_trace(federation):
    bad = Peer("bad", 30, {"train": poisoned(float("inf"))})
    found = federation(Peer("a", 10, {"train": after(3)}), Peer("b", 10, {"train": after(4)}), bad)
    models, records = rounds(buffered(found, size=2), 2)
    assert "not finite" in records[0]["refused"]["bad"]
    assert "bad" in records[1]["refused"]
    assert np.isfinite(models[-1]["w"]).all()


def moving(seconds: float):
    """A site that adds one to each of six numbers in so long, and one to the count: a change of norm 2.65."""

    def act(peer: Peer, message: Any) -> Any:
        made = {name: value + 1 for name, value in tensors_in(message).items()}
        return [(seconds, reply(message, made, {WEIGHT_KEY: peer.examples, "loss": 0.5}))]

    return act


def test_the_norm_of_a_stale_update_is_that_from_the_model_it_began_with(federation):
    quick, slow = Peer("quick", 10, {"train": moving(3)}), Peer("slow", 10, {"train": moving(10)})
    models, records = rounds(buffered(federation(quick, slow, max_update_norm=2.7), size=1), 4)
    assert records[3]["buffer"]["staleness"] == {"slow": 3}
    np.testing.assert_allclose(models[4]["w"], MODEL["w"] + 3 + 0.5, rtol=1e-6)
    assert all(record["refused"] == {} for record in records)


def test_only_sites_without_work_validate_and_what_comes_meanwhile_is_in_the_next_buffer(federation):
    quick = {"train": after(3), "evaluate": after(20)}
    found = federation(Peer("a", 10, quick), Peer("b", 10, quick), Peer("slow", 20, {"train": after(10)}))
    _, records = rounds(buffered(found, size=2), 2, validates=True)
    assert set(records[0]["validation"]["sites"]) == {"a", "b"}
    assert "slow" in records[1]["joined"]
    assert records[1]["buffer"]["staleness"]["slow"] == 1
    assert len(records[1]["joined"]) == 2


def test_a_validation_that_one_site_never_answers_holds_up_no_buffer(federation):
    quick = {"train": after(3), "evaluate": after(4)}
    mute = Peer("mute", 10, {"train": after(3), "evaluate": silent})
    found = federation(Peer("a", 10, quick), Peer("b", 10, quick), mute, deadline_s=7200.0)
    _, records = rounds(buffered(found, size=3), 1, validates=True)
    assert records[0]["validation"]["missing"] == {"mute": "no answer by 2.5 times what most took"}
    assert found.clock.now() - 1000 == pytest.approx(3 + LEAST_S, abs=1)


def test_a_rule_that_needs_every_update_has_each_as_if_made_now(federation):
    peers = [Peer(name, 10, {"train": after(seconds)}) for name, seconds in (("a", 3), ("b", 4), ("slow", 10))]
    _, records = rounds(buffered(federation(*peers, strategy="fedmedian"), size=2), 4)
    assert records[2]["buffer"]["staleness"] == {"a": 0, "slow": 2}


def test_a_buffer_of_more_than_there_are_is_refused(federation):
    with pytest.raises(ConfigError, match=r"federation.buffer.size: got 4; allowed: 1 to 3 \(the sites\)"):
        buffered(federation(Peer("a"), Peer("b"), Peer("c")), size=4)


BUFFER = (
    "privacy.secure_aggregation=off",
    "federation.buffer.size=2",
    "rounds=3",
    "strategy.name=fedavg",
)


def struck(folder: Path, at: int) -> None:
    """A run whose center ends at this step and is started again."""
    found = lasting(folder, *BUFFER)
    assert not found.goes(Strikes(at)), "it ended before the step came"
    assert found.goes()
    history = Commits(found.run_folder).read(3).state["history"]
    assert [(record["round"], len(record["joined"])) for record in history] == [(1, 2), (2, 2), (3, 2)]
    assert found.events("begun-again") == []
    begun_anew = [line["sites"] for line in found.events("begun-anew")]
    for before, record in itertools.pairwise(history):
        if (went_on := before["buffer"]["under_way"]) not in begun_anew:
            assert all(record["buffer"]["staleness"].get(site, 1) == 1 for site in went_on)


def test_a_center_on_flowers_state_that_was_struck_fills_its_buffers_on(tmp_path):
    struck(tmp_path / "f", 80)


@pytest.mark.nightly
def test_a_center_on_flowers_state_may_be_struck_at_any_step(tmp_path):
    whole, strikes = lasting(tmp_path / "whole", *BUFFER), Strikes()
    assert whole.goes(strikes)
    for at in range(0, len(strikes.steps), 5):
        struck(tmp_path / str(at), at)


floats = st.floats(-100, 100, width=32)


@given(floats, floats, floats, st.integers(0, 5), st.integers(-50, 50), st.integers(-50, 50))
def test_a_change_is_made_to_the_model_of_now(update, given_, now, age, count, count_now):
    def of(value: float, seen: int) -> dict[str, Any]:
        return {"w": np.full((2, 2), value, np.float32), "seen": np.array(seen, np.int64), "on": np.array(seen > 0)}

    share = discount(age)
    made = as_if_now(of(update, count), of(given_, 0), of(now, count_now), share)
    np.testing.assert_allclose(made["w"], now + (update - given_) * share, rtol=1e-4, atol=1e-4)
    assert made["seen"] == np.rint(count_now + count * share)
    assert [value.dtype for value in made.values()] == [np.float32, np.int64, np.bool_]
    assert made["seen"].shape == ()
