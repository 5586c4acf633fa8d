"""The line to a real hub, before joining and after; each fault is one finding that says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.config.edge import EDGE_FILE
from fedmed.edge.doctor.configuration import Asked
from fedmed.hub.joining import CERTIFICATE_FILE, HUB_FILE, KEYS_FILE
from fedmed.operation.doctor.finding import CODES, Finding, Status, exit_code
from tests.clinic.doctor.center import serving as port_of
from tests.clinic.doctor.center import silent
from tests.edge.device import Device, device_of
from tests.edge.doctor.examined import LINE, examined
from tests.hub.clinic import Place, Skewed, free_port, serving


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with serving(tmp_path_factory.mktemp("north")) as made:
        yield made


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The hub of another clinic."""
    with serving(tmp_path_factory.mktemp("south")) as made:
        yield made


@pytest.fixture(scope="module")
def joined(place: Place) -> Device:
    return device_of(place, "us-1")


@pytest.fixture
def device(joined: Device, tmp_path: Path) -> Device:
    shutil.copytree(joined.folder, tmp_path / "device")
    return Device("edge", tmp_path / "device", config=joined.config)


def dialling(device: Device, port: int, host: str = "127.0.0.1") -> Asked:
    """The device, as if it had joined at another place."""
    said = json.loads((device.folder / HUB_FILE).read_bytes())
    (device.folder / HUB_FILE).write_text(json.dumps({**said, "host": host, "port": port}))
    return Asked(device.folder)


def only_fault(found: dict[str, Finding], check: str) -> Finding:
    [failed] = [each for each in found.values() if each.status is Status.FAIL]
    assert failed.check == check
    assert failed.got
    assert failed.allowed
    assert failed.todo
    assert exit_code(list(found.values())) == CODES[check]
    return failed


def test_a_device_that_has_joined(device: Device, place: Place):
    found = examined(Asked(device.folder), *LINE)
    assert {each.status for each in found.values()} == {Status.OK}
    assert "knows this device; certificate until" in found["answer"].got
    assert "down" in found["speed"].got
    assert place.refusals() == []


def test_before_joining_the_code_says_whose_hub_it_is(place: Place, other: Place, tmp_path: Path):
    hub, folder = ("127.0.0.1", place.hub.ports.enrolment_port), tmp_path / "new"
    code = place.folder.invite("us-9").text()
    found = examined(Asked(folder, hub, code), *LINE)
    assert found["authority"].status is Status.OK
    assert (found["answer"].status, found["speed"].status) == (Status.SKIPPED, Status.SKIPPED)
    assert exit_code(list(found.values())) == 0
    shown = examined(Asked(folder, hub), *LINE)["authority"]
    assert (shown.status, code[20:39] in shown.todo) == (Status.WARN, True)
    foreign = other.folder.invite("us-9").text()
    assert "the code is for another" in only_fault(examined(Asked(folder, hub, foreign), *LINE), "authority").got
    assert (place.refusals(), folder.exists()) == ([], False)
    assert place.joined("us-9-too").hub.clinic == "north"  # the code of nobody was used up, nor the tries


def test_a_code_that_is_none_and_no_hub_at_all(tmp_path: Path):
    assert "read it again" in only_fault(examined(Asked(tmp_path, ("h", None), "ABCD")), "configuration").todo
    assert "--hub" in only_fault(examined(Asked(tmp_path)), "configuration").todo


def test_every_fault_of_the_file_is_told_at_once(device: Device):
    text = (device.folder / EDGE_FILE).read_text()
    (device.folder / EDGE_FILE).write_text(text.replace("power_actions", "power_action").replace('"us-1"', '"US 1"'))
    said = only_fault(examined(Asked(device.folder), *LINE), "configuration").got
    assert "power_action" in said
    assert "name" in said


def test_nothing_listens_there(device: Device):
    assert "refused" in only_fault(examined(dialling(device, free_port()), *LINE), "connection").got


def test_a_name_that_nobody_knows(device: Device):
    assert "not known here" in only_fault(examined(dialling(device, 8443, "hub.invalid"), *LINE), "name").got


def test_the_wrong_port_of_the_right_hub(device: Device, place: Place, tmp_path: Path):
    found = examined(dialling(device, place.hub.ports.enrolment_port), *LINE)
    only_fault(found, "answer")
    found = examined(Asked(tmp_path / "new", ("127.0.0.1", place.hub.ports.port)), *LINE)
    assert "enrols devices at one port" in only_fault(found, "authority").todo


def test_what_takes_connections_and_says_nothing(device: Device, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fedmed.operation.doctor.shaking.SHAKE_S", 0.5)
    with port_of(silent) as port:
        assert "says nothing" in only_fault(examined(dialling(device, port), *LINE), "tls").got


def test_another_clinics_hub(device: Device, other: Place):
    found = examined(dialling(device, other.hub.ports.port), *LINE)
    assert "issued by CN=north devices" in only_fault(found, "authority").got


def test_a_certificate_of_another_clinic(device: Device, other: Place):
    foreign = device_of(other, "us-1").folder
    for name in (KEYS_FILE, CERTIFICATE_FILE):
        shutil.copy(foreign / name, device.folder / name)
    only_fault(examined(Asked(device.folder), *LINE), "answer")


def test_a_device_that_was_revoked(place: Place):
    device = device_of(place, "us-7")
    place.folder.revoke("us-7")
    found = only_fault(examined(Asked(device.folder), *LINE), "answer")
    assert "was revoked" in found.got
    assert "invite it anew" in found.todo


def test_a_clock_that_is_wrong(device: Device):
    assert "ahead of the hub's" in only_fault(examined(Asked(device.folder), *LINE, clock=Skewed(3600)), "clock").got
    late = examined(Asked(device.folder), *LINE, clock=Skewed(-10 * 86400))
    assert late["certificate"].status is Status.FAIL


def test_the_hub_of_the_file_and_the_one_that_is_dialled(device: Device):
    text = (device.folder / EDGE_FILE).read_text().replace('hub: "127.0.0.1"', 'hub: "hub.example"')
    (device.folder / EDGE_FILE).write_text(text)
    found = examined(Asked(device.folder))["configuration"]
    assert (found.status, "hub.example" in found.got) == (Status.WARN, True)
