"""Releases on a device while images are looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.edge import Inference
from fedmed.edge.ladder.rungs import Reference
from fedmed.edge.ladder.where import key_of
from fedmed.edge.released import PLANS, Opened, Released
from fedmed.errors import StoreError, Unreachable
from fedmed.releases.installing import fill
from fedmed.releases.slots import Content, Limits, Phase, Slots
from fedmed.serving.engines.plans import PlanKey, Plans
from fedmed.serving.packages import FP32, Package
from fedmed.wire.tensors import sha256
from tests.edge.ladder.test_climber import Box
from tests.releases.simulator import Authority, Standing


class Slow:
    """A hub that has begun to answer and does not go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def pieces(self, name: str, offset: int) -> Iterator[bytes] | None:
        self.asked.set()
        assert self.go_on.wait(60)
        raise Unreachable("gone")


def test_no_image_waits_for_a_release_that_comes_slowly(tmp_path: Path, quantised: Package):
    box, hub = Box(tmp_path, quantised), Slow()
    box.released.device.fetchers = {"federation": hub}
    ended: list[str] = []

    def beat() -> None:
        with pytest.raises(Unreachable):
            box.released.beat()
        ended.append("beat")

    def look() -> None:
        assert box.released.model is not None
        box.released.model.run(np.zeros((1, 1, 32, 32), np.float32))
        ended.append("image")

    beating, looking = threading.Thread(target=beat), threading.Thread(target=look)
    beating.start()
    assert hub.asked.wait(60)
    looking.start()
    looking.join(60)
    hub.go_on.set()
    for each in (beating, looking):
        each.join(60)
    assert ended == ["image", "beat"]


def test_a_rung_that_gives_no_answer_is_left_while_a_release_comes_slowly(tmp_path: Path, quantised: Package):
    box, hub = Box(tmp_path, quantised), Slow()
    assert box.released.use(quantised.card.digest, "int8", "cpu")
    box.climber._memory.put(
        replace(box.climber._memory.get(key_of(quantised.card.digest, box.wanted, "")), precision="int8")
    )
    box.released.device.fetchers = {"federation": hub}

    def beat() -> None:
        with pytest.raises(Unreachable):
            box.released.beat()

    beating, climbing = threading.Thread(target=beat), threading.Thread(target=box.climber.look)
    beating.start()
    assert hub.asked.wait(60)
    box.climber.fell(quantised.card.digest, "an image got no answer")
    climbing.start()
    climbing.join(20)
    precision = box.precision
    hub.go_on.set()
    for each in (beating, climbing):
        each.join(60)
    assert precision == "fp32"


def test_an_agent_that_ends_waits_for_no_release_that_comes_slowly(tmp_path: Path, quantised: Package):
    box, hub = Box(tmp_path, quantised), Slow()
    box.released.device.fetchers = {"federation": hub}

    def beat() -> None:
        with pytest.raises(Unreachable):
            box.released.beat()

    beating, ending = threading.Thread(target=beat), threading.Thread(target=box.released.end)
    beating.start()
    assert hub.asked.wait(60)
    ending.start()
    ending.join(20)
    is_clean = box.released.device.store.load().clean
    hub.go_on.set()
    for each in (beating, ending):
        each.join(60)
    assert is_clean


def test_a_release_that_is_committed_in_another_slot_by_now_is_opened_there(
    tmp_path: Path, quantised: Package, monkeypatch: pytest.MonkeyPatch
):
    box = Box(tmp_path, quantised)
    opens = box.released._opened_as

    def meanwhile(folder: Path, precision: str, backend: str) -> Opened:
        opened = opens(folder, precision, backend)
        content = box.slots.contents[0]
        box.released.device.slots = Slots((None, content), 1)
        box.released._active = opens(box.released.device.store.package(1), "fp32", "cpu")
        return opened

    monkeypatch.setattr(box.released, "_opened_as", meanwhile)
    assert not box.released.use(quantised.card.digest, "int8", "cpu")
    assert box.precision == "fp32"


def test_one_file_of_a_package_is_read_to_open_it(tmp_path: Path, quantised: Package, monkeypatch: pytest.MonkeyPatch):
    read: list[set[str]] = []
    whole = Package.load.__func__

    def load(cls: type[Package], folder: Path, only: tuple[str, ...] | None = None) -> Package:
        found = whole(cls, folder, only)
        read.append(set(found.models))
        return found

    monkeypatch.setattr(Package, "load", classmethod(load))
    assert Box(tmp_path, quantised).precision == "fp32"
    assert read == [{FP32}]


KEY = PlanKey(sha256(b"first"), "10.3", "sm_87", "fp16", 1)


@pytest.fixture
def pruned() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def released(tmp_path: Path, pruned: list[tuple[int, int]]) -> Released:
    """Two releases in its slots, and a plan of each model."""
    center, clock = Authority(Standing()), Standing()
    made = Released(
        tmp_path, {}, Inference(), clock, print, Limits(), Reference(Inference()), lambda *told: pruned.append(told)
    )
    contents = []
    for slot, model in enumerate((b"first", b"second")):
        release = center.propose(model=model)
        content = Content(release.counter, release.manifest, release.length, release.package, Phase.PROVEN)
        fill(made.device.store, slot, content, center, clock)
        Plans(tmp_path / PLANS).put(replace(KEY, model_sha256=sha256(model)), b"plan")
        contents.append(content)
    made.device.slots = Slots((contents[0], contents[1]), active=0)
    return made


def there(released: Released) -> list[list[str]]:
    store = released.device.store
    return [sorted(path.name for path in store.package(slot).iterdir()) for slot in (0, 1)]


def test_what_the_slots_hold_stays(released, pruned):
    released._prune()
    assert there(released) == [["model"], ["model"]]
    assert Plans(released._plans.folder).get(KEY) == b"plan"
    assert pruned == []


def test_a_release_that_was_given_up_goes_with_its_plan_after_it_was_written_down(released, pruned, tmp_path):
    slots = released.device.slots
    released.device.slots = slots.with_content(1, None)
    released._prune()
    assert there(released) == [["model"], []]
    assert released.device.store.is_whole(0, slots.contents[0])
    assert not released.device.store.manifest_file(1).exists()
    assert [path.name for path in (tmp_path / PLANS).iterdir()] == [KEY.name]
    assert [number for number, _ in pruned] == [3]
    released._prune()
    assert len(pruned) == 1


def test_what_cannot_be_written_down_stays(released):
    def full(number: int, size: int) -> None:
        raise StoreError("the disk is full")

    released._pruned = full
    released.device.slots = released.device.slots.with_content(1, None)
    for _ in range(2):
        with pytest.raises(StoreError):
            released._prune()
    assert there(released) == [["model"], ["model"]]


def test_what_leads_nowhere_in_a_slot_that_was_given_up_goes_too(released, pruned):
    released.device.slots = released.device.slots.with_content(1, None)
    (released.device.store.package(1) / "gone").symlink_to("/nowhere")
    released._prune()
    assert there(released) == [["model"], []]
