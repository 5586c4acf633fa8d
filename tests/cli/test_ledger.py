from __future__ import annotations

import json

import pytest

from fedmed.store.departures import Departures
from tests.store.test_departures import departure
from tests.store.test_ledger import say


@pytest.fixture
def run(tmp_path):
    """A run's folder as `fedmed simulate` leaves it: two clinics, both kinds of ledger at the first."""
    for clinic in range(2):
        ledger = Departures(tmp_path / "ledgers" / f"{clinic:05d}.departures.jsonl")
        for number in range(1, 4):
            ledger.record(departure(number, dataset=f"films {clinic}"))
    say(tmp_path / "ledgers" / "00000.jsonl", 1)
    return tmp_path


def test_what_left_is_told_round_by_round(fedmed, run):
    done = fedmed("ledger", run / "ledgers" / "00000.departures.jsonl")
    assert done.returncode == 0
    heads, *rows = [line.split() for line in done.stdout.splitlines()[2:6]]
    assert heads == ["when", "round", "purpose", "bytes", "cohort", "norm", "noise", "epsilon", "digest"]
    assert rows[1] == ["2023-11-14", "22:15", "2", "update", "332", "5/6", "1.25", "0.004", "0.2", "00000002"]
    assert "federation thorax, run run-1, masks malicious" in done.stdout
    assert Departures(run / "ledgers" / "00000.departures.jsonl").head().hex() in done.stdout
    assert "without masks" not in done.stdout


def test_an_update_that_went_with_a_later_one_is_named_there(fedmed, tmp_path):
    path = tmp_path / "north.departures.jsonl"
    Departures(path).record(departure(1))
    Departures(path).record(departure(2, carried=(1, 1)))
    heads, first, second = (line.split() for line in fedmed("ledger", path).stdout.splitlines()[2:5])
    assert (heads[-1], len(first), second[-2:]) == ("carries", 10, ["round", "1"])


def test_a_runs_folder_holds_every_clinic_and_both_kinds(fedmed, run):
    told = json.loads(fedmed("ledger", run, "--json").stdout)
    assert told == json.loads(fedmed("ledger", run / "ledgers", "--json").stdout)
    first, second = told["clinics"]
    assert [each["clinic"] for each in told["clinics"]] == ["00000", "00001"]
    assert [(len(each["departures"]), len(each["statements"])) for each in (first, second)] == [(3, 1), (3, 0)]
    assert first["departures"][2] == json.loads(json.dumps(departure(3, dataset="films 0").__dict__))
    assert first["statements"][0]["statement"] == "statement 1"
    assert [each["lines"] for each in first["files"]] == [3, 1]
    shown = fedmed("ledger", run).stdout
    assert shown.index("clinic 00000") < shown.index("fingerprint") < shown.index("clinic 00001")


def test_what_left_without_masks_is_said(fedmed, tmp_path):
    path = tmp_path / "north.jsonl"
    Departures(path).record(departure(1))
    Departures(path).record(departure(2, mode="off"))
    assert "1 of 2 left without masks: whoever received them could read them" in fedmed("ledger", path).stdout


def test_names_from_elsewhere_do_not_steer_the_terminal(fedmed, tmp_path):
    path = tmp_path / "north.departures.jsonl"
    Departures(path).record(departure(1, run="\x1b[2J[/bold]", federation="\u202egnp"))
    shown = fedmed("ledger", path).stdout
    assert r"federation \u202egnp, run \x1b[2J[/bold]" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("where", ["", "ledgers", "ledgers/00001.departures.jsonl"])
def test_a_changed_line_is_named_wherever_it_is_looked_for(fedmed, run, where):
    path = run / "ledgers" / "00001.departures.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"norm":1.25', b'"norm":1.24', 1))
    done = fedmed("ledger", run / where, "--html", run / "page.html")
    assert done.returncode == 5
    assert "00001.departures.jsonl, line 2: it does not follow the line above" in done.stderr
    assert not (run / "page.html").exists()


def test_a_ledger_that_was_taken_away_is_missed(fedmed, run):
    (run / "ledgers" / "00001.departures.jsonl").unlink()
    done = fedmed("ledger", run)
    assert done.returncode == 5
    assert "has 0 lines; 3 were written: it has been cut short" in done.stderr


def test_no_ledger_is_an_error_and_an_empty_one_says_so(fedmed, tmp_path):
    for path, word in ((tmp_path / "none", "is not there"), (tmp_path, "holds no ledger")):
        done = fedmed("ledger", path)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"{path} {word}; give a clinic's ledger (.jsonl), a folder of them, or a run's folder" in done.stderr
    Departures(tmp_path / "north.departures.jsonl")
    (tmp_path / "north.departures.jsonl").touch()
    assert "nothing has left this site" in fedmed("ledger", tmp_path).stdout


def test_a_file_that_is_no_ledger_is_an_error(fedmed, tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"body": 1}\n')
    done = fedmed("ledger", tmp_path)
    assert done.returncode == 5
    assert "notes.jsonl, line 1: it cannot be read" in done.stderr


def test_the_page_is_written_and_named(fedmed, run):
    done = fedmed("ledger", run, "--html", run / "page.html")
    assert done.stdout == f"{(run / 'page.html').resolve()}\n"
    assert "films 1" in (run / "page.html").read_text()
    both = fedmed("ledger", run, "--html", run / "again.html", "--json")
    assert len(json.loads(both.stdout)["clinics"]) == 2
    assert (run / "again.html").exists()
    nowhere = fedmed("ledger", run, "--html", run / "none" / "page.html")
    assert nowhere.returncode == 5
    assert "cannot be written" in nowhere.stderr


def test_data_ledger_reads_departures_too(fedmed, run):
    path = run / "ledgers" / "00000.departures.jsonl"
    assert "00000002" in fedmed("data", "ledger", "show", path).stdout
    assert fedmed("data", "ledger", "verify", path).stdout == "3 lines, all as written\n"
    assert len(json.loads(fedmed("data", "ledger", "show", path, "--json").stdout)) == 3


def test_a_site_can_see_what_left_it(fedmed, tmp_path):
    path = tmp_path / "north.jsonl"
    say(path, 1)
    say(path, 2)
    shown = fedmed("data", "ledger", "show", path)
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in ("fingerprint", "run tiny", "Dr. Grey", "2023-11-14"))
    entries = json.loads(fedmed("data", "ledger", "show", path, "--json").stdout)
    assert [entry["statement"] for entry in entries] == ["statement 1", "statement 2"]
    assert fedmed("data", "ledger", "verify", path).stdout == "2 lines, all as written\n"
    assert json.loads(fedmed("data", "ledger", "verify", path, "--json").stdout) == {"lines": 2, "status": "ok"}


def test_a_ledger_that_was_touched_ends_with_an_error_that_names_the_line(fedmed, tmp_path):
    path = tmp_path / "north.jsonl"
    say(path, 1)
    say(path, 2)
    path.write_bytes(path.read_bytes().replace(b"Dr. Grey", b"Dr. Gray", 1))
    for command in ("show", "verify"):
        done = fedmed("data", "ledger", command, path)
        assert done.returncode == 5
        assert "line 2: it does not follow the line above" in done.stderr
    assert fedmed("data", "ledger", "verify", tmp_path / "none").returncode == 3


def test_an_empty_ledger_shows_nothing(fedmed, tmp_path):
    (tmp_path / "north.jsonl").write_text("")
    assert fedmed("data", "ledger", "show", tmp_path / "north.jsonl").stdout == "nothing has left this site\n"
