"""Whole runs under differential privacy: what is opened, what it costs each site, and what ends them."""

from __future__ import annotations

import json
import shutil

import pytest

from fedmed.errors import FederationError
from fedmed.store import budgets, departures

PLAIN = ("federation.gate=off", "task.class_weights=none", "data.normalise=none", "evaluation.baselines=false")
LIMIT = 3.0
ONE_STEP = ("training={learning_rate: 0.2, steps: 1}", "rounds=2", "engine.workers=0")


def private(mode: str, **more: object) -> str:
    told = {"mode": mode, "epsilon": 1000.0, "delta": 1e-5, "clip": 1.0, "noise": 1.5, **more}
    return f"privacy.differential_privacy={json.dumps(told)}"


def charges(run, site: int):
    return budgets.read(run / "ledgers" / f"{site:05d}.budget.jsonl")


def sendings(run, site: int):
    return departures.verify(run / "ledgers" / f"{site:05d}{departures.SUFFIX}")


@pytest.mark.parametrize(
    ("mode", "more", "has_share"),
    [("record-distributed", {"rate": 0.5}, True), ("record-local", {"rate": 0.5}, False), ("clinic", {}, True)],
)
def test_sums_of_tensors_are_opened_and_nothing_else(simulated, tmp_path, mode, more, has_share):
    limit = ("federation.max_update_norm=1e-9",) if has_share else ()  # what is clipped is not judged: that would tell of it
    report = simulated(tmp_path / "run", *PLAIN, *ONE_STEP, *limit, private(mode, **more))
    for record in report["rounds"]:
        assert record["validation"] is None
        assert set(record["train"]) == {"sites", "privacy"}
        assert record["train"]["sites"] == {}
    spent = [record["train"]["privacy"]["epsilon"] for record in report["rounds"]]
    assert 0 < spent[0] < spent[1]
    for site in range(3):
        paid, sent = charges(tmp_path / "run", site), sendings(tmp_path / "run", site)
        assert len(paid) == len(sent) == 2
        assert {line.purpose for line in sent} == {"update"}
        for line in sent:
            assert line.fields == ()
            assert (line.noise is not None) == has_share
            assert line.epsilon is not None
            assert line.epsilon <= line.limit


@pytest.mark.nightly
def test_a_run_repeats_to_the_bit_and_noise_is_in_it(simulated, tmp_path):
    how = (*PLAIN, *ONE_STEP, private("clinic"))
    first, second = (simulated(tmp_path / name, *how)["model_sha256"] for name in ("first", "second"))
    assert first == second
    assert simulated(tmp_path / "other", *PLAIN, *ONE_STEP, private("clinic", noise=3.0))["model_sha256"] != first


def test_a_round_beyond_the_limit_is_not_sent(simulated, tmp_path):
    run, how = tmp_path / "run", (*PLAIN, *ONE_STEP, private("record-local", rate=0.5, epsilon=LIMIT))
    simulated(run, *how)
    before = sendings(run, 0)
    assert 2.5 < max(line.epsilon for line in before) <= LIMIT  # a third round would cost 3.27
    shutil.rmtree(run / "commits")  # begun anew; the sites' budgets stay what they are
    with pytest.raises(FederationError, match=r"BudgetRefused: .* would bring data set"):
        simulated(run, *how)
    assert sendings(run, 0) == before
