"""Staff and center as people use them: commands on one side, the real port on the other."""

from __future__ import annotations

import json

import pytest

from fedmed.center.proposals import propose
from fedmed.config.loading import parse
from fedmed.errors import NotApproved
from fedmed.flower.keys import DESCRIBE
from fedmed.store.audit import checking
from fedmed.store.departures import Departures
from fedmed.store.gains import Gains
from fedmed.wire.asides import Aside
from tests.center.federation import Brisk
from tests.cli.place import Place
from tests.clinic.staff import SCENARIO, cases, text
from tests.identity.test_proposal import PROJECT
from tests.store.test_departures import departure


def registered(place: Place) -> None:
    """A data set, released for nothing."""
    options = ("--set", "site=ward", "--set", 'classes=["0", "1"]', "--set", "seed=7")
    code, out, err = place("data", "add", "wards", "--reader", "csv", "--folder", place.place / "wards", *options)
    assert code == 0, err
    assert "nothing may use it yet" in out


def test_from_nothing_to_an_approved_run_and_back(place):
    registered(place)
    assert place.approver("frey")[0] == 0
    [row] = place.json("runs")
    assert (row["run"], row["standing"], row["purpose"]) == ("wards-1", "not approved", "research")
    code, out, err = place.approve("--no-release")
    assert code == 0, err
    for words in (
        "Three wards",
        "42 to train on",
        "logistic-regression",
        "10 rounds of 2 passes",
        "on: the center learns sums",
    ):
        assert words in out
    assert "approving is not enough" in out
    reference = place.offers[0].offered.reference
    with pytest.raises(NotApproved, match="not released"):
        place.warrant(reference)
    assert place("data", "release", "wards", "--purpose", "research")[0] == 0
    warrant = place.warrant(reference)
    warrant.allow(DESCRIBE, text(warrant.approval.inquiry))
    assert place.json("runs")[0]["standing"] == "approved"
    assert place.json("approvals", "show", "wards-1")["approval"]["run"] == "wards-1"
    assert [each["standing"] for each in place.json("approvals", "list")] == ["approved"]
    assert place("approvals", "withdraw", "wards-1")[0] == 0
    with pytest.raises(NotApproved, match="taken back"):
        place.warrant(reference)
    assert place.json("approvals", "list")[0]["standing"] == "taken back"
    found = checking.check(place.folder / "audit", Brisk().unix(), None, None, [])
    assert found.size == 5


def test_a_changed_run_is_shown_with_what_changed(place):
    registered(place)
    place.approver("frey")
    assert place.approve("--release")[0] == 0
    place.offers[:] = [propose("wards-1", parse(SCENARIO, "s", ["training.learning_rate=0.5", "rounds=20"]))]
    assert place.json("runs")[0]["standing"] == "CHANGED since it was approved"
    found = json.loads(place.approve("--json")[1])
    assert found["done"] == []
    assert "training.learning_rate: 0.1 -> 0.5" in found["changes"]
    assert "rounds: 10 -> 20" in found["changes"]


def test_a_researchers_own_app_is_fetched_and_its_changed_files_shown(place):
    registered(place)
    place.approver("frey")
    own = place.place / "own"
    (own / "own").mkdir(parents=True)
    (own / "pyproject.toml").write_bytes(PROJECT)
    for number in (1, 2):
        (own / "own" / "app.py").write_text(f"app = {number}\n# \x1b[2J\u202e\n")
        place.offers[:] = [propose("wards-1", parse(SCENARIO, "s"), own)]
        code, out, err = place.approve("--release")
        assert code == 0, err
    assert "-app = 1" in out
    assert "+app = 2" in out
    assert "+++ b/own/app.py" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    reference = place.offers[0].offered.reference
    assert place.warrant(reference).app_files()["own/app.py"].startswith(b"app = 2")
    [newest, _] = sorted((place.folder / "apps").iterdir(), key=lambda path: -path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes().replace(b"app = 2", b"app = 3"))
    with pytest.raises(NotApproved, match="not the one that was approved"):
        place.warrant(reference).app_files()


def test_two_approvers_where_the_clinic_says_so(place):
    registered(place)
    place.rules(approvals_needed=2)
    place.approver("frey")
    code, _, err = place.approver("lang")
    assert (code, "--by" in err) == (2, True)
    vouched = ("--by", "frey", "--by-key", place.place / "frey.key", "--by-passphrase-file", place.place / "secret")
    assert place.approver("lang", *vouched)[0] == 0
    place("data", "release", "wards", "--purpose", "research")
    code, out, _ = place.approve()
    assert (code, "1 of 2 approvals" in out) == (0, True)
    reference = place.offers[0].offered.reference
    with pytest.raises(NotApproved, match="ask its staff"):
        place.warrant(reference)
    assert place.approve()[0] == 0
    with pytest.raises(NotApproved, match="ask its staff"):
        place.warrant(reference)
    assert place.approve(name="lang")[0] == 0
    place.warrant(reference)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("approve", "wards-1", "--yes"), 2, "who approves?"),
        (("approve", "wards-1", "--approver", "../x", "--yes"), 2, "an approver cannot be called"),
        (("approvals", "show", "wards-1"), 2, "there are: none"),
        (("approvals", "withdraw", "wards-1"), 2, "there are: none"),
        (("approver", "Dr. Frey"), 2, "an approver cannot be called"),
        (("data", "show", "x"), 2, "there are: none"),
        (("data", "show", "../../etc/passwd"), 2, "there are: none"),
        (("data", "release", "x", "--purpose", "research"), 2, "there are: none"),
        (("data", "add", "x", "--reader", "csv", "--folder", "/nowhere"), 2, "is not there"),
        (("data", "add", "x", "--reader", "csv"), 2, "give --folder PATH"),
        (("data", "add", "x", "--reader", "sorcery", "--folder", "/"), 2, "known readers are"),
        (
            ("data", "add", "x", "--reader", "csv", "--folder", "/", "--set", "split.test=2", "--set", "seed=-1"),
            2,
            "seed: got -1",
        ),
    ],
)
def test_what_cannot_be_says_what_to_do(place, arguments, code, words):
    got, out, err = place(*arguments)
    assert (got, words in err, out) == (code, True, "")


def test_a_key_lies_where_the_daemon_does_not_look(place):
    (place.place / "short").write_text("short")
    got, _, err = place("approver", "frey", "--key", place.folder / "frey.key", "--passphrase-file", place.place / "secret")
    assert (got, "the daemon reads" in err) == (2, True)
    got, _, err = place("approver", "frey", "--key", place.place / "f.key", "--passphrase-file", place.place / "short")
    assert (got, "12 or more" in err) == (2, True)
    assert place.approver("frey")[0] == 0
    assert b"ENCRYPTED" in (place.place / "frey.key").read_bytes()
    registered(place)
    (place.place / "secret").write_text("not the passphrase")
    got, _, err = place.approve("--release")
    assert (got, "passphrase is not this key's" in err) == (5, True)


def test_renewed_data_has_to_be_released_again(place):
    registered(place)
    place("data", "release", "wards", "--purpose", "research", "--run", "wards-1", "--until", "2090-01-01")
    [row] = place.json("data", "list")
    assert row["released_for"] == ["research (run wards-1) until 2090-01-01 00:00 UTC"]
    assert "the same as before" in place("data", "renew", "wards")[1]
    cases(place.place / "wards", seed=2)
    assert "OTHER than before" in place("data", "renew", "wards")[1]
    assert place.json("data", "show", "wards")["released_for"] == []
    assert "released for" in place("data", "list")[1]
    assert place("data", "withdraw", "wards", "--reason", "consent")[0] == 0
    assert place.json("data", "show", "wards")["withdrawn"]["reason"] == "consent"
    code, _, err = place("data", "release", "wards", "--purpose", "research", "--until", "1990-01-01")
    assert (code, "has passed" in err) == (2, True)


def test_what_a_run_was_worth_here_is_told_without_the_center(place):
    code, _, err = place("runs", "wards-1")
    assert code == 2
    assert "nothing was noted here" in err
    for number, auc in ((0, 0.5), (3, 0.75)):
        Gains(place.folder).note(f"wards-1@{'ab' * 32}", Aside(number, 9, {"auc": auc, "loss": 0.5}), 1.8e9)
    code, out, err = place("runs", "wards-1")
    assert code == 0, err
    assert out.startswith("AUC 0.500 as it began, 0.750 after round 3, on 9 own test cases: better by 0.250.\n")
    assert place.json("runs", "wards-1")["gained"] == 0.25
    page = place.place / "gain.html"
    assert place("runs", "wards-1", "--html", page)[0] == 0
    assert "better by 0.250" in page.read_text()
    assert place("runs", "--html", page)[0] == 2


def test_a_clinic_sees_its_own_ledger(place):
    assert place("ledger")[:2] == (0, "nothing has left this site\n")
    assert place.json("ledger") == {"clinics": []}
    Departures(place.folder / "ledgers" / "north.departures.jsonl").record(departure(1))
    assert "federation thorax, run run-1, masks malicious" in place("ledger")[1]
    assert [each["clinic"] for each in place.json("ledger")["clinics"]] == ["north"]
    page = place.place / "page.html"
    assert place("ledger", "--html", str(page))[0] == 0
    assert "run-1" in page.read_text()
