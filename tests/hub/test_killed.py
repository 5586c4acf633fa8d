from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedmed.hub.landing import RECEIPTS
from fedmed.hub.receipts import Receipts
from tests.hub.process import Service, service

ROOT = Path(__file__).resolve().parents[2]
MB = 1 << 20


@pytest.fixture
def place(tmp_path):
    with service(tmp_path) as found:
        yield found


def studies(path: Path) -> dict[str, bytes]:
    """Files on both sides of a message's size."""
    path.mkdir()
    chance = random.Random(11)
    held = {}
    for number in range(16):
        content = chance.randbytes(chance.choice((5_000, 300_000, 2 * MB + 7, 4 * MB)))
        (path / f"{number:02d}").write_bytes(content)
        held[f"{number:02d}"] = content
    return held


def uploader(device: Path, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.hub.uploader", str(device), str(folder)], env=environment, cwd=ROOT
    )


def arrived(place: Service) -> list[bytes]:
    folder = place.hub.path / "studies" / "echo"
    return [path.read_bytes() for path in folder.glob("*") if path.suffix != ".json" and not path.name.startswith(".")]


def wait_for_some(place: Service, count: int) -> None:
    until = time.monotonic() + 60
    while len(arrived(place)) < count and time.monotonic() < until:
        time.sleep(0.005)
    assert len(arrived(place)) >= count


def test_killing_the_hub_and_the_device_in_turn_loses_nothing_and_doubles_nothing(place, tmp_path):
    held = studies(tmp_path / "studies")
    device = place.joined("echo", tmp_path / "device")
    sending = uploader(device.path, tmp_path / "studies")
    wait_for_some(place, 2)
    place.kill()
    time.sleep(0.1)
    assert sending.poll() is None  # it waits for its hub
    place.start()
    wait_for_some(place, 5)
    sending.kill()
    sending.wait(30)
    last = uploader(device.path, tmp_path / "studies")
    assert last.wait(120) == 0
    assert sorted(arrived(place)) == sorted(held.values())
    assert Receipts(place.hub.path / RECEIPTS).count() == len(held)
