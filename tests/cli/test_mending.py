from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fedmed.cli import mending
from fedmed.edge import standing
from fedmed.store.standing import serving as being_up
from tests.edge.device import Device, device_of
from tests.edge.test_wellbeing import Box
from tests.hub.clinic import serving


@pytest.fixture
def device(tmp_path) -> Iterator[Device]:
    with serving(tmp_path) as place:
        yield device_of(place, "us-1")


@contextmanager
def up(box: Box) -> Iterator[None]:
    """An agent that hears."""
    over = threading.Event()

    def hear() -> None:
        while not over.wait(0.01):
            box.well.hear()

    thread = threading.Thread(target=hear)
    with being_up(box.folder, "the agent"):
        thread.start()
        yield
        over.set()
        thread.join()


def test_staff_is_told_whether_the_card_is_well(device: Device, said):
    box = Box(device.folder, lost=True)
    box.pass_minutes(1)
    with up(box):
        code, _, err = said("edge", "resume", "--seen-to", "gpu0", "--at", device.folder)
        assert (code, "us-1 takes no work, as before: gpu0: gpu reachable is 0" in err) == (4, True)
        assert box.well.isolated
        box.lost = False
        code, out, _ = said("edge", "resume", "--seen-to", "gpu0", "--at", device.folder, "--json")
        assert (code, json.loads(out)) == (0, {"seen_to": "gpu0", "takes_work": True})
        assert not box.well.isolated


def test_of_a_card_that_nothing_was_wrong_with_no_recovery_is_told(device: Device, said):
    with up(Box(device.folder)):
        code, out, _ = said("edge", "resume", "--seen-to", "gpu7", "--at", device.folder)
    assert (code, out) == (0, "us-1 takes work: nothing of gpu7 keeps it from it\n")


def test_an_agent_that_is_not_up_or_cannot_answer_is_named(device: Device, said, monkeypatch):
    code, _, err = said("edge", "resume", "--seen-to", "gpu0", "--at", device.folder)
    assert (code, "is not up" in err) == (2, True)
    monkeypatch.setattr(mending, "WAITS_S", 0.3)
    with being_up(device.folder, "the agent"):
        code, _, err = said("edge", "resume", "--seen-to", "gpu0", "--at", device.folder)
    assert (code, "did not answer" in err) == (2, True)
    assert not (device.folder / standing.SEEN_TO).exists()
