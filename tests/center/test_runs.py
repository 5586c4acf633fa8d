from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.center.runs import PROPOSAL, STATE, Runs, Stage
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.errors import ConfigError, StoreError
from tests.center.federation import Brisk


class Steady(Brisk):
    at = 1.8e9

    def unix(self) -> float:
        self.at += 1
        return self.at


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path, Steady())


DEMO = load(find("demo"))


def test_runs_go_on_one_after_the_other_in_the_order_they_were_asked_for(runs: Runs):
    first, second = runs.add(DEMO), runs.add(DEMO, least=3)
    assert (first.name, second.name, second.least) == ("demo", "demo-2", 3)
    assert [run.name for run in runs.all()] == ["demo", "demo-2"]
    assert runs.next() == first
    runs.put(replace(first, stage=Stage.STALLED, why="a reason"))
    assert runs.get("demo").why == "a reason"
    runs.put(replace(first, stage=Stage.DONE))
    assert runs.next() == second
    runs.put(replace(second, stage=Stage.FAILED))
    assert runs.next() is None


def test_what_is_run_is_what_was_asked_for(runs: Runs):
    name = runs.add(load(find("demo"), ["rounds=3"])).name
    assert runs.scenario(name) == load(find("demo"), ["rounds=3"])
    reference = runs.offer(name).offered.reference
    assert reference.startswith("demo@")
    assert Runs(runs.folder.parent, Steady()).offer(name).offered.reference == reference


def test_only_what_is_not_over_is_offered_and_stopped(runs: Runs):
    run = runs.add(DEMO)
    assert [offer.offered.proposal.run for offer in runs.offers()] == ["demo"]
    assert not runs.is_to_stop("demo")
    runs.ask_to_stop("demo")
    assert runs.is_to_stop("demo")
    runs.put(replace(run, stage=Stage.STOPPED))
    assert runs.offers() == []
    with pytest.raises(ConfigError, match="is over"):
        runs.ask_to_stop("demo")


def test_a_run_that_is_not_there_and_one_that_cannot_be_read_are_named(runs: Runs):
    with pytest.raises(ConfigError, match="runs: none yet"):
        runs.get("demo")
    runs.add(DEMO)
    with pytest.raises(ConfigError, match="runs: demo"):
        runs.get("../demo/elsewhere")
    (runs.path("demo") / STATE).write_bytes(b"{}")
    with pytest.raises(StoreError, match=STATE):
        runs.get("demo")


def test_the_stage_has_the_time_of_its_own_beginning(runs: Runs):
    run = runs.add(DEMO)
    waiting = runs.put(replace(run, stage=Stage.WAITING, why="north is offline"))
    later = runs.put(replace(waiting, why="south is offline"))
    assert waiting.since_unix > run.since_unix
    assert later.since_unix == waiting.since_unix


def test_an_update_of_the_center_changes_no_proposal_and_a_newer_ones_state_is_read(runs: Runs, monkeypatch):
    name = runs.add(DEMO).name
    reference = runs.offer(name).offered.reference
    monkeypatch.setattr("fedmed.center.proposals.__version__", "0.2.0")
    assert Runs(runs.folder.parent, Steady()).offer(name).offered.reference == reference
    assert runs.add(DEMO).name == "demo-2"
    assert runs.offer("demo-2").offered.proposal.fedmed == "0.2.0"
    path = runs.path(name) / STATE
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": "fine"}))
    assert runs.get(name).stage is Stage.QUEUED
    (runs.path(name) / PROPOSAL).write_text("{}")
    with pytest.raises(StoreError, match="ask for the run anew"):
        Runs(runs.folder.parent, Steady()).offer(name)
