"""Real site processes that are killed or hang at every moment of a masked round: the right sum, or none and the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmed.config.loading import parse
from fedmed.errors import QuorumError
from fedmed.simulate import engines
from fedmed.simulate.run import Request, simulate
from fedmed.store.commits import Commits
from fedmed.wire.tensors import Tensors
from tests.attacks.secagg import watched
from tests.attacks.secagg.lying import SCENARIO, write_cases
from tests.attacks.secagg.watched import Secret
from tests.faults import leaving

SITES = ("central", "east", "north", "south", "west")
EVERYBODY = [0, 1, 2, 3, 4]
UPDATE = {1: 2, 2: 4, 3: 6}  # round of training -> number of its masked round: the census is the first, then by twos
DEADLINE = "federation.deadline_s=6"


@pytest.fixture
def left(simulated, monkeypatch, tmp_path):
    """Runs federations whose sites leave as planned."""

    def run(plan: dict[str, dict[str, str]], names: tuple[str, ...] = SITES, *overrides: str) -> dict[str, Any]:
        (tmp_path / leaving.PLAN).write_text(json.dumps(plan))
        monkeypatch.setattr(engines, "members", leaving)
        settings = (f"engine.workers={len(names)}", *overrides)
        return simulate(
            Request(parse(SCENARIO, "leaving.yaml", settings), write_cases(tmp_path / "data", names), tmp_path / "run")
        )

    return run


def models(run: Path) -> dict[int, Tensors]:
    found = {number: Commits(run).read(number).tensors for number in Commits(run).rounds()}
    return {
        number: {name[6:]: value for name, value in tensors.items() if name.startswith("model/")}
        for number, tensors in found.items()
    }


def updates(run: Path, number: int, sites: list[int]) -> list[Secret]:
    """What these sites uploaded in the masked round of one round of training."""
    found = []
    for site in sites:
        (one,) = [each for each in watched.secrets_of(run, site) if each.number == UPDATE[number]]
        found.append(one)
    return found


def assert_exact(run: Path, number: int, sites: list[int]) -> None:
    """The committed model is that of the sites' exact sum, to the bit, and their mean in float64 within rounding."""
    secrets, made = updates(run, number, sites), models(run)[number]
    for name, value in watched.new_model(secrets).items():
        assert made[name].tobytes() == value.tobytes()
        weights = [each.values["num-examples"] for each in secrets]
        mean = np.average([each.tensors[name].astype(np.float64) for each in secrets], axis=0, weights=weights)
        assert np.abs(made[name] - mean).max() < 1e-6


def events(run: Path, name: str) -> list[dict[str, Any]]:
    lines = (run / "journal.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == name]


def test_sites_killed_at_any_moment_cost_at_most_their_own_update(left, tmp_path):
    plan = {"1": {"train 2": "is killed"}, "2": {"confirm 4": "is killed"}, "3": {"reveal 6": "is killed"}}
    report, run = left(plan), tmp_path / "run"
    assert report["sites_missing"] == {"1": ["east"]}
    assert report["rounds"][0]["missing"] == {"east": "the site's process ended by signal 9"}
    survivors = {1: [0, 2, 3, 4], 2: EVERYBODY, 3: EVERYBODY}
    assert [each["joined"] for each in report["rounds"]] == [[SITES[site] for site in survivors[n]] for n in (1, 2, 3)]
    for number, sites in survivors.items():
        assert_exact(run, number, sites)
    unheard = [(each["member"], each["reason"]) for each in events(run, "unheard")]
    assert sum("ended by signal 9" in reason for _, reason in unheard) == 2
    assert events(run, "unopened") == []
    assert len(events(run, "epoch")) == 1, "whoever comes back goes on in the same epoch"


@pytest.mark.nightly  # in the suite, test_masked_sites.py has sites that hang, and those behind them
def test_sites_that_hang_at_any_moment_cost_at_most_their_own_update(left, tmp_path):
    plan = {"1": {"train 2": "hangs"}, "2": {"confirm 4": "is stopped"}, "3": {"reveal 6": "hangs"}}
    report, run = left(plan, SITES, DEADLINE), tmp_path / "run"
    assert report["rounds"][0]["missing"] == {"east": "no answer by the deadline of 6 s"}
    for number, sites in {1: [0, 2, 3, 4], 2: EVERYBODY, 3: EVERYBODY}.items():
        assert_exact(run, number, sites)
    assert (events(run, "unopened"), len(events(run, "epoch"))) == ([], 1)


def test_two_of_five_killed_after_their_upload_cost_the_round_and_nothing_is_opened(left, tmp_path):
    """Three of five are no quorum: the attempt is lost, and the next, in an epoch of its own, opens."""
    plan = {site: {"confirm 4": "is killed"} for site in ("1", "2")}
    report, run = left(plan, SITES, "federation.attempts=2"), tmp_path / "run"
    (lost,) = events(run, "unopened")
    assert lost["reason"] == "3 sites confirmed who is in it, 4 are needed"
    assert [each["attempt"] for each in report["rounds"]] == [1, 2, 1]
    assert len(events(run, "epoch")) == 2
    assert report["rounds"][1]["joined"] == list(SITES)


@pytest.mark.nightly  # in the suite, test_masked_sites.py misses its quorum by sites that fail and are killed in training
def test_of_three_sites_one_killed_in_training_costs_the_round(left, tmp_path):
    with pytest.raises(QuorumError) as caught:
        left({"1": {"train 4": "is killed"}}, SITES[:3])
    for said in ("round 2", "2 clinics sent their update, 3 are needed", "east: the site's process ended by signal 9"):
        assert said in str(caught.value)
    assert sorted(models(tmp_path / "run")) == [1]
    confirmed = [each for each in events(tmp_path / "run", "survivors") if each["number"] == 4]
    assert confirmed == [], "nobody was asked to confirm, so nothing could be opened"


def test_of_three_sites_one_killed_after_its_upload_is_in_the_sum(left, tmp_path):
    """Its vector is with the center, and the other two are a quorum: the sum is that of all three."""
    left({"1": {"confirm 4": "is killed"}, "2": {"reveal 6": "is killed"}}, SITES[:3])
    for number in (1, 2, 3):
        assert_exact(tmp_path / "run", number, [0, 1, 2])


def test_of_three_sites_two_killed_after_their_upload_cost_the_round(left, tmp_path):
    with pytest.raises(QuorumError, match="1 sites confirmed who is in it, 2 are needed"):
        left({site: {"confirm 4": "is killed"} for site in ("1", "2")}, SITES[:3])
    assert sorted(models(tmp_path / "run")) == [1]
