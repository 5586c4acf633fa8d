from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.center.enrolment import EnrolmentApp
from fedmed.center.folder import open_center
from fedmed.center.listening import Listener
from fedmed.clock import SystemClock
from fedmed.identity.joinfile import read_join, write_join
from tests.center.federation import tls


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDMED_CENTER", str(tmp_path / "center"))
    monkeypatch.setenv("https_proxy", "")
    monkeypatch.delenv("FEDMED_CLINIC", raising=False)
    return tmp_path


@pytest.fixture
def center(place, said):
    """A federation made on the command line, and its port served."""
    code, out, err = said("center", "init", "center", "--name", "study", "--host", "127.0.0.1")
    assert (code, err) == (0, "")
    assert "next: fedmed center invite CLINIC --at center" in out
    folder = open_center(place / "center", SystemClock())
    with Listener(EnrolmentApp(folder), tls(folder), "127.0.0.1", 0) as listener:
        yield listener


def at_port(file: Path, center: Listener, place: Path) -> None:
    """The same join file for the port that the test serves at."""
    keys = open_center(place / "center", SystemClock()).keys()
    join = replace(read_join(file.read_bytes(), SystemClock().unix()), port=center.port)
    file.write_bytes(write_join(join, keys))


def test_from_nothing_to_a_member_by_the_commands_of_the_guide(center, place, said):
    assert said("center", "sites")[1].startswith("nobody was invited yet")
    assert said("center", "sites", "--json")[1] == "[]\n"
    code, out, _ = said("center", "invite", "north")
    assert (code, "compare six words by telephone" in out) == (0, True)
    assert (place / "north.join").stat().st_mode & 0o777 == 0o600
    at_port(place / "north.join", center, place)
    code, out, err = said("clinic", "join", "north.join", "--no-wait", "--json")
    waiting = json.loads(out)
    assert (code, waiting["state"]) == (0, "waiting")
    assert waiting["words"] in err
    [site] = json.loads(said("center", "sites", "--json")[1])
    assert (site["stage"], site["words"]) == ("requested", waiting["words"])
    assert waiting["words"] in said("center", "sites")[1]
    code, _, err = said("center", "admit", "north", "--words", "one two three four five six")
    assert (code, "the words typed are not those" in err) == (4, True)
    code, out, _ = said("center", "admit", "north", "--words", waiting["words"].upper(), "--json")
    assert (code, json.loads(out)["stage"]) == (0, "admitted")
    code, out, _ = said("clinic", "join", "north.join")
    assert (code, out.startswith("fedmed-clinic: joined; north in study")) == (0, True)
    code, out, _ = said("clinic", "join", "north.join")
    assert (code, "had joined already" in out) == (0, True)
    joined = json.loads(said("clinic", "join", "north.join", "--json")[1])
    [member] = json.loads(said("clinic", "members", "list", "--json")[1])
    assert (joined["already"], joined["own_words"]) == (True, member["words"])  # what other clinics ask for
    assert member["words"] in out
    assert said("center", "revoke", "north")[0] == 0
    code, _, err = said("clinic", "members", "list")
    assert (code, "were revoked" in err) == (0, True)


def test_members_are_approved_and_removed(center, place, said):
    for name in ("north", "south"):
        said("center", "invite", name)
        at_port(place / f"{name}.join", center, place)
        words = json.loads(said("clinic", "join", f"{name}.join", "--at", name, "--no-wait", "--json")[1])["words"]
        said("center", "admit", name, "--words", words)
        assert said("clinic", "join", f"{name}.join", "--at", name)[0] == 0
    rows = {row["name"]: row for row in json.loads(said("clinic", "members", "list", "--at", "north", "--json")[1])}
    assert (rows["north"]["standing"], rows["south"]["approved"]) == ("this clinic, approved", False)
    code, _, err = said("clinic", "members", "approve", "south", "--at", "north", "--words", rows["north"]["words"])
    assert (code, "approve nothing" in err) == (5, True)
    approved = ("clinic", "members", "approve", "south", "--at", "north", "--words", rows["south"]["words"])
    assert said(*approved) == (0, "south is approved: sums with it are accepted from the next epoch on\n", "")
    assert "approved" in said("clinic", "members", "list", "--at", "north")[1]
    assert said("clinic", "members", "remove", "south", "--at", "north", "--json")[0] == 0
    assert said("clinic", "members", "remove", "south", "--at", "north")[0] == 5
    certificate = place / "south" / "member.crt"
    by_file = ("clinic", "members", "approve", "south", "--at", "north", "--certificate", certificate, "--words")
    assert said(*by_file, rows["south"]["words"])[0] == 0


def test_words_are_asked_for_where_none_are_given(center, place, said, monkeypatch):
    said("center", "invite", "north")
    at_port(place / "north.join", center, place)
    words = json.loads(said("clinic", "join", "north.join", "--no-wait", "--json")[1])["words"]
    monkeypatch.setattr("fedmed.cli.enrolling.typer.prompt", lambda *_, **__: words)
    code, out, err = said("center", "admit", "north", "--json")
    assert (code, json.loads(out)["words"]) == (0, words)
    assert words in err


def test_a_request_is_refused(center, place, said):
    said("center", "invite", "north")
    at_port(place / "north.join", center, place)
    said("clinic", "join", "north.join", "--no-wait")
    assert said("center", "refuse", "north", "--json")[0] == 0
    code, _, err = said("clinic", "join", "north.join", "--no-wait")
    assert (code, "has refused 'north'" in err) == (4, True)


def test_command_lines_that_are_wrong(place, said):
    faults = said("center", "init", "center", "--name", "Big Study", "--host", "https://x", "--port", "0")
    assert (faults[0], "3 faults in the command line" in faults[2]) == (2, True)
    assert not (place / "center").exists()
    code, _, err = said("center", "sites")
    assert (code, "fedmed center init" in err) == (2, True)
    assert said("center", "init", "center", "--name", "study", "--host", "localhost", "--also", "::1", "--json")[0] == 0
    assert said("center", "init", "center", "--name", "study", "--host", "localhost")[0] == 2
    for wrong in (("../x",), ("North",), ("north", "--days", "31")):
        assert said("center", "invite", *wrong)[0] == 2
    (place / "north.join").write_text("x")
    code, _, err = said("center", "invite", "north")
    assert (code, "never written over" in err) == (2, True)
    assert json.loads(said("center", "sites", "--json")[1]) == []
    for command in ("admit", "refuse", "revoke"):
        code, _, err = said("center", command, "north", *(["--words", "x"] if command == "admit" else []))
        assert (code, "nobody called 'north' was invited" in err) == (4, True)
    assert said("clinic", "join", "none.join")[0] == 2
    assert said("clinic", "join", "north.join")[0] == 4
    assert said("clinic", "members", "list")[0] == 2


def test_stopping_while_it_waits_says_how_to_go_on(center, place, said, monkeypatch):
    said("center", "invite", "north")
    at_port(place / "north.join", center, place)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedmed.clock.SystemClock.sleep", stop)
    code, _, err = said("clinic", "join", "north.join")
    assert (code, "run the same command again" in err) == (130, True)
