from __future__ import annotations

import subprocess
import sys

import pytest

from fedmed.errors import Unreachable
from fedmed.tiers.asking import Devices
from fedmed.tiers.transport import Answer, InMemory
from tests.tiers.clinic import RULES, SCOPE, Hands, clinic, data, model, work

SETS = {f"d{place}": data(place, 50) for place in range(4)}


def test_answers_come_with_their_names_and_the_lost_are_named():
    def gone(request: bytes) -> bytes:
        raise ConnectionError

    there = InMemory({"a": lambda request: request + b"!", "b": gone}, Hands())
    assert list(there.exchange({"a": b"x", "b": b"x", "c": b"x"}, lambda: 2_000)) == [
        Answer("a", b"x!"),
        Answer("b", None, "the device is gone (ConnectionError)"),
        Answer("c", None, "the device is gone (KeyError)"),
    ]


def test_nobody_is_asked_after_the_deadline():
    assert list(InMemory({"a": bytes}, Hands()).exchange({"a": b"x"}, lambda: 1_000)) == []


class Cut:
    """A line that breaks after so many exchanges, the look at who is there among them."""

    def __init__(self, there: InMemory, after: int) -> None:
        self._there, self._left = there, after

    def _count(self) -> None:
        if self._left == 0:
            raise Unreachable("the hub does not answer")
        self._left -= 1

    def devices(self):
        self._count()
        return self._there.devices()

    def exchange(self, requests, until):
        self._count()
        yield from self._there.exchange(requests, until)

    def late(self):
        return self._there.late()


@pytest.mark.parametrize("after", range(7))
def test_a_hub_that_is_gone_costs_the_devices_part_and_no_more(after):
    there = clinic(SETS)
    line = Cut(there.transport, after)
    hub = Devices(line, lambda: there.known, SCOPE, RULES, there.clock, there.told.append)
    gathered = hub.ask(work(model()))
    assert (gathered.parts, gathered.reason) == ((), "the hub does not answer")
    assert there.told == ["the clinic's update goes on without its devices: the hub does not answer"]
    line._left = 100
    assert set(hub.ask(work(model())).joined) == set(SETS), "and the next round is whole"


LIGHT = """
import sys
for name in ("torch", "flwr", "numba", "matplotlib", "scipy", "pandas"):
    sys.modules[name] = None
import fedmed.tiers.asking, fedmed.tiers.taking_part
from tests.tiers.clinic import clinic, data
assert clinic({f"d{place}": data(place, 50) for place in range(3)}).ask().parts
"""


def test_a_light_device_takes_part_without_what_it_has_not_installed():
    subprocess.run([sys.executable, "-c", LIGHT], check=True, timeout=100)
