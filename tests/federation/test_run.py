from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.loading import parse
from fedmed.errors import ConfigError, DataError, FederationError, QuorumError, ResumeRefused, StoreError
from fedmed.federation.journal import Journal
from fedmed.federation.run import best_of, part, run
from fedmed.flower.client import order_in
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.transport import Transport
from fedmed.store.commits import TENSORS, Commits
from fedmed.wire.canonical import digest
from tests.federation.peers import FakeClock, FakeGrid, Peer, erring, honest, reply, silent, trained
from tests.federation.test_journal import lines

SCENARIO = """
name: tiny
title: Tiny
rounds: 6
data: {reader: csv}
task: {name: tabular}
training: {learning_rate: 0.1, epochs: 1}
evaluation: {every: 2, baselines: false}
privacy: {secure_aggregation: off}
"""


def federate(folder: Path, *overrides: str, peers=None, rounds: int | None = None) -> Commits:
    """A run in memory; with `rounds` it is struck down when that round has been committed."""
    peers = peers if peers is not None else [Peer("a", 10), Peer("b", 20), Peer("c", 30)]
    clock, commits = FakeClock(), Commits(folder)
    journal = Struck(folder, clock, rounds)
    try:
        run(Transport(FakeGrid(peers, clock), clock), parse(SCENARIO, "tiny.yaml", overrides), commits, clock, journal)
    except Stroke:
        pass
    finally:
        journal.close()
    return commits


class Stroke(BaseException):
    """Ends a run where a kill would."""


class Struck(Journal):
    def __init__(self, folder: Path, clock: FakeClock, after: int | None) -> None:
        super().__init__(folder, clock)
        self.after = after

    def say(self, event, **details):
        super().say(event, **details)
        if event == "committed" and details["round"] == self.after:
            raise Stroke


def final(commits: Commits) -> dict[str, bytes]:
    commit, faults = commits.latest()
    assert faults == []
    return {name: value.tobytes() for name, value in commit.tensors.items()}


def test_every_round_is_committed_and_recorded(tmp_path):
    commit, _ = federate(tmp_path).latest()
    assert commit.round == 6
    history = commit.state["history"]
    assert [record["round"] for record in history] == [1, 2, 3, 4, 5, 6]
    assert [record["validation"] is not None for record in history] == [False, True, False, True, False, True]
    assert all(record["joined"] == ["a", "b", "c"] for record in history)
    assert all(set(record["phases"]) >= {"train", "aggregate", "validate"} for record in history)
    assert commit.state["resumed"] == []
    events = [line["event"] for line in lines(tmp_path)]
    assert events[:2] == ["met", "start"]
    assert events[-1] == "end"
    assert events.count("committed") == 6


def test_the_last_round_is_validated_whatever_the_step(tmp_path):
    commit, _ = federate(tmp_path, "rounds=3").latest()
    assert commit.state["history"][-1]["validation"]["auc"] == 0.75


def test_bytes_of_a_round_count_its_validation(tmp_path):
    commit, _ = federate(tmp_path, "rounds=2").latest()
    size = sum(value.nbytes for name, value in commit.tensors.items() if name.startswith("model/"))
    assert [record["bytes"] for record in commit.state["history"]] == [
        {"down": 3 * size, "up": 3 * size},
        {"down": 6 * size, "up": 3 * size},
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["training.average_last=4"],
        ["strategy.name=fedadam"],
        ["strategy.name=fedavgm", "strategy.options={server_momentum: 0.9}"],
        ["strategy.name=fedyogi", "training.average_last=3"],
        ["strategy.name=krum"],
        ["strategy.name=fedavg", "strategy.options={fraction_train: 0.5}"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("struck", [[1], [5], [2, 3, 4]])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, overrides, struck):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for folder in (straight, broken):
        folder.mkdir()
    undisturbed = federate(straight, *overrides)
    for rounds in struck:
        resumed = federate(broken, *overrides, rounds=rounds)
        assert resumed.latest()[0].round == rounds
    resumed = federate(broken, *overrides)
    assert final(resumed) == final(undisturbed)
    assert resumed.latest()[0].state["resumed"] == struck
    histories = [commits.latest()[0].state["history"] for commits in (undisturbed, resumed)]
    assert [record["joined"] for record in histories[0]] == [record["joined"] for record in histories[1]]
    assert [record["train"] for record in histories[0]] == [record["train"] for record in histories[1]]


AUCS = {1: 0.5, 2: 0.75, 3: 0.8125, 4: 0.8125, 5: math.nan, 6: 0.25}


def scoring(peer, message):
    number = json.loads(order_in(message))["round"]
    return [(0.0, reply(message, {}, {WEIGHT_KEY: 4, "loss": 0.5, "auc": AUCS[number]}))]


def scored() -> list[Peer]:
    return [Peer(name, 10, acts={"evaluate": scoring}) for name in "abc"]


BEST = ("evaluation.choose=best", "evaluation.every=1")


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam", "krum"])
@pytest.mark.parametrize("struck", [[1], [3], [2, 4, 5]])
def test_the_best_model_survives_resumed_runs_to_the_last_bit(tmp_path, strategy, struck):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for folder in (straight, broken):
        folder.mkdir()
    rule = f"strategy.name={strategy}"
    undisturbed = federate(straight, *BEST, rule, peers=scored())
    for rounds in struck:
        federate(broken, *BEST, rule, peers=scored(), rounds=rounds)
    assert final(federate(broken, *BEST, rule, peers=scored())) == final(undisturbed)
    third = tmp_path / "third"
    third.mkdir()
    at_three = federate(third, *BEST, rule, peers=scored(), rounds=3).latest()[0]
    best = best_of(undisturbed.latest()[0])
    assert (best.round, best.value) == (3, 0.8125)
    assert {k: v.tobytes() for k, v in best.model.items()} == {
        k: v.tobytes() for k, v in part(at_three.tensors, "model/").items()
    }


def test_only_rounds_that_were_validated_can_be_the_best(tmp_path):
    commit, _ = federate(tmp_path, "evaluation.choose=best", peers=scored()).latest()
    assert best_of(commit).round == 4


def test_without_a_choice_no_second_model_is_kept(tmp_path):
    commit, _ = federate(tmp_path, peers=scored()).latest()
    assert best_of(commit) is None
    assert part(commit.tensors, "best/") == {}


@pytest.mark.parametrize("damaged", [[4], [4, 3], [4, 3, 2]])
def test_a_damaged_commit_is_passed_over_and_made_again(tmp_path, damaged):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for folder in (straight, broken):
        folder.mkdir()
    undisturbed, commits = federate(straight), federate(broken, rounds=4)
    for number in damaged:
        path = commits.folder / f"round-{number:06d}" / TENSORS
        path.write_bytes(path.read_bytes()[:-1])
    assert final(federate(broken)) == final(undisturbed)
    said = [line["fault"] for line in lines(broken) if line["event"] == "damaged"]
    assert len(said) == len(damaged)
    resumed = [line["round"] for line in lines(broken) if line["event"] == "resumed"]
    assert resumed == ([4 - len(damaged)] if len(damaged) < 3 else [])


def test_a_finished_run_is_not_trained_again(tmp_path):
    before = final(federate(tmp_path))
    peers = [Peer("a", 10), Peer("b", 20), Peer("c", 30)]
    assert final(federate(tmp_path, peers=peers)) == before
    assert [peer.trainings for peer in peers] == [0, 0, 0]


def test_a_commit_of_a_version_with_fewer_keys_is_gone_on_with(tmp_path):
    commits = federate(tmp_path, rounds=2)
    last = commits.read(2)
    scenario = {key: value for key, value in last.state["scenario"].items() if key != "engine"}
    state = {**last.state, "scenario": scenario, "scenario_sha256": digest(scenario)}
    commits.write(replace(last, state=state))
    (tmp_path / "undisturbed").mkdir()
    assert final(federate(tmp_path)) == final(federate(tmp_path / "undisturbed"))


def test_another_scenario_is_refused_and_the_difference_shown(tmp_path):
    commits = federate(tmp_path, rounds=2)
    with pytest.raises(ResumeRefused) as caught:
        federate(tmp_path, "seed=43", "training.learning_rate=0.2")
    assert "seed: 42 -> 43" in str(caught.value)
    assert "training.learning_rate: 0.1 -> 0.2" in str(caught.value)
    assert commits.latest()[0].round == 2


def test_a_quorum_missed_leaves_the_last_commit_and_can_be_resumed(tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for folder in (straight, broken):
        folder.mkdir()
    undisturbed = federate(straight, "federation.attempts=1")
    peers = [Peer("a", 10), Peer("b", 20, at={3: erring}), Peer("c", 30, at={3: silent})]
    with pytest.raises(QuorumError, match="round 3"):
        federate(broken, "federation.attempts=1", peers=peers)
    assert Commits(broken).latest()[0].round == 2
    assert final(federate(broken, "federation.attempts=1")) == final(undisturbed)


def all_nan(peer, message):
    tensors, metrics = trained(peer, message)
    return [(0.0, reply(message, {name: np.full_like(value, np.nan) for name, value in tensors.items()}, metrics))]


def test_a_refused_site_is_in_the_history(tmp_path):
    peers = [Peer("a", 10), Peer("b", 20, at={2: all_nan}), Peer("c", 30)]
    commit, _ = federate(tmp_path, peers=peers).latest()
    assert [record["joined"] for record in commit.state["history"]].count(["a", "b", "c"]) == 5
    assert list(commit.state["history"][1]["refused"]) == ["b"]
    assert commit.state["history"][1]["joined"] == ["a", "c"]


def told(**changes):
    def act(peer, message):
        made = honest(peer, message)[0][1]
        content = next(iter(made.content.config_records.values()))
        content["fedmed.order"] = json.dumps(peer.description() | changes)
        return [(0.0, made)]

    return {"query.describe": act}


@pytest.mark.parametrize(
    ("peer", "error", "said"),
    [
        (Peer("A"), DataError, "two sites are named 'A'"),
        (Peer("a"), DataError, "two sites are named 'a'"),
        (Peer("d", acts={"query.describe": erring}), FederationError, "the scanner is on fire"),
        (Peer("d", acts={"query.describe": silent}), FederationError, "no answer"),
        (Peer("<b>/../d"), DataError, "site name '<b>/../d' cannot be used"),
        (Peer("d\udcff"), DataError, "cannot be used"),
        (Peer("d", 0), DataError, "site d has no training cases"),
        (Peer("d", acts=told(inputs=[4])), DataError, "sites disagree on inputs"),
        (Peer("d", acts=told(classes=["ill", "well"])), DataError, "sites disagree on classes"),
        (Peer("d", acts=told(name=None, examples="many")), DataError, "description cannot be read"),
    ],
)
def test_a_site_that_cannot_take_part_is_named_before_any_training(tmp_path, peer, error, said):
    peers = [Peer("a", 10), Peer("b", 20), peer]
    with pytest.raises(error, match=said):
        federate(tmp_path, peers=peers)
    assert [one.trainings for one in peers] == [0, 0, 0]
    assert Commits(tmp_path).rounds() == []


def test_a_required_site_that_is_none_is_refused_before_any_training(tmp_path):
    # a slip of the pen must not switch the quorum off
    with pytest.raises(ConfigError, match=r"required names bb; the sites are a, b, c"):
        federate(tmp_path, "federation.quorum.required=[a, bb]")
    assert Commits(tmp_path).rounds() == []


def test_a_rule_that_holds_all_updates_says_so_first(tmp_path):
    federate(tmp_path, "strategy.name=fedmedian")
    (held,) = [line for line in lines(tmp_path) if line["event"] == "holds"]
    assert (held["strategy"], held["bytes"], held["sites"]) == ("FedMedian", 3 * 16, 3)


def test_a_disk_that_fails_ends_the_run_with_its_last_commit(tmp_path, monkeypatch):
    federate(tmp_path, rounds=2)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fedmed.store.commits.os.fsync", full)
        with pytest.raises(StoreError, match="last valid commit is round 2"):
            federate(tmp_path)
    straight = tmp_path / "straight"
    straight.mkdir()
    assert final(federate(tmp_path)) == final(federate(straight))
