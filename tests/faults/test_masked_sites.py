"""Site processes that raise, hang, die and lie in masked rounds: the center hears of no reason, the sites' own logs do."""

from __future__ import annotations

import json

import pytest

from fedmed.errors import QuorumError
from fedmed.federation.journal import NAME
from fedmed.outbound.gate import WITHHELD
from fedmed.simulate.logs import log_of
from fedmed.store.commits import Commits
from fedmed.store.departures import SUFFIX, verify
from tests.faults.conftest import FIVE

DEADLINE = "federation.deadline_s=4"
PLAN = {
    "north": {"train 2": "raises", "train 5": "sends NaN", "train 8": "hangs", "evaluate 1": "raises"},
    "south": {"train 3": "exits", "train 6": "sends another shape", "evaluate 4": "exits"},
    "west": {"train 4": "is killed", "train 7": "outvotes", "train 9": "sends nothing", "evaluate 6": "hangs"},
}
WITHOUT = {2: "north", 3: "south", 4: "west", 5: "north", 6: "south", 7: "west", 8: "north", 9: "west"}
REASONS = {
    3: "the site's process ended with exit code 3",
    4: "the site's process ended by signal 9",
    8: "no answer by the deadline of 4 s",
}
LOGS = {
    "north": ["RuntimeError: the scanner is on fire", "RuntimeError: the scanner is on fire", "UpdateRefused: "],
    "south": ["UpdateRefused: tensor"],
    "west": ["UpdateRefused: num-examples is 1000000000", "UpdateRefused: tensor"],
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def events(folder, name):
    lines = map(json.loads, (folder / NAME).read_text().splitlines())
    return [line for line in lines if line["event"] == name]


@pytest.mark.nightly  # test_masked.py kills and hangs sites at every moment in each run of the suite
def test_every_fault_costs_its_own_site_one_round(faulty, five, folder):
    report = faulty(PLAN, folder, "rounds=10", DEADLINE, "engine.workers=5", data=five)
    assert report["status"] == "complete with missing sites"
    assert report["sites_missing"] == {str(number): [site] for number, site in WITHOUT.items()}
    for record in report["rounds"]:
        gone = WITHOUT.get(record["round"])
        assert set(record["joined"]) == set(FIVE) - {gone}
        assert (record["train"]["cases"], record["train"]["sites"]) == (28 * len(record["joined"]), {})
        assert (list(record["missing"]), record["refused"], record["attempt"]) == ([gone] if gone else [], {}, 1)
        assert REASONS.get(record["round"], WITHHELD) in record["missing"].get(gone, WITHHELD)
    missing = {record["round"]: list(record["validation"]["missing"]) for record in report["rounds"]}
    assert {number: names for number, names in missing.items() if names} == {1: ["north"], 4: ["south"], 6: ["west"]}
    for name, began in LOGS.items():
        lines = log_of(folder / "ledgers", FIVE.index(name)).path.read_text().splitlines()
        assert len(lines) == len(began)
        assert all(line.startswith(start) for line, start in zip(lines, began, strict=True)), lines
    assert "the scanner is on fire" not in (folder / NAME).read_text(), "the center was not told"


def test_with_sites_that_come_and_go_a_run_repeats_to_the_bit_and_each_vector_is_in_its_ledger(faulty, five, tmp_path):
    plan = {"north": {"train 2": "raises"}, "south": {"train 2": "is killed"}, "west": {"evaluate 3": "exits"}}
    settings = ("rounds=3", DEADLINE)
    first = faulty(plan, tmp_path / "first", *settings, "engine.workers=2", data=five)
    again = faulty(plan, tmp_path / "again", *settings, "engine.workers=5", data=five)
    assert first["sites_missing"] == again["sites_missing"] == {"2": ["north", "south"]}
    assert first["model_sha256"] == again["model_sha256"]
    for one, other in zip(first["rounds"], again["rounds"], strict=True):
        assert (one["train"], one["validation"]) == (other["train"], other["validation"])
    sent = [len(verify(tmp_path / "first" / "ledgers" / f"{number:05d}{SUFFIX}")) for number in range(5)]
    assert sent == [7, 7, 6, 6, 6], "a census, three updates and three evaluations, but for what failed"


def test_a_quorum_missed_tells_the_sites_reasons_and_the_resumed_run_ends_in_the_same_bits(faulty, five, tmp_path):
    overrides = ("rounds=4", DEADLINE, "federation.attempts=2")
    plan = {"east": {"train 2": "raises"}, "north": {"train 3": "raises"}, "south": {"train 3": "raises"}}
    plan["west"] = {"train 3": "is killed"}
    broken, whole = tmp_path / "broken" / "run", tmp_path / "whole" / "run"
    for folder in (broken, whole):
        folder.parent.mkdir()
    with pytest.raises(QuorumError) as caught:
        faulty(plan, broken, *overrides, data=five)
    for said in (
        "round 3",
        "2 times",
        "west: the site's process ended by signal 9",
        "--resume",
        f"south: UpdateRefused: {WITHHELD}",
    ):
        assert said in str(caught.value)
    assert "logs say last:\n  east: RuntimeError: the scanner is on fire \\udcff\n  north: RuntimeError" in str(caught.value)
    assert Commits(broken).latest()[0].round == 2

    mended = faulty({}, broken, *overrides, resume=True, data=five)
    undisturbed = faulty({"east": {"train 2": "raises"}}, whole, *overrides, data=five)
    assert mended["model_sha256"] == undisturbed["model_sha256"]
    assert (mended["resumed"], undisturbed["resumed"]) == ([2], [])
    assert [record["joined"] for record in mended["rounds"]] == [record["joined"] for record in undisturbed["rounds"]]


def test_of_three_sites_all_are_needed(faulty, folder):
    with pytest.raises(QuorumError, match=r"3 are needed.*Absent: west") as caught:
        faulty({"west": {"train 2": "sends NaN"}}, folder, "rounds=2", "engine.workers=0")
    assert "west: UpdateRefused" in str(caught.value).rpartition("logs say last")[2]
    assert [line["purpose"] for line in events(folder, "unopened")] == ["update", "update"]
    assert len(events(folder, "epoch")) == 2, "the next attempt is made in a new one"
    assert Commits(folder).latest()[0].round == 1


def test_an_evaluation_that_cannot_be_opened_costs_no_round(faulty, folder):
    report = faulty({"west": {"evaluate 1": "raises"}}, folder, "rounds=2", "engine.workers=0")
    first, second = (record["validation"] for record in report["rounds"])
    assert list(first["missing"]) == ["west"]
    assert "3 are needed" in first["lacks"][0]
    assert second["cases"] == 12


def test_sites_that_queue_behind_a_hanging_one_still_have_their_time(faulty, five, folder):
    report = faulty({"north": {"train 2": "hangs"}}, folder, "rounds=3", DEADLINE, "engine.workers=1", data=five)
    assert report["sites_missing"] == {"2": ["north"]}
    assert report["rounds"][1]["joined"] == ["east", "middle", "south", "west"]
