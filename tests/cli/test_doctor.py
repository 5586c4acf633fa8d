"""`fedmed clinic doctor` and `fedmed edge doctor` as IT staff see them: table, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedmed.center.echo import Echo
from fedmed.center.listening import Listener
from fedmed.clock import SystemClock
from tests.center.pki import Authority
from tests.hub.clinic import serving


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "FEDMED_CLINIC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def center(tmp_path: Path):
    """Options that reach a center that is up."""
    authority = Authority(tmp_path / "ca")
    client = authority.client("north")
    with Listener(Echo(lambda _: None, SystemClock()), authority.server(), "127.0.0.1", 0) as up:
        told = ["--host", "127.0.0.1", "--port", up.port, "--ca", authority.pem]
        yield [*told, "--certificate", client.chain_pem, "--key", client.key_pem]


def test_all_is_well(said, center, tmp_path: Path):
    code, out, err = said("clinic", "doctor", tmp_path / "clinic", *center, "--parameters", "1M", "--lanes", 16)
    assert code == 0, out
    assert "issued by CN=fedmed development" in out
    assert "to do" not in out
    assert "2 MB (16-bit lanes) at" in out
    assert "1/19 configuration" in err
    assert "19/19 round" in err
    assert not (tmp_path / "clinic").exists()


def test_json_is_all_of_it_and_nothing_else(said, center, tmp_path: Path):
    code, out, _ = said("clinic", "doctor", tmp_path, *center, "--json")
    told = json.loads(out)
    assert code == told["exit_code"] == 0
    assert len(told["findings"]) == 19
    assert all(set(each) == {"check", "status", "got", "allowed", "todo"} for each in told["findings"])
    assert [each["name"] for each in told["round"]["terms"]] == ["down", "up", "trips", "spool", "syncs"]
    assert told["round"]["seconds"] == pytest.approx(sum(each["seconds"] for each in told["round"]["terms"]))


def test_what_is_wrong_says_what_to_do_and_ends_with_its_code(said, center, tmp_path: Path):
    code, out, _ = said("clinic", "doctor", tmp_path, *center, "--host", "center.invalid")
    assert code == 11
    told = " ".join(out.split())
    assert "center.invalid is not known here" in told
    assert "the check 'name' failed" in told
    assert "to do name: mend the name" in told


def test_without_a_configuration_the_machine_is_looked_at_all_the_same(said, tmp_path: Path):
    code, out, _ = said("clinic", "doctor", tmp_path, "--json")
    told = {each["check"]: each["status"] for each in json.loads(out)["findings"]}
    assert code == 2
    assert told["configuration"] == "fail"
    assert told["speed"] == told["round"] == "skipped"
    assert told["writing"] in ("ok", "warn")


@pytest.mark.parametrize("option", [("--parameters", "many"), ("--lanes", "8")])
def test_options_that_are_none(said, tmp_path: Path, option):
    code, out, err = said("clinic", "doctor", tmp_path, *option)
    assert (code, out) == (2, "")
    assert option[0] in err
    assert option[1] in err
    assert "allowed" in err


def test_help_lists_the_codes(said):
    code, out, _ = said("clinic", "doctor", "--help")
    assert code == 0
    assert all(word in " ".join(out.split()) for word in ("11 network", "12 trust", "13 this machine"))


def test_a_device_before_it_joins(said, tmp_path: Path):
    with serving(tmp_path) as place:
        hub = f"127.0.0.1:{place.hub.ports.enrolment_port}"
        code = place.folder.invite("us-1").text()
        ended, out, err = said("edge", "doctor", tmp_path / "edge", "--hub", hub, "--code", code, "--json")
        told = json.loads(out)
        assert {each["check"]: each["status"] for each in told["findings"]}["authority"] == "ok"
        assert ended == told["exit_code"]
        assert ended in (0, 10, 13)  # this machine's disk may be small
        assert "22/22 model" in err
        assert not (tmp_path / "edge").exists()


def test_a_device_without_a_hub_and_a_hub_that_is_none(said, tmp_path: Path):
    code, out, _ = said("edge", "doctor", tmp_path)
    assert code == 2
    assert "give --hub HOST[:PORT]" in " ".join(out.split())
    assert said("edge", "doctor", tmp_path, "--hub", "hub:none")[0] == 2
