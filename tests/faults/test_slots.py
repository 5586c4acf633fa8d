"""A device's power is cut at any call that changes its disk while a release comes in: a slot runs, always."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.releases.channel import State
from tests.releases.simulator import GOOD, Box, World
from tests.store.power import KEEPS, Crash, Power

ROOT = Path(__file__).resolve().parents[2]
BEATS = 5


def folders(folder: Path) -> list[Path]:
    return [folder / "slots" / name for name in ("state", "slot-0", "slot-1")] + [folder / "anchor"]


def restored(world: World, image: Path, began: float) -> Path:
    shutil.rmtree(world.box.folder)
    shutil.copytree(image, world.box.folder)
    world.clock.at = began
    return world.box.folder


def lives(world: World, power: Power) -> bool:
    """Whether the device came through without a crash."""
    try:
        Box(world, world.box.folder, power).live(BEATS)
    except Crash:
        return False
    return True


@pytest.fixture
def case(tmp_path) -> tuple[World, Path, float, int]:
    """A device with a first release, the next one at hand, its folder, the time, and how many calls that takes."""
    world = World(tmp_path)
    world.box.device.stop()
    world.release(model=GOOD, golden=b"in and out" * 100)
    image = shutil.copytree(world.box.folder, tmp_path / "image")
    began = world.clock.at
    power = Power(*folders(world.box.folder))
    assert lives(world, power)
    return world, image, began, power.calls


EVERY_CUT = [pytest.param(1, shift, marks=pytest.mark.nightly) for shift in range(4)]


@pytest.mark.parametrize(("step", "shift"), [(3, 0), *EVERY_CUT])  # a third of them in the suite, with all that disks keep
def test_a_power_cut_at_any_write(case, step, shift):
    world, image, began, calls = case
    assert calls > 60
    for fails_at in range(0, calls, step):
        power = Power(*folders(restored(world, image, began)), fails_at=fails_at, torn=True)
        assert not lives(world, power)
        power.lose(KEEPS[(fails_at + shift) % len(KEEPS)])
        after = Box(world, world.box.folder)
        assert after.running in (b"first", GOOD), fails_at
        assert after.running == after.model(after.device.slots.running)
        assert after.device.store.damaged(after.device.slots) == frozenset()
        counter = after.device.store.anchor().counter
        assert counter >= (2 if after.active == GOOD else 1)
        assert after.live(BEATS).active == GOOD, (fails_at, after.refused, after.told)


def test_a_disk_that_refuses_any_write_leaves_what_runs(case):
    world, image, began, calls = case
    for fails_at in range(0, calls, 6):
        power = Power(*folders(restored(world, image, began)), fails_at=fails_at, fault=OSError)
        with pytest.raises(StoreError, match="No space left"):
            Box(world, world.box.folder, power).live(BEATS)
        after = Box(world, world.box.folder)
        assert after.running in (b"first", GOOD)
        assert after.live(BEATS).active == GOOD


WORK = """
import sys
from pathlib import Path
from fedmed.releases.device import Device, Hands
from fedmed.releases.fetching import FolderFetcher
from fedmed.releases.slots import Evidence, Limits
from fedmed.releases.slotstore import SlotStore
from tests.identity.parties import Standing
here, served = Path(sys.argv[1]), Path(sys.argv[2])
fetchers = {name: FolderFetcher(served / name) for name in ("federation", "clinic")}
run = lambda package: print("runs", (package / "model").read_bytes()[:1].decode() if package else "none", flush=True)
hands = Hands(lambda package: "", run, lambda package: None, lambda told: None)
store = SlotStore(here / "slots", here / "anchor" / "anchor.json")
device = Device(store, fetchers, Standing(), hands, Limits(window_s=1.0, least_results=1, crashes=1000))
device.boot()
for _ in range(4):
    device.beat()
    if device.slots.trial is not None:
        device.observe(device.slots.trial, Evidence(1.0, 5))
print("active", device.slots.contents[device.slots.active].counter, flush=True)
device.stop()
"""


def write(world: World, served: Path) -> None:
    for name, authority in (("federation", world.federation), ("clinic", world.clinic)):
        for file, data in authority.files.items():
            path = served / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def test_killed_at_any_moment_on_the_real_disk(tmp_path):
    world = World(tmp_path)
    world.box.device.stop()
    new = world.release(State.ACTIVE, model=b"second" + bytes(3_000_000))
    write(world, tmp_path / "served")
    command = [sys.executable, "-c", WORK, str(world.box.folder), str(tmp_path / "served")]
    environment, draw = {**os.environ, "PYTHONPATH": str(ROOT)}, random.Random(1)
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        assert process.stdout.readline() in ("runs f\n", "runs s\n")
        time.sleep(draw.uniform(0.0, 0.25))
        process.kill()
        said = process.communicate()[0]
        assert "none" not in said
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == f"active {new.counter}"
