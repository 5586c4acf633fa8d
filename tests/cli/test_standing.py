from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fedmed.center.runs import Runs, Stage
from fedmed.cli import standing
from fedmed.clock import SystemClock
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.federation.pace import Past, Seen, wait_for
from fedmed.federation.patience import Notes
from fedmed.store.standing import write_status


@pytest.fixture
def runs(tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDMED_CENTER", str(tmp_path / "center"))
    assert said("center", "init", "center", "--name", "study", "--host", "127.0.0.1")[0] == 0
    return Runs(tmp_path / "center", SystemClock())


def under_way(runs: Runs, *settings: str) -> str:
    run = runs.add(load(find("demo"), settings))
    runs.put(replace(run, stage=Stage.RUNNING, sites=("north", "south")))
    return run.name


def test_status_says_how_long_each_site_is_waited_for_and_why(runs, said):
    name = under_way(runs)
    assert json.loads(said("center", "status", "--json")[1])["runs"][0]["waits"] == {}
    notes = Notes(runs.path(name))
    notes.waits["north"] = {"train": wait_for(Past((Seen(40, 2), Seen(55, 2), Seen(50, 2))), 1, 0)}
    notes.write()
    code, out, _ = said("center", "status")
    assert code == 0
    assert "north: 3 answers took 40-55 s (2.0 s of that the line); waited for until 250 s" in out
    waits = json.loads(said("center", "status", "--json")[1])["runs"][0]["waits"]
    assert (set(waits), waits["north"]["deadline_s"], waits["north"]["expected_s"]) == ({"north"}, 250.0, 50.0)
    runs.put(replace(runs.get(name), stage=Stage.DONE))
    assert json.loads(said("center", "status", "--json")[1])["runs"][0]["waits"] == {}


def test_a_time_that_the_scenario_names_is_said_to_be_its(runs, said):
    under_way(runs, "federation.deadline_s=90")
    out = said("center", "status")[1]
    assert "south: the scenario gives every site the same time (federation.deadline_s); waited for until 90 s" in out


def test_a_status_that_was_not_written_for_long_says_so(runs, said, tmp_path, monkeypatch):
    monkeypatch.setattr(standing, "is_serving", lambda folder: True)  # its lock is between processes
    now = int(SystemClock().unix())
    facts = {"since": now - 900, "version": "0.1.0", "sites": {}}
    write_status(tmp_path / "center", {**facts, "unix": now})
    assert "the disk is full" not in said("center", "status")[1]
    write_status(tmp_path / "center", {**facts, "unix": now - 300})
    assert "s ago, where a second is usual: the disk is full" in said("center", "status")[1]
