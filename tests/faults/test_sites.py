"""Real site processes that raise, hang, die and lie: the round goes on without them and names them."""

from __future__ import annotations

import json

import pytest

from fedmed.errors import QuorumError
from fedmed.store.commits import Commits

DEADLINE = "federation.deadline_s=5"

PLAN = {
    "north": {"train 2": "raises", "train 5": "sends NaN", "train 8": "hangs", "evaluate 1": "raises"},
    "south": {"train 3": "exits", "train 6": "sends another shape", "train 9": "is stopped", "evaluate 4": "exits"},
    "west": {"train 4": "is killed", "train 7": "outvotes", "train 10": "sends nothing", "evaluate 6": "hangs"},
}
REASONS = {
    2: ("north", "missing", "RuntimeError: the scanner is on fire"),
    3: ("south", "missing", "the site's process ended with exit code 3"),
    4: ("west", "missing", "the site's process ended by signal 9"),
    5: ("north", "refused", "are not finite"),
    6: ("south", "refused", "allowed: float32 [1, 3]"),
    7: ("west", "refused", "num-examples is 1000000000"),
    8: ("north", "missing", "no answer by the deadline of 5 s"),
    9: ("south", "missing", "no answer by the deadline of 5 s"),
    10: ("west", "refused", "lacks"),
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def test_every_fault_costs_its_own_site_one_round_and_is_named(faulty, folder):
    report = faulty(PLAN, folder, "rounds=11", DEADLINE, "engine.workers=3")  # a process each: nobody waits behind another
    assert report == json.loads((folder / "report.json").read_text())
    assert report["status"] == "complete with missing sites"
    assert report["sites_missing"] == {str(number): [site] for number, (site, _, _) in REASONS.items()}
    for record in report["rounds"]:
        absent = REASONS.get(record["round"])
        joined = {"north", "south", "west"} - {absent[0] if absent else None}
        assert set(record["joined"]) == set(record["train"]["sites"]) == joined
        if absent:
            site, part, reason = absent
            assert reason in record[part][site]
    assert {name: site["rounds_joined"] for name, site in report["sites"].items()} == dict.fromkeys(PLAN, 8)
    missing = {record["round"]: list(record["validation"]["missing"]) for record in report["rounds"]}
    assert {number: names for number, names in missing.items() if names} == {1: ["north"], 4: ["south"], 6: ["west"]}
    assert "the scanner is on fire" in (folder / "report.html").read_text()


def test_a_quorum_missed_ends_the_run_and_the_last_commit_stands(faulty, folder, tmp_path):
    overrides = ("rounds=4", DEADLINE, "federation.attempts=2")
    plan = {"north": {"train 3": "raises"}, "west": {"train 3": "is killed"}}
    with pytest.raises(QuorumError) as caught:
        faulty(plan, folder, *overrides)
    for said in ("round 3", "2 times", "north: RuntimeError", "west: the site's process ended by signal 9", "--resume"):
        assert said in str(caught.value)
    assert Commits(folder).latest()[0].round == 2
    assert not (folder / "report.json").exists()
    assert not (folder / "sites").exists(), "no case stays behind"

    (tmp_path / "other").mkdir()
    mended = faulty({}, folder, *overrides, resume=True)
    undisturbed = faulty({}, tmp_path / "other" / "run", *overrides)
    assert mended["status"] == "complete"
    assert mended["model_sha256"] == undisturbed["model_sha256"]
    assert (mended["resumed"], undisturbed["resumed"]) == ([2], [])


def test_a_required_site_that_dies_stops_the_run(faulty, folder):
    with pytest.raises(QuorumError, match="required and absent: west"):
        faulty(
            {"west": {"train 1": "exits"}}, folder, "rounds=2", "federation.quorum.required=[west]", "federation.attempts=1"
        )


def test_sites_in_the_caller_may_raise_and_lie_too(faulty, folder):
    plan = {"north": {"train 2": "raises"}, "south": {"train 3": "sends NaN"}}
    report = faulty(plan, folder, "rounds=3", "engine.workers=0")
    print(report["rounds"][0])
    assert report["sites_missing"] == {"2": ["north"], "3": ["south"]}
