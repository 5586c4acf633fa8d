"""A device without its hub: images come in and leave while its agent is killed and the line cut."""

from __future__ import annotations

import json
import signal
import threading
from collections import defaultdict
from pathlib import Path

from benchmarks.scanner import STUDY, Scanner, number_of
from fedmed.hub.joining import HUB_FILE
from fedmed.hub.messages import MOST_BODY
from tests.edge.device import Device, device_of
from tests.hub.clinic import Place, serving
from tests.system.cable import Cable
from tests.system.hospitals import until

IMAGES, KILLED_AT = 4 * STUDY, 3 * STUDY
MESSAGES = 2
"""Of one device that may be under way at once."""


def behind(cable: Cable, place: Place) -> Device:
    """A device whose hub is at the other end of the cable."""
    device = device_of(place, "us-1")
    known = json.loads((device.folder / HUB_FILE).read_bytes())
    (device.folder / HUB_FILE).write_text(json.dumps({**known, "port": cable.port}))
    return device


def killed(device: Device) -> None:
    device.end(signal.SIGKILL)
    device.start()


def test_nothing_is_lost_nothing_is_there_twice_and_each_study_comes_in_order(tmp_path: Path):
    told = tmp_path / "acknowledged"
    with serving(tmp_path, beat_s=1.0) as place:
        cable = Cable(place.hub.ports.port, cut_after=MOST_BODY)
        cable.is_up.clear()
        device = behind(cable, place)
        device.start()
        try:
            scanner = Scanner(device.port, IMAGES, told)
            sending = threading.Thread(target=scanner.send)
            sending.start()
            until(lambda: told.stat().st_size > 0 and int(told.read_text()) >= KILLED_AT, device.is_running)
            until(lambda: device.status()["leaving"]["entries"] > 0, device.is_running)
            assert place.kept == []
            cable.is_up.set()
            killed(device)  # the next one calls the hub at once, while images come in
            assert cable.was_cut.wait(60)
            cable.is_up.set()
            killed(device)
            sending.join(60)
            until(lambda: len(place.kept) >= IMAGES and device.waiting()["study"] == 0, device.is_running)
        finally:
            device.end(signal.SIGKILL)
            cable.close()
    numbers = [number_of(each.content) for each in place.kept]
    assert sorted(numbers) == list(range(IMAGES))
    studies = defaultdict(list)
    for number in numbers:
        studies[number // STUDY].append(number)
    assert all(found == sorted(found) for found in studies.values())
    objects = sum(len(each.content) for each in place.kept)
    assert cable.sent < 1.1 * objects + MESSAGES * 1.1 * MOST_BODY
