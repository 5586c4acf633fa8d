from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedmed.edge import standing
from fedmed.edge.wellbeing import MOST_TOLD, POWER, Wellbeing
from fedmed.errors import ConfigError, StoreError
from fedmed.health.policy import CHECK_EVERY_S, Switches
from fedmed.health.readings import Reading, read
from fedmed.operation.measured import Measured
from fedmed.operation.metrics import EDGE, Metrics
from fedmed.operation.metrics import Reading as Now
from fedmed.wire.canonical import canonical
from tests.hub.clinic import Skewed


class Minutes(Skewed):
    """A clock that a test moves."""

    at = 0.0

    def now(self) -> float:
        return self.at


@dataclass
class Box:
    """A device whose card is as a test says; what was said, written down and set, in one order."""

    folder: Path
    switch: bool = False
    celsius: float | None = 60.0
    lost: bool = False
    step: float | None = None
    cards: int = 1
    disk_is_full: bool = False
    happened: list[tuple[str, ...]] = field(default_factory=list)
    name: str = "box"

    def __post_init__(self) -> None:
        self.clock = Minutes()
        self.well = self.made()

    def made(self) -> Wellbeing:
        switches = Switches(may_limit_power=self.switch)
        return Wellbeing(
            [self], self.folder, self.clock, switches, self.power, self.steps, self.again, self.say, self.record
        )

    def why_not(self) -> None:
        return None

    def is_available(self) -> bool:
        return True

    def read(self) -> list[Reading]:
        cards = [f"gpu{number}" for number in range(self.cards)]
        found = [read("gpu_temperature", self.celsius, card, "NVML says: not supported") for card in cards]
        found += [read("gpu_memory_used", 2e9, card) for card in cards] + [
            read("gpu_memory_free", 14e9, card) for card in cards
        ]
        return [*found, *(read("gpu_reachable", float(not self.lost), card) for card in cards), read("memory_total", 8e9)]

    def steps(self) -> list[Reading]:
        return [] if self.step is None else [read("task_steps", self.step, "looking at images")]

    def again(self, words: str) -> None:
        self.happened.append(("again", words))

    def power(self, device: str, share: float) -> float:
        self.happened.append(("power", device, f"{share:g}"))
        if device == "gpu9":
            raise ConfigError("no such card")
        return 70 * share

    def say(self, text: str) -> None:
        self.happened.append(("say", text))

    def record(self, action: str, resource: str, outcome: str = "done", reason: str = "", **details: object) -> None:
        if self.disk_is_full:
            raise StoreError("the disk is full")
        self.happened.append(("record", action, resource) if outcome == "done" else ("record", action, resource, outcome))

    def pass_minutes(self, number: int) -> None:
        for _ in range(number):
            self.clock.at += CHECK_EVERY_S
            self.well.look()

    def what(self, kind: str) -> list[tuple[str, ...]]:
        return [each[1:] for each in self.happened if each[0] == kind]


def test_a_hot_card_is_told_first_and_left_alone_without_the_switch(tmp_path):
    box = Box(tmp_path, celsius=91.0)
    box.pass_minutes(1)
    assert box.happened == [
        ("say", "critical: gpu0: gpu temperature is 91 celsius, above 85 celsius"),
        ("record", "alert", "gpu0"),
    ]
    assert box.well.facts()["past"] == ["gpu0 gpu-hot"]
    box.pass_minutes(4)
    assert box.well.isolated == ""
    box.pass_minutes(1)
    assert box.well.facts()["isolated"].startswith("gpu0: gpu temperature is 91")
    assert box.what("record")[-1] == ("stop.work", "gpu0")
    assert box.what("power") == []
    box.celsius = 50.0
    box.pass_minutes(4)
    assert box.well.isolated == ""
    assert box.well.past() == []
    assert box.what("record")[-2:] == [("alert.over", "gpu0"), ("start.work", "gpu0")]


def test_with_the_switch_power_is_lowered_after_a_person_was_told_and_given_back(tmp_path):
    box = Box(tmp_path, switch=True, celsius=91.0)
    box.pass_minutes(2)
    assert box.what("power") == [("gpu0", "0.625")]
    assert [each[0] for each in box.happened] == ["say", "record", "record", "power", "say"]
    assert json.loads((tmp_path / POWER).read_bytes()) == {"gpu0": 0.625}
    box.celsius = 50.0
    box.pass_minutes(4)
    assert box.what("power")[-1] == ("gpu0", "1")
    assert json.loads((tmp_path / POWER).read_bytes()) == {}


def test_power_that_a_killed_agent_had_lowered_is_given_back(tmp_path):
    (tmp_path / POWER).write_bytes(b'{"gpu0":0.625,"gpu9":0.5}')
    (tmp_path / POWER).chmod(0o600)
    box = Box(tmp_path, switch=True)
    stop = threading.Event()
    stop.set()
    box.well.keep(stop)
    assert box.what("power") == [("gpu0", "1"), ("gpu9", "1")]
    assert ("no such card",) in box.what("say")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"gpu0":"x"}', b"\xff", b'{"gpu0":null}'])
def test_a_damaged_note_of_lowered_power_stops_nothing(tmp_path, content):
    (tmp_path / POWER).write_bytes(content)
    (tmp_path / POWER).chmod(0o600)
    box = Box(tmp_path)
    stop = threading.Event()
    stop.set()
    box.well.keep(stop)
    assert box.what("power") == []
    assert box.well.readings


def test_no_power_is_lowered_that_could_not_be_written_down(tmp_path):
    box = Box(tmp_path, switch=True, celsius=91.0, disk_is_full=True)
    box.pass_minutes(10)
    assert box.what("power") == []
    assert box.well.isolated  # what protects goes on, and is said
    assert box.what("say").count(("the disk is full",)) == 3


def test_a_lost_card_keeps_the_device_from_work_until_the_agent_is_started_anew(tmp_path):
    box = Box(tmp_path, lost=True)
    box.pass_minutes(1)
    assert "gpu reachable is 0" in box.well.isolated
    box.lost = False
    box.pass_minutes(60)
    assert box.well.isolated
    box.well = box.made()
    box.pass_minutes(1)
    assert box.well.isolated == ""


def test_a_stall_is_told_and_then_begun_anew(tmp_path):
    box = Box(tmp_path, step=7.0)
    box.pass_minutes(16)
    assert box.what("say") == [("critical: looking at images: task steps stands at 7 for 900 s",)]
    assert box.what("again") == []
    box.pass_minutes(5)
    assert box.what("again") == [("looking at images: task steps stands at 7 for 1200 s",)]
    assert ("stop.stalled", "looking at images") in box.what("record")


def test_images_that_come_and_go_are_no_stall(tmp_path):
    box = Box(tmp_path)
    for number in range(60):
        box.step = None if number % 7 == 3 else float(number)
        box.pass_minutes(1)
    assert box.what("say") == []


def test_what_cannot_be_read_is_unsupported_everywhere_and_never_0(tmp_path):
    box = Box(tmp_path, celsius=None)
    box.pass_minutes(1)
    assert box.well.facts()["readings"]["gpu0 gpu_temperature"] == "unsupported"
    (row,) = [each for each in box.well.told()["readings"] if each["name"] == "gpu_temperature"]
    assert (row["value"], row["why"], row["unit"]) == ("unsupported", "NVML says: not supported", "celsius")
    metrics = Metrics(EDGE, Now)
    metrics.registry.register(Measured(box.well.measures))
    shown = metrics.exposition().decode()
    assert 'fedmed_unsupported{device="gpu0",quantity="gpu_temperature"} 1.0' in shown
    assert "\nfedmed_gpu_temperature" not in shown
    assert 'fedmed_gpu_memory_used_bytes{device="gpu0"} 2e+09' in shown
    assert "# TYPE fedmed_gpu_memory_used_bytes gauge" in shown


def test_many_cards_do_not_outgrow_a_heartbeat(tmp_path):
    box = Box(tmp_path, cards=64, celsius=95.0)
    box.pass_minutes(10)
    facts = box.well.facts()
    assert facts["left_out"] > 0
    assert len(facts["readings"]) + facts["left_out"] == len(box.well.readings)
    assert "memory_total" in facts["readings"]
    assert len(canonical(facts)) < MOST_TOLD + 2048


def test_a_device_tells_how_large_it_is_as_it_was_at_first(tmp_path):
    box = Box(tmp_path, cards=2)
    box.pass_minutes(1)
    assert {key: box.well.sizes[key] for key in ("memory", "cards", "gpu")} == {
        "memory": 8 * 10**9,
        "cards": 2,
        "gpu": 32 * 10**9,
    }
    box.lost = True
    box.pass_minutes(1)
    assert box.well.sizes["cards"] == 2


def test_a_card_that_staff_has_seen_to_works_again_where_its_reading_is_good(tmp_path):
    box = Box(tmp_path, lost=True)
    box.pass_minutes(1)
    assert box.well.isolated
    box.well.hear()
    standing.say_seen_to(tmp_path, "gpu0")
    box.well.hear()
    assert standing.answered(tmp_path) == box.well.isolated == "gpu0: gpu reachable is 0, below 1"
    assert box.what("record")[-1] == ("start.work", "gpu0", "refused")
    assert box.what("say")[-1] == ("this device takes no work, as before: gpu0: gpu reachable is 0 still; allowed is 1",)
    box.lost = False
    box.pass_minutes(9)
    assert box.well.isolated  # only a person ends it
    standing.say_seen_to(tmp_path, "gpu7")
    box.well.hear()
    assert "nothing of 'gpu7' waits for staff" in (standing.answered(tmp_path) or "")
    standing.say_seen_to(tmp_path, "gpu0")
    box.disk_is_full = True
    box.well.hear()
    assert box.well.isolated  # what cannot be written down is not done
    assert not (tmp_path / standing.SEEN_TO).exists()
    box.disk_is_full = False
    standing.say_seen_to(tmp_path, "gpu0")
    box.well.hear()
    assert standing.answered(tmp_path) == box.well.isolated == ""
    assert standing.answered(tmp_path) is None
    assert box.what("record")[-1] == ("start.work", "gpu0")
    box.lost = True
    box.pass_minutes(1)
    assert box.well.isolated


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[" * 9999, b'{"answer":"yes"}', b"7"])
def test_what_nobody_said_is_not_heard(tmp_path, content):
    box = Box(tmp_path, lost=True)
    box.pass_minutes(1)
    box.lost = False
    place = tmp_path / standing.SEEN_TO
    place.write_bytes(content)
    place.chmod(0o600)
    box.well.hear()
    assert box.well.isolated
