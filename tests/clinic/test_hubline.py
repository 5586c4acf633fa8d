from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedmed.clinic.hubline import Heard, devices_for
from fedmed.config.loading import parse
from fedmed.config.roles import HUB_FILE, Hub, written
from fedmed.hub.folder import FOLDER, make_hub, open_hub
from fedmed.store.standing import write_status
from fedmed.tiers.playing import Work
from tests.clinic.staff import SCENARIO
from tests.hub.clinic import Skewed, serving


@dataclass
class Clinic:
    """What a daemon's folder is, as far as devices go."""

    path: Path
    clock: Skewed

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(federation="fed", name="north")


def told(device: str, cases: object = 50, alive: object = True) -> dict[str, object]:
    return {device: {"alive": alive, "facts": {"cases": cases}}}


@pytest.fixture
def clinic(tmp_path) -> Clinic:
    make_hub(tmp_path, Hub(clinic="north", trains=True), Skewed())
    return Clinic(tmp_path, Skewed())


def configure(clinic: Clinic, content: bytes) -> None:
    place = clinic.path / FOLDER / HUB_FILE
    place.unlink(missing_ok=True)
    place.write_bytes(content)
    place.chmod(0o600)


def test_devices_train_where_the_clinic_has_a_hub_that_says_so_when_a_run_begins(tmp_path):
    clinic, scenario = Clinic(tmp_path, Skewed()), parse(SCENARIO, "s")
    made = devices_for(clinic, print)
    assert made(scenario) is None
    make_hub(tmp_path, Hub(clinic="north", trains=True), clinic.clock)  # under a daemon that is up
    assert made(scenario) is not None
    configure(clinic, written(Hub(clinic="north")))
    assert made(scenario) is None


def test_a_hubs_configuration_that_is_not_in_order_costs_the_devices_part(clinic):
    log: list[str] = []
    configure(clinic, b"clinic: north\ntrains: perhaps\n")
    assert devices_for(clinic, log.append)(parse(SCENARIO, "s")) is None
    assert "without its devices" in log[0]
    assert "hub.yaml" in log[0]


def test_who_is_heard_is_what_the_service_says_while_it_is_up(clinic):
    hub = open_hub(clinic.path, clinic.clock)
    assert Heard(hub, print).alive() == []
    facts = {"state": "up", "unix": clinic.clock.unix(), "devices": {**told("a"), **told("b", alive=False), "c": 7}}
    write_status(hub.path, facts)
    assert Heard(hub, print).alive() == ["a"]
    for changed in ({"state": "stopped"}, {"unix": clinic.clock.unix() - 100}, {"devices": []}):
        write_status(hub.path, {**facts, **changed})
        assert Heard(hub, print).alive() == []
    (hub.path / "status.json").write_bytes(b"{")
    assert Heard(hub, print).alive() == []


@pytest.mark.parametrize(("cases", "known"), [(50, 50), (0, 0), (-1, 0), (True, 0), ("50", 0), (1.5, 0), (2**40, 0)])
def test_a_device_has_the_cases_that_it_told(tmp_path, cases, known):
    with serving(tmp_path) as place:
        device = place.joined("box-1")
        write_status(
            place.folder.path,
            {"state": "up", "unix": place.clock.unix(), "devices": told("box-1", cases)},
        )
        (found,) = Heard(place.folder, print).known()
        assert (found.name, found.fingerprint, found.cases) == ("box-1", device.keys().fingerprint, known)


def test_a_hub_whose_authority_is_gone_costs_the_devices_part(clinic):
    log: list[str] = []
    devices = devices_for(clinic, log.append)(parse(SCENARIO, "s"))
    assert devices is not None
    for path in (clinic.path / FOLDER).glob("devices-ca*"):
        path.unlink()
    gathered = devices.ask(Work("run", "{}", {}, (), 64.0, {}, 100))
    assert gathered.parts == ()
    assert "goes on without its devices" in log[-1]


def test_a_device_that_takes_no_work_is_left_out_and_named_once(tmp_path):
    with serving(tmp_path) as place:
        place.joined("box-1")
        rows = told("box-1")
        rows["box-1"] = {**rows["box-1"], "isolated": "gpu0: gpu temperature is 91 celsius\x1b"}
        facts = {"state": "up", "unix": place.clock.unix(), "devices": {**rows, **told("box-2")}}
        write_status(place.folder.path, facts)
        log: list[str] = []
        heard = Heard(place.folder, log.append)
        assert heard.alive() == ["box-2"]
        heard.known()
        heard.known()
        (said,) = log
        assert said.startswith("device box-1 is asked for no part of a round: gpu0: gpu temperature is 91 celsius")
        assert "\x1b" not in said


class Moved(Skewed):
    """A clock whose seconds a test adds to."""

    def now(self) -> float:
        return super().now() + self.by


def test_a_hub_that_is_started_anew_in_the_midst_of_a_round_costs_no_device_its_part(tmp_path):
    clock = Moved()
    hub = make_hub(tmp_path, Hub(clinic="north", trains=True, beat_s=20), clock)
    heard = Heard(hub, print)

    def says(state: str, since: float, *devices: str) -> list[str]:
        rows = {name: told(name)[name] for name in devices}
        write_status(hub.path, {"state": state, "unix": clock.unix(), "since": since, "devices": rows})
        clock.by += 2.0
        return sorted(heard.alive())

    old = clock.unix() - 1000.0
    assert says("up", old, "a", "b", "c") == ["a", "b", "c"]
    assert says("up", old, "a", "b") == ["a", "b"]  # c was revoked
    assert says("stopped", old) == ["a", "b"]
    began = clock.unix()
    assert says("up", began) == ["a", "b"]
    assert says("up", began, "a") == ["a", "b"]
    clock.by += 60.0
    assert says("up", began, "a") == ["a"]  # b did not come back
    assert says("stopped", began) == ["a"]
    clock.by += 61.0
    assert says("stopped", began) == []
