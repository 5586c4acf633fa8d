"""Real site processes that raise, hang, die and lie: the round goes on without them and names them."""

from __future__ import annotations

import json

import pytest

from fedmed.errors import QuorumError
from fedmed.store.commits import Commits

DEADLINE = "federation.deadline_s=4"
SEEN = "privacy.secure_aggregation=off"
QUORUM = "federation.quorum={sites: 0.3, data_weight: 0.3}"

PLAN = {
    "north": {"train 2": "raises", "train 5": "sends NaN", "train 8": "hangs", "evaluate 1": "raises"},
    "south": {"train 3": "exits", "train 6": "sends another shape", "train 8": "is stopped", "evaluate 4": "exits"},
    "west": {"train 4": "is killed", "train 7": "outvotes", "train 9": "sends nothing", "evaluate 6": "hangs"},
}
REASONS = {
    2: ("missing", {"north": "RuntimeError: the scanner is on fire"}),
    3: ("missing", {"south": "the site's process ended with exit code 3"}),
    4: ("missing", {"west": "the site's process ended by signal 9"}),
    5: ("refused", {"north": "are not finite"}),
    6: ("refused", {"south": "allowed: float32 [1, 3]"}),
    7: ("refused", {"west": "num-examples is 1000000000"}),
    8: ("missing", dict.fromkeys(("north", "south"), "no answer by the deadline of 4 s")),
    9: ("refused", {"west": "lacks"}),
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def test_every_fault_costs_its_own_site_one_round_and_is_named(faulty, folder):
    # a process each, so that nobody waits behind another
    report = faulty(PLAN, folder, "rounds=10", DEADLINE, QUORUM, SEEN, "engine.workers=3")
    assert report == json.loads((folder / "report.json").read_text())
    assert report["status"] == "complete with missing sites"
    assert report["sites_missing"] == {str(number): sorted(reasons) for number, (_, reasons) in REASONS.items()}
    for record in report["rounds"]:
        part, reasons = REASONS.get(record["round"], ("missing", {}))
        assert set(record["joined"]) == set(record["train"]["sites"]) == set(PLAN) - set(reasons)
        assert record[part].keys() == reasons.keys()
        assert all(reason in record[part][site] for site, reason in reasons.items())
    assert {name: site["rounds_joined"] for name, site in report["sites"].items()} == dict.fromkeys(PLAN, 7)
    missing = {record["round"]: list(record["validation"]["missing"]) for record in report["rounds"]}
    assert {number: names for number, names in missing.items() if names} == {1: ["north"], 4: ["south"], 6: ["west"]}
    assert "the scanner is on fire" in (folder / "report.html").read_text()


def test_a_quorum_missed_ends_the_run_and_the_last_commit_stands(faulty, folder, tmp_path):
    overrides = ("rounds=4", DEADLINE, "federation.attempts=2", SEEN)
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
    report = faulty(plan, folder, "rounds=3", SEEN, "engine.workers=0")
    assert report["sites_missing"] == {"2": ["north"], "3": ["south"]}


def test_sites_that_queue_behind_a_hanging_one_still_have_their_time(faulty, folder):
    report = faulty({"north": {"train 2": "hangs"}}, folder, "rounds=3", DEADLINE, QUORUM, SEEN, "engine.workers=1")
    assert report["sites_missing"] == {"2": ["north"]}
    assert report["rounds"][1]["joined"] == ["south", "west"]
