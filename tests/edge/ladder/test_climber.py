"""A device that climbs: real slots, engines and processes; what rungs measure is given where a test needs to know it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.clock import SystemClock
from fedmed.config.edge import Inference
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.edge.ladder import climber as module
from fedmed.edge.ladder.climber import Climber
from fedmed.edge.released import ANCHOR, FOLDER, Released, options_of
from fedmed.errors import EngineFailed
from fedmed.releases.slots import Content, Evidence, Limits, Phase, Slots
from fedmed.releases.slotstore import SlotStore
from fedmed.serving.climbing import Trial
from fedmed.serving.ladder import LEAST_CASES, Rung
from fedmed.serving.packages import Package
from fedmed.store.audit.event import event, faults_of

KEY = bytes(32)
Given = Callable[[], tuple[Rung, ...]]


def rungs(fast_ms: float = 1.0, agrees: float = 1.0, failure: str = "") -> tuple[Rung, ...]:
    return Rung("fp32", "cpu", 4.0, 1.0, 128), Rung("int8", "cpu", fast_ms, agrees, 128, failure)


@dataclass
class Box:
    """One device with a committed release; `again` is its next process."""

    path: Path
    package: Package
    wanted: Inference = field(default_factory=lambda: Inference(threads=1))
    on_trial: bool = False
    said: list[str] = field(default_factory=list)
    recorded: list[tuple[str, str]] = field(default_factory=list)
    is_busy: bool = False

    def __post_init__(self) -> None:
        store = SlotStore(self.path / FOLDER, self.path / ANCHOR)
        shutil.copytree(self.package.folder, store.package(0), dirs_exist_ok=True)
        shutil.copytree(self.package.folder, store.package(1), dirs_exist_ok=True)
        content = Content(1, "0" * 64, 1, self.package.card.digest, Phase.PROVEN)
        other = replace(content, counter=2, phase=Phase.TESTED)
        self.slots = Slots((content, other if self.on_trial else None), 0, 1 if self.on_trial else None)
        self.again()

    def again(self) -> None:
        how = Trial(3, options=options_of(self.path, self.wanted))
        self.climber = Climber(
            self.path, KEY, self.wanted, SystemClock(), how, lambda: self.is_busy, self.said.append, self._record
        )
        self.released = Released(
            self.path, {}, self.wanted, SystemClock(), lambda told: None, Limits(least_results=1), self.climber
        )
        self.climber.engines = self.released
        self.released.device.store.damaged = lambda slots: frozenset()  # no manifest lies beside these packages
        self.released.device.store.save(self.slots)
        self.released.begin()

    def _record(self, action: str, resource: str, outcome: str = "done", reason: str = "", **details: object) -> None:
        assert not list(faults_of(event(1.0, "us-1", "site", action, resource, outcome, reason=reason, **details)))
        self.recorded.append((outcome, str(details["mode"])))

    @property
    def precision(self) -> str:
        assert self.released.model is not None
        return self.released.model.precision

    def sees(self, count: int = LEAST_CASES) -> None:
        for number in range(count):
            assert self.released.model is not None
            self.released.model.run(np.full((1, 1, 32, 32), number, np.float32))
            if number % 3 == 0 or number == count - 1:
                self.climber.look()

    def steps(self, count: int = 3) -> None:
        for _ in range(count):
            self.climber.look()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Rung, ...]]:
    """What measuring finds, the next time and from then on; how often it was asked is how many are gone."""
    found: list[tuple[Rung, ...]] = []
    monkeypatch.setattr(module, "rungs_apart", lambda *_: found.pop(0))
    return found


def test_fp32_until_enough_images_then_the_fastest_and_held_once_it_held(
    tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]]
):
    box = Box(tmp_path, quantised)
    box.sees(LEAST_CASES - 1)
    assert (box.precision, box.climber.facts()["phase"]) == ("fp32", "safe")
    assert f"({LEAST_CASES - 1} so far)" in box.climber.facts()["why"]
    given.append(rungs())
    box.sees(1)
    box.steps()
    told = box.climber.facts()
    assert (box.precision, told["phase"], given) == ("int8", "probation", [])
    assert "which is no accuracy" in told["basis"]
    given.append(rungs(fast_ms=9.0, agrees=0.995))
    box.sees()
    box.steps()
    assert (box.precision, box.climber.facts()["phase"], given) == ("int8", "held", [])
    assert box.recorded == [("done", "int8"), ("done", "int8")]
    assert box.released.standing()["ladder"] == box.climber.facts()


def test_a_restart_measures_nothing_again(tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]]):
    box = Box(tmp_path, quantised)
    given += [rungs(), rungs()]
    box.sees()
    box.sees()
    box.steps()
    box.climber.end()
    box.again()
    assert box.precision == "int8"
    box.sees(5)
    assert (box.precision, box.climber.facts()["phase"]) == ("int8", "held")


@pytest.mark.parametrize("found", [{"agrees": 0.98}, {"fast_ms": 5.0}, {"failure": "ended by the signal SIGSEGV"}])
def test_what_disagrees_is_slower_or_crashes_never_runs(
    tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]], found: dict
):
    box = Box(tmp_path, quantised)
    given.append(rungs(**found))
    box.sees()
    box.steps()
    told = box.climber.facts()
    assert (box.precision, told["phase"]) == ("fp32", "held")
    assert all(row["reason"] for row in told["rungs"])


def test_images_that_it_was_not_chosen_by_take_it_back(tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]]):
    box = Box(tmp_path, quantised)
    given += [rungs(), rungs(agrees=0.9)]
    box.sees()
    box.steps()
    assert box.precision == "int8"
    box.sees()
    box.steps()
    assert (box.precision, box.recorded[-1]) == ("fp32", ("failed", "fp32"))
    assert "loses 10.00 points" in box.climber.facts()["why"]
    box.again()
    assert box.precision == "fp32"


def test_an_answer_that_is_none_takes_it_back_at_once_and_for_good(
    tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]]
):
    box = Box(tmp_path, quantised)
    given += [rungs(), rungs()]
    box.sees()
    box.sees()
    box.steps()
    opened = box.released._active
    assert opened is not None

    def broken(x: np.ndarray) -> np.ndarray:
        raise EngineFailed("out of memory")

    box.released._active = replace(opened, model=replace(opened.model, run=broken))
    with pytest.raises(EngineFailed):
        box.sees(1)
    box.steps()
    assert box.precision == "fp32"
    assert "an image got no answer" in box.climber.facts()["why"]
    box.again()
    assert box.precision == "fp32"
    box.released.model.run(np.full((1, 1, 32, 32), np.inf, np.float32))  # fp32's own trouble is the release's
    box.steps()
    assert box.precision == "fp32"


def test_a_process_that_ends_twice_on_probation(tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]]):
    box = Box(tmp_path, quantised)
    given.append(rungs())
    box.sees()
    box.steps()
    assert box.precision == "int8"
    box.again()  # as after kill -9
    assert box.precision == "int8"
    box.again()
    assert box.precision == "fp32"
    assert "the process ended with it, 2 times" in box.said[-1]


def test_one_that_was_stopped_is_no_crash(tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]]):
    box = Box(tmp_path, quantised)
    given.append(rungs())
    box.sees()
    box.steps()
    for _ in range(4):
        box.climber.end()
        box.again()
    assert (box.precision, box.climber.facts()["wanted"]) == ("int8", "auto")


def test_a_release_is_tried_in_fp32_whatever_is_remembered_and_climbs_once_committed(
    tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]]
):
    first = Box(tmp_path, quantised)
    given += [rungs(), rungs()]
    first.sees()
    first.sees()
    first.steps()
    box = Box(tmp_path, quantised, on_trial=True)  # of the same content: what is remembered would hold for it
    box.sees(10)
    assert box.precision == "fp32"
    assert box.climber.facts()["why"] == "fp32 until a release is committed"
    box.released.device.observe(1, Evidence(seconds=1e6, results=1))
    assert box.released.device.slots.active == 1
    box.steps()
    assert box.precision == "int8"


def test_images_go_first_but_not_for_ever(
    tmp_path: Path, quantised: Package, given: list[tuple[Rung, ...]], monkeypatch: pytest.MonkeyPatch
):
    box = Box(tmp_path, quantised, is_busy=True)
    given.append(rungs())
    box.sees(LEAST_CASES + 3)
    assert (box.precision, len(given)) == ("fp32", 1)
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    box.steps()
    assert box.precision == "int8"


def test_a_precision_that_was_named_is_not_chosen(tmp_path: Path, quantised: Package):
    box = Box(tmp_path, quantised, Inference(precision="int8", threads=1))
    box.sees(5)
    assert (box.precision, box.climber.facts()) == ("int8", {"wanted": "int8", "why": ""})
    assert not (tmp_path / "checks").exists()


def test_a_package_of_one_precision_has_nothing_to_choose(tmp_path: Path, single: Package):
    box = Box(tmp_path, single)
    box.sees(3)
    assert (box.precision, box.climber.facts()["phase"]) == ("fp32", "held")
    assert "fp32 alone" in box.climber.facts()["why"]


def test_labelled_images_of_the_device_judge_where_there_are_enough(tmp_path: Path, quantised: Package):
    write_hospitals(tmp_path / "phantom", 3, share=0.5)
    paths = sorted((tmp_path / "phantom").rglob("*.dcm"))[:LEAST_CASES]
    for number, path in enumerate(paths):
        place = tmp_path / "check" / ("clear", "opacity")[number % 2] / f"{number}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    box = Box(tmp_path, quantised, Inference(threads=1, check="check"))
    box.steps(1)
    told = box.climber.facts()
    assert told["basis"] == f"auc on {len(paths)} labelled images of this device"
    assert {row["precision"] for row in told["rungs"]} == {"fp32", "int8"}
    assert all(row["loss_points"] is not None for row in told["rungs"])
    (tmp_path / "check" / "other").mkdir()
    box.again()
    box.is_busy = False
    with pytest.raises(module.DataError, match="other are no classes"):
        box.climber.look()


def test_agreement_is_measured_by_the_engines_themselves(tmp_path: Path, quantised: Package):
    box = Box(tmp_path, quantised)
    box.sees()
    box.steps()
    told = box.climber.facts()
    assert told["phase"] in ("held", "probation")
    assert {row["precision"]: row["loss_points"] is not None for row in told["rungs"]} == {"fp32": True, "int8": True}
    assert box.precision == told["precision"]
