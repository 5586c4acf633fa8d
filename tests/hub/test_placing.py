"""The placement of a clinic in virtual time: one second a step, heartbeats as the hub hears them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from fedmed.hub.machine import Beat, Look, Share, State, step
from fedmed.hub.placing import CENTER, Placed, Seen, begun, look
from fedmed.hub.told import Told, told_in
from fedmed.placement.choosing import Why
from fedmed.placement.nodes import Tier
from fedmed.placement.rules import DEADLINE_S
from fedmed.placement.tasks import Amount
from fedmed.placement.told import as_json, reasons, task_rows

SHARE = Share(1, 1)
OWN = Told(Amount(8000, 32 * 10**9, 0, 10**12))
FACTS = {
    "node": {"cores": 6, "memory": 8 * 10**9, "disk": 10**11, "cards": 0, "threads": 2},
    "models": {"active": {"name": "skin", "version": "2", "precision": "int8"}},
    "spool": {"entries": {"study": 3}},
}


@dataclass
class Clinic:
    beat_s: float = 20.0
    now: float = 0.0
    hub: State = field(default_factory=State)
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    rounds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    said: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.placed: Placed = begun("north", self.beat_s, {}, self.now)

    def again(self) -> None:
        """The hub is started anew: what it had in memory is gone, what its status said is not."""
        told = {name: told_in(each.facts()) for name, each in self.placed.told.items()}
        self.hub, self.placed = State(), begun("north", self.beat_s, told, self.now)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            for name in self.devices if self.now % self.beat_s == 1 % self.beat_s else ():
                if name not in self.silent:
                    beat = Beat(name, "0.1.0", "up", self.devices[name], self.now, self.now, self.now)
                    self.hub, _ = step(self.hub, beat, SHARE, self.beat_s)
            self.hub, _ = step(self.hub, Look(self.now, self.now), SHARE, self.beat_s)
            seen = [Seen(name, self.hub.devices.get(name), self.rounds.get(name, ())) for name in self.devices]
            self.placed, said = look(self.placed, seen, OWN, self.now)
            self.said += [(self.now, each) for each in said]

    def where(self) -> dict[str, tuple[str, ...]]:
        return {row.name: row.where for row in task_rows(self.placed.state)}


@pytest.fixture
def clinic() -> Clinic:
    made = Clinic(devices={"us-1": FACTS, "us-2": FACTS})
    made.run(30)
    return made


def test_images_run_at_their_scanner_and_studies_at_the_clinic(clinic):
    clinic.rounds["us-2"] = ("0" * 19 + "7",)
    clinic.run(1)
    here = clinic.placed.here
    assert clinic.where() == {
        "images:us-1": ("us-1",),
        "images:us-2": ("us-2",),
        "round:us-2:" + "0" * 19 + "7": ("us-2",),
        "studies:us-1": (here,),
        "studies:us-2": (here,),
    }
    (images,) = [row for row in task_rows(clinic.placed.state) if row.name == "images:us-1"]
    assert (images.kind, images.how, images.status) == ("real-time", "cpu int8 batch 1", "running")
    clinic.rounds.clear()
    clinic.run(1)
    assert len(clinic.where()) == 4
    assert clinic.said == []


def test_nothing_is_ever_placed_at_the_center_and_it_says_why(clinic):
    clinic.rounds["us-1"] = ("0" * 20,)
    clinic.silent |= {"us-1", "us-2"}
    clinic.run(300)
    state = clinic.placed.state
    assert state.nodes[CENTER].node.tier is Tier.CENTER
    for row in task_rows(state):
        assert CENTER not in row.where
        assert reasons(state, row.name)[CENTER] == Why.OUTSIDE.value
    (center,) = [row for row in as_json(state)["nodes"] if row["tier"] == "center"]
    assert center["standing"].startswith("isolated: takes nothing that reads patients' data")


@pytest.mark.parametrize("beat_s", [1.0, 20.0, 60.0])
def test_a_killed_device_is_lost_and_its_work_told_within_three_minutes(beat_s):
    clinic = Clinic(beat_s, devices={"us-1": FACTS, "us-2": FACTS})
    clinic.run(122)
    clinic.rounds["us-1"] = ("0" * 20,)
    clinic.run(1)
    died, clinic.silent = clinic.now, {"us-1"}
    clinic.run(int(DEADLINE_S))
    assert clinic.placed.state.nodes["us-1"].is_lost
    assert not clinic.hub.devices["us-1"].is_alive
    assert {text for _, text in clinic.said} >= {"3 studies wait at us-1 until it is heard again"}
    for task in ("images:us-1", f"round:us-1:{'0' * 20}"):
        (found,) = [(at, text) for at, text in clinic.said if text.startswith(f"{task} runs nowhere now")]
        assert "not heard of" in found[1]
        assert found[0] - died < DEADLINE_S
    assert clinic.where()["images:us-1"] == ()
    assert clinic.where()["images:us-2"] == ("us-2",)
    clinic.silent = set()
    clinic.run(int(beat_s) + 1)
    assert clinic.where()["images:us-1"] == ("us-1",)
    assert clinic.said[-1][1].endswith("runs on us-1 again")


def test_an_isolated_device_has_no_work_and_the_reason_is_told(clinic):
    clinic.devices["us-1"] = {**FACTS, "health": {"isolated": "gpu0: gpu reachable is 0, below 1"}}
    clinic.run(30)
    assert clinic.placed.isolated("us-1") == "gpu0: gpu reachable is 0, below 1"
    assert clinic.where()["images:us-1"] == ()
    assert [text for _, text in clinic.said] == [
        "device us-1 takes no work: gpu0: gpu reachable is 0, below 1",
        "images:us-1 runs nowhere now: no node has room: 2 without its data, 1 isolated",
    ]
    clinic.devices["us-1"] = FACTS
    clinic.run(30)
    assert clinic.where()["images:us-1"] == ("us-1",)
    assert [text for _, text in clinic.said[2:]] == ["device us-1 may take work again", "images:us-1 runs on us-1 again"]


def test_an_isolation_outlives_a_card_that_is_put_in_later(clinic):
    clinic.devices["us-1"] = {**FACTS, "health": {"isolated": "hot"}}
    clinic.run(30)
    clinic.devices["us-1"] = {**clinic.devices["us-1"], "node": {**FACTS["node"], "cards": 1, "gpu": 10**10}}
    clinic.run(30)
    assert clinic.placed.isolated("us-1") == "hot"


def test_a_hub_that_is_started_anew_knows_everything_again(clinic):
    clinic.devices["us-2"] = {**FACTS, "paused": True}
    clinic.run(30)
    before, said = clinic.where(), len(clinic.said)
    clinic.silent = {"us-1", "us-2"}
    clinic.again()
    clinic.run(1)
    assert {name: where for name, where in before.items() if name.startswith("images")} == clinic.where()
    assert clinic.placed.isolated("us-2") == "its staff has paused it"
    clinic.silent = {"us-1"}  # died while the hub was down
    clinic.run(120)
    assert clinic.where()["images:us-1"] == ()
    assert any(text.startswith("images:us-1 runs nowhere now") for _, text in clinic.said[said:])


def test_a_revoked_device_is_gone_with_all_its_work_and_may_come_again(clinic):
    del clinic.devices["us-1"]
    clinic.run(1)
    assert "us-1" not in clinic.placed.state.nodes
    assert clinic.where().keys() == {"images:us-2", "studies:us-2"}
    clinic.devices["us-1"] = FACTS
    clinic.run(41)
    assert clinic.where()["images:us-1"] == ("us-1",)


def test_other_precision_is_another_task_of_the_same_name(clinic):
    active = {"name": "skin", "version": "3", "precision": "fp32"}
    clinic.devices["us-1"] = {**FACTS, "models": {"active": active}}
    clinic.run(30)
    assert [row.how for row in task_rows(clinic.placed.state) if row.name == "images:us-1"] == ["cpu fp32 batch 1"]
    clinic.devices["us-1"] = {**FACTS, "models": {"active": None}}
    clinic.run(30)
    assert "images:us-1" not in clinic.where()


def test_a_device_that_was_never_heard_has_no_work(clinic):
    clinic.devices["new"] = FACTS
    clinic.silent.add("new")
    clinic.run(100)
    assert clinic.placed.state.nodes["new"].is_lost
    assert "images:new" not in clinic.where()


def test_a_device_that_tells_nonsense_is_placed_nowhere_and_stops_nothing(clinic):
    clinic.devices["us-1"] = {"node": {"cores": 10**30, "memory": -1}, "models": 7, "spool": [], "health": "\x1b"}
    clinic.run(30)
    assert clinic.where()["images:us-2"] == ("us-2",)
    assert clinic.placed.state.nodes["us-1"].node.capacity == Amount()
