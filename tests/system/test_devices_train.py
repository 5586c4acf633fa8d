"""Devices train along in a real federation: center, clinics, a hub, agents, each a process by the commands of the guides."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.system.beside import Beside
from tests.system.hospitals import Hospitals, fedmed, until

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]  # ten processes with PyTorch; tests/tiers has the parts
SITES = {"east": "east-city", "north": "north-university", "south": "south-childrens"}
HELD_BACK = {"test": 0.3, "validation": 0.1}
DATA = ("--reader", "phantom", *(part for key, value in HELD_BACK.items() for part in ("--set", f"split.{key}={value}")))
DEVICES = ("us-1", "us-2", "us-3", "us-4")


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    with ExitStack() as stack:
        made = Hospitals(tmp_path_factory.mktemp("devices"), stack)
        made.center.start()
        for name, site in SITES.items():
            made.join(name)
            made.give_data(name, *DATA, "--site", site)
        made.approve_each_other()
        for clinic in made.clinics.values():
            clinic.start()  # before there is a hub: it is found without a restart
        north = Beside(made, "north", "study")
        sets = [
            {"reader": "phantom", "site": SITES["north"], "split": HELD_BACK, "seed": seed} for seed, _ in enumerate(DEVICES)
        ]
        north.set_up(dict(zip(DEVICES, sets, strict=True)))
        yield north


def cases(hospitals: Hospitals, run: str) -> list[int]:
    return [int(each["train"]["cases"]) for each in hospitals.events(run, "committed")]


def test_the_center_learns_of_the_devices_cases_and_no_round_is_lost_with_a_device_or_the_hub(north: Beside):
    hospitals = north.hospitals
    run = hospitals.run("demo", "rounds=100", "name=beside")
    for name in SITES:
        hospitals.approve(name, run)
    until(lambda: len(cases(hospitals, run)) == 2, hospitals.center.is_running)
    first, whole = cases(hospitals, run)
    own = {name: each["facts"]["cases"] for name, each in north.heard().items()}
    assert first == whole > sum(own.values())
    north.devices["us-2"].end(signal.SIGKILL)
    seen = len(cases(hospitals, run))
    until(lambda: whole - own["us-2"] in cases(hospitals, run)[seen:], hospitals.center.is_running)
    assert any("device us-2 is not in this round" in each for each in north.said())
    north.devices["us-2"].start()
    north.hub.end(signal.SIGKILL)
    until(lambda: whole - sum(own.values()) in cases(hospitals, run), hospitals.center.is_running)
    north.hub.start()
    until(lambda: cases(hospitals, run)[-1] == whole, hospitals.center.is_running)
    fedmed("center", "stop", run, "--at", hospitals.center.folder)
    assert {each["attempt"] for each in hospitals.events(run, "round")} == {1}
    assert hospitals.events(run, "committed")[-1]["round"] == len(cases(hospitals, run))
