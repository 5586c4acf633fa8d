from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

import pytest

from fedmed.clock import SystemClock
from fedmed.edge.machine import Done, Event, Failed, Found, Heard, Kept, Lane, Task, Trained, Unheard
from fedmed.edge.running import Running


@dataclass
class Kitchen:
    """Hands that a test looks over the shoulder of."""

    waiting: dict[Lane, deque[int]] = field(default_factory=lambda: {lane: deque() for lane in Lane})
    did: list[str] = field(default_factory=list)
    orders: tuple[Event, ...] = ()
    lasting: frozenset[int] = frozenset()
    begun: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    halted: threading.Event = field(default_factory=threading.Event)

    def look(self, lane: Lane) -> Found | Failed:
        return Found(lane, self.waiting[lane][0] if self.waiting[lane] else None)

    def work(self, lane: Lane, number: int) -> Done | Failed:
        if number == 13:
            raise ZeroDivisionError
        if number == 99:
            self.begun.set()
            self.held.wait(60)
        if number in self.lasting:
            self.waiting[Lane.WORK].remove(number)
            return Failed(lane, number, "no image", is_lasting=True)
        self.did.append(f"{lane.value} {number}")
        self.waiting[lane].popleft()
        return Done(lane)

    def defer(self, number: int, seconds: float, why: str) -> None:
        self.did.append(f"deferred {number}")

    def beat(self) -> tuple[Heard | Unheard, tuple[Event, ...]]:
        return Heard(), self.orders

    def train(self, task: str, halt: threading.Event) -> Trained:
        self.did.append(f"train {task}")
        halt.wait(60)
        self.halted.set()
        return Trained(is_over=False)

    def say(self, text: str) -> None:
        self.did.append(text)


def until(is_so) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_lanes_go_on_beside_each_other_and_set_aside_what_can_never_work():
    hands, failed = Kitchen(lasting=frozenset({2})), list[tuple[str, str]]()
    hands.waiting[Lane.WORK].extend([99, 1, 2, 3])
    hands.waiting[Lane.PACS].append(5)
    hands.waiting[Lane.HUB].append(6)
    running = Running(hands, SystemClock(), lambda *said: failed.append(said))
    running.start()
    until(lambda: {"pacs 5", "hub 6"} <= set(hands.did))  # while 99 is worked on
    assert "work 1" not in hands.did
    hands.held.set()
    until(lambda: "work 3" in hands.did)
    assert "no image" in hands.did
    hands.waiting[Lane.WORK].append(4)
    running.tell(Kept("instance"))
    until(lambda: "work 4" in hands.did)
    assert running.stop(60)
    assert failed == []


def test_training_that_the_hub_orders_is_halted_when_the_agent_ends():
    hands = Kitchen(orders=(Task("round-1"),))
    running = Running(hands, SystemClock(), lambda *_: None)
    running.start()
    until(lambda: "train round-1" in hands.did)
    assert running.stop(60)
    assert hands.halted.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_no_hand_should_raise_is_told_with_the_threads_name():
    hands, failed = Kitchen(), list[tuple[str, str]]()
    hands.waiting[Lane.PACS].append(13)
    running = Running(hands, SystemClock(), lambda *said: failed.append(said))
    running.start()
    until(lambda: failed)
    assert failed == [("pacs", "ZeroDivisionError")]
    assert running.stop(60)


def test_work_that_does_not_end_in_time_is_given_up():
    hands = Kitchen()
    hands.waiting[Lane.WORK].append(99)
    running = Running(hands, SystemClock(), lambda *_: None)
    running.start()
    assert hands.begun.wait(60)
    assert not running.stop(0.3)
    hands.held.set()
