from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.config.edge import Inference
from fedmed.edge.released import PLANS, Released
from fedmed.errors import StoreError
from fedmed.releases.installing import fill
from fedmed.releases.slots import Content, Limits, Phase, Slots
from fedmed.serving.engines.plans import PlanKey, Plans
from fedmed.wire.tensors import sha256
from tests.releases.simulator import Authority, Standing

KEY = PlanKey(sha256(b"first"), "10.3", "sm_87", "fp16", 1)


@pytest.fixture
def pruned() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def released(tmp_path: Path, pruned: list[tuple[int, int]]) -> Released:
    """Two releases in its slots, and a plan of each model."""
    center, clock = Authority(Standing()), Standing()
    made = Released(tmp_path, {}, Inference(), clock, print, Limits(), lambda *told: pruned.append(told))
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
