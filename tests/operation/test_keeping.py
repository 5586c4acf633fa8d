from __future__ import annotations

import os
import signal
import threading
import urllib.request

import pytest

from fedmed.clock import SystemClock
from fedmed.operation import keeping
from fedmed.operation.keeping import Duty, Keeper
from fedmed.operation.metrics import CENTER, Metrics, Reading
from tests.system.hospitals import free_port


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LOOK_S", 0.02)


class Service:
    def __init__(self, ends_after: int) -> None:
        self.turns, self.is_draining, self.ends_after = 0, False, ends_after

    def turn(self) -> None:
        self.turns += 1
        if self.turns == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        if self.is_draining:
            self.ends_after -= 1

    def drain(self) -> None:
        self.is_draining = True

    def duty(self) -> Duty:
        idle = lambda: self.is_draining and self.ends_after <= 0  # noqa: E731
        return Duty(self.turn, self.drain, idle, lambda: ["not yet"], Metrics(CENTER, Reading))


def test_it_goes_round_until_asked_and_then_until_nothing_is_under_way():
    service, told = Service(5), list[str]()
    with Keeper(service.duty(), None, SystemClock(), told.append) as keeper:
        assert not keeper.keep("it is up")
    assert service.is_draining
    assert service.ends_after == 0
    assert told == ["it is up", keeping.DRAINING]


def test_a_second_signal_ends_it_with_work_under_way():
    service = Service(10**9)
    twice = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    twice.start()
    with Keeper(service.duty(), None, SystemClock(), lambda text: None) as keeper:
        assert keeper.keep("it is up")
    twice.join()


def test_it_answers_about_itself_meanwhile():
    service, port, seen = Service(0), free_port(), dict[str, bytes]()

    def look() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            seen["health"] = answer.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            seen["metrics"] = answer.read()

    service.turn = lambda: (look(), os.kill(os.getpid(), signal.SIGTERM))  # type: ignore[method-assign,assignment]
    with Keeper(service.duty(), f"127.0.0.1:{port}", SystemClock(), lambda text: None) as keeper:
        keeper.keep("it is up")
    assert b"fedmed_ready" in seen["metrics"]
    assert seen["health"]
