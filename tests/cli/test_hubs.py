from __future__ import annotations

import json
import re
import signal
import socket

import pytest

from fedmed.clinic.recording import FOLDER as AUDIT
from fedmed.clock import SystemClock
from fedmed.errors import DeviceRefused
from fedmed.hub.client import HubClient
from fedmed.hub.joining import join, open_device
from tests.center.federation import federation
from tests.hub.process import service


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    with federation(tmp_path_factory.mktemp("clinic")) as up:
        yield up.joined("north").path


@pytest.fixture
def ask(clinic, said):
    def run(*arguments: object):
        return said("clinic", *arguments, "--at", clinic)

    return run


def events(clinic, said) -> list[tuple[str, str, str]]:
    code, out, err = said("audit", "show", clinic / AUDIT, "--json")
    assert code == 0, err
    return [(row["action"], row["resource"], row["outcome"]) for row in json.loads(out)["events"]]


def test_invite_list_and_revoke(ask, clinic, said):
    code, out, err = ask("devices", "list")
    assert code == 2
    assert "invite one" in err
    code, out, err = ask("devices", "invite", "echo")
    assert code == 0, err
    assert len(out.strip().replace("-", "")) == 33
    assert "within 60 minutes, on the device: fedmed edge join CODE --hub HOST:8444" in err
    assert "the hub is not up" in err
    facts = json.loads(ask("devices", "invite", "mri", "--minutes", "5", "--json")[1])
    assert (facts["name"], facts["minutes"], facts["port"]) == ("mri", 5, 8444)
    listed = json.loads(ask("devices", "list", "--json")[1])
    assert [(each["name"], each["stage"], each["heard"]) for each in listed] == [
        ("echo", "invited", None),
        ("mri", "invited", None),
    ]
    assert json.loads(ask("devices", "revoke", "mri", "--json")[1]) == {"name": "mri", "revoked": True}
    assert re.search(r"mri +revoked +\S+ \S+ UTC +- +-", ask("devices", "list")[1])
    assert "the code that echo was invited with before is good no more" in ask("devices", "invite", "echo")[2]
    assert "good no more" not in ask("devices", "invite", "mri")[2]
    assert ask("devices", "revoke", "mri")[0] == 0
    for wrong in ("No!", "hub.fedmed.invalid"):
        code, _, err = ask("devices", "invite", wrong)
        assert code == 2, err
    assert ask("devices", "invite", "x", "--minutes", "100000")[0] == 2
    code, _, err = ask("devices", "revoke", "nobody")
    assert code == 4
    assert "devices list" in err
    told = events(clinic, said)
    assert ("invite.device", "device echo", "done") in told
    assert ("revoke.device", "device mri", "done") in told
    assert ("revoke.device", "device nobody", "refused") in told


def test_the_service_serves_says_how_it_stands_and_ends_when_asked(tmp_path, said, monkeypatch):
    notified = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notified))
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(notified))
        with service(tmp_path) as place:
            assert manager.recv(4096) == b"READY=1"
            monkeypatch.delenv("NOTIFY_SOCKET")
            code = json.loads(said("clinic", "devices", "invite", "echo", "--json", "--at", place.path)[1])["code"]
            join(code, "127.0.0.1", place.hub.config.enrolment_port, tmp_path / "echo", SystemClock())
            with HubClient(open_device(tmp_path / "echo", SystemClock())) as device:
                device.beat("idle", {"spool": 3})
                _wait_until_heard(place, said)
                assert said("clinic", "devices", "revoke", "echo", "--at", place.path)[0] == 0
                with pytest.raises(DeviceRefused, match="was revoked"):
                    device.beat("idle", {})
            code, _, err = said("clinic", "hub", "up", "--at", place.path)
            assert code == 2
            assert "is up already" in err
            assert place.end(signal.SIGTERM) == 0
            log = (place.hub.path / "service.log").read_text()
            assert "the hub of north is up at 127.0.0.1" in log
            assert "device echo enrolled" in log
            assert json.loads((place.hub.path / "status.json").read_text())["state"] == "stopped"
            told = events(place.path, said)
    assert ("enrol", "device echo", "done") in told
    assert ("refuse.device", "device echo", "refused") in told
    assert told[-1] == ("stop", "the hub of devices", "done")


def _wait_until_heard(place, said) -> None:
    for _ in range(200):
        code, out, err = said("clinic", "devices", "list", "--json", "--at", place.path)
        assert code == 0, err
        [row] = json.loads(out)
        if row["heard"]:
            assert (row["stage"], row["heard"]["state"], row["heard"]["facts"]) == ("enrolled", "idle", {"spool": 3})
            return
        SystemClock().sleep(0.05)
    raise AssertionError("the hub never wrote that it heard the device")
