"""Runs on the engine `crowd`: the same rounds as those of a process a site, and everything around them."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from fedmed.errors import ConfigError, FederationError
from fedmed.federation.journal import events
from fedmed.simulate.masked_crowd import MaskedCrowd
from fedmed.store.commits import Commits
from fedmed.wire import tensors as wire

CLEAR = ("privacy.secure_aggregation=off", "rounds=4")
CROWD = (*CLEAR, "engine.name=crowd", "engine.workers=2")


@pytest.fixture(scope="module")
def runs(simulated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crowds")
    crowd = simulated(folder / "crowd", *CROWD)
    return folder, crowd, simulated(folder / "sites", *CLEAR, "engine.workers=2")


def model(folder) -> dict[str, np.ndarray]:
    return wire.load(folder / "model.safetensors")


def apart(one, other) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in other)


def test_the_model_is_that_of_a_process_a_site(runs):
    folder, *_ = runs
    assert apart(model(folder / "crowd"), model(folder / "sites")) < 1e-6


def test_the_rounds_say_the_same_but_for_each_sites_own_numbers(runs):
    _, crowd, sites = runs
    for ours, theirs in zip(crowd["rounds"], sites["rounds"], strict=True):
        for key in ("round", "verdict", "cohort", "joined", "missing", "refused", "bytes"):
            assert ours[key] == theirs[key], key
        assert ours["train"]["loss"] == pytest.approx(theirs["train"]["loss"], abs=1e-5)
        assert ours["validation"]["auc"] == pytest.approx(theirs["validation"]["auc"], abs=1e-5)
        assert ours["validation"]["loss"] == pytest.approx(theirs["validation"]["loss"], abs=1e-5)
        assert ours["train"]["sites"] == {} == ours["validation"]["sites"]


def test_the_report_says_how_the_crowd_trained(runs):
    folder, crowd, _ = runs
    assert crowd["engine"].startswith("crowd, ")
    page = (folder / "crowd" / "report.html").read_text()
    assert crowd["engine"] in page
    assert [event["workers"] for event in events(folder / "crowd") if event["event"] == "crowded"] == [2]


def test_switched_off_it_comes_to_the_same(simulated, tmp_path, runs):
    folder, *_ = runs
    report = simulated(tmp_path / "slow", *CROWD, "engine.fast=false")
    assert "switched off" in report["engine"]
    assert apart(model(tmp_path / "slow"), model(folder / "crowd")) < 1e-6


def test_a_run_that_goes_on_ends_with_the_same_bits(simulated, tmp_path, runs):
    folder, *_ = runs
    out = tmp_path / "halves"
    simulated(out, *CROWD)
    for number in Commits(out).rounds():
        if number > 2:
            (out / "commits" / next(path.name for path in (out / "commits").iterdir() if str(number) in path.name)).rename(
                tmp_path / f"away-{number}"
            )
    assert max(Commits(out).rounds()) == 2
    simulated(out, *CROWD, resume=True)
    assert (out / "model.safetensors").read_bytes() == (folder / "crowd" / "model.safetensors").read_bytes()


def test_a_rule_with_a_memory_of_its_own_works_on_the_mean(simulated, tmp_path):
    crowd = simulated(tmp_path / "crowd", *CROWD, "strategy.name=fedadam")
    simulated(tmp_path / "sites", *CLEAR, "engine.workers=2", "strategy.name=fedadam")
    assert crowd["status"] == "complete"
    assert apart(model(tmp_path / "crowd"), model(tmp_path / "sites")) < 1e-4


def test_a_rule_that_needs_each_update_is_refused(simulated, tmp_path):
    with pytest.raises(ConfigError, match=r"FedMedian needs every site's own update.*engine.name: inprocess"):
        simulated(tmp_path / "out", *CROWD, "strategy.name=fedmedian")


def test_updates_that_are_too_long_are_named_and_the_quorum_decides(simulated, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FederationError, match="missed its quorum"):
        simulated(out, *CROWD, "federation.max_update_norm=1e-9")
    refused = [event for event in events(out) if event["event"] == "refused"]
    assert {event["site"] for event in refused} == {"north", "south", "west"}
    assert all("allowed: at most 1e-09" in event["reason"] for event in refused)


MASKED = ("rounds=3", "engine.workers=2")


@pytest.fixture(scope="module")
def masked(simulated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    crowd = simulated(folder / "crowd", *MASKED, "engine.name=crowd", "engine.fast=false")
    return folder, crowd, simulated(folder / "sites", *MASKED)


def test_masked_sums_are_those_of_a_process_a_site_to_the_last_bit(masked):
    folder, crowd, sites = masked
    assert (folder / "crowd" / "model.safetensors").read_bytes() == (folder / "sites" / "model.safetensors").read_bytes()
    for ours, theirs in zip(crowd["rounds"], sites["rounds"], strict=True):
        for key in ("verdict", "cohort", "joined", "missing", "refused", "train", "validation", "bytes"):
            assert ours[key] == theirs[key], key


def test_a_masked_crowd_tells_what_the_center_could_learn(masked):
    folder, crowd, sites = masked
    for key in ("secure_aggregation", "least"):
        assert crowd["privacy"][key] == sites["privacy"][key]
    epochs = [event for event in events(folder / "crowd") if event["event"] == "epoch"]
    assert [(each["mode"], each["members"], each["without"]) for each in epochs] == [("malicious", 3, [])]
    assert all("losses" not in event for event in events(folder / "crowd"))


def test_the_closed_form_under_masks_comes_to_the_same_within_their_rounding(simulated, tmp_path, masked):
    folder, *_ = masked
    report = simulated(tmp_path / "fast", *MASKED, "engine.name=crowd")
    assert report["status"] == "complete"
    assert apart(model(tmp_path / "fast"), model(folder / "crowd")) < 1e-6


def test_a_masked_update_that_is_too_long_is_refused_by_its_site(simulated, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FederationError, match="missed its quorum"):
        simulated(out, *MASKED, "engine.name=crowd", "federation.max_update_norm=1e-9")
    refused = [event for event in events(out) if event["event"] == "refused"]
    assert {event["site"] for event in refused} == {"north", "south", "west"}


def test_a_masked_process_that_dies_ends_the_run_and_says_so(simulated, tmp_path, monkeypatch):
    told = MaskedCrowd.ask

    def killed(self, cohort, asked):
        if asked.kind == "train":
            os.kill(self._made[0].pid, signal.SIGKILL)
        return told(self, cohort, asked)

    monkeypatch.setattr(MaskedCrowd, "ask", killed)
    with pytest.raises(FederationError, match="exit code -9"):
        simulated(tmp_path / "out", *MASKED, "engine.name=crowd")
