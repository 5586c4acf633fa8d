"""The agent's machine in threads: one a lane, one for heartbeats, one for training, and one that turns events into work.

The machine alone decides; what is here carries instructions out and says what came of them. Work that is done was written
down in the spool before it is said, so that a kill at any moment repeats a step at most, and its results are taken once.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol

from fedmed.clock import Clock
from fedmed.edge.machine import (
    Beat,
    Defer,
    Done,
    Event,
    Failed,
    Found,
    Halt,
    Heard,
    Instruction,
    Lane,
    Look,
    Say,
    State,
    Ticked,
    Train,
    Trained,
    Unheard,
    Work,
    step,
)
from fedmed.operation.watching import watched

TICK_S = 0.5


class Hands(Protocol):
    """What the machine has done by others; each method blocks, and may be called from a thread of its own."""

    def look(self, lane: Lane) -> Found | Failed:
        """The spool's next entry for a lane."""

    def work(self, lane: Lane, number: int) -> Done | Failed:
        """Work on an entry, to its end; what can never be done is out of the way then, where people find it."""

    def defer(self, number: int, seconds: float, why: str) -> None:
        """Put an entry off for so long."""

    def beat(self) -> tuple[Heard | Unheard, tuple[Event, ...]]:
        """A heartbeat, and what the hub wants."""

    def train(self, task: str, halt: threading.Event) -> Trained:
        """Train until it is over, or to the next checkpoint after `halt` is set."""

    def say(self, text: str) -> None:
        """Tell staff."""


class Running:
    """From `start` to `stop`; any thread may `tell` it of an event."""

    def __init__(self, hands: Hands, clock: Clock, failed: Callable[[str, str], None]) -> None:
        """`failed` hears the name of a thread that something ended which no hand should raise, and what that is
        (`threading.excepthook` is told all of it); the process is to end then, and its next one goes on.
        """
        self._hands, self._clock = hands, clock
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._stop, self._halt = threading.Event(), threading.Event()
        self._jobs: dict[str, queue.SimpleQueue[Callable[[], None] | None]] = {
            name: queue.SimpleQueue() for name in (*(lane.value for lane in Lane), "beat", "train")
        }
        self._threads = [watched("agent", self._turn, failed)]
        self._threads += [watched(name, partial(self._serve, name), failed) for name in self._jobs]
        self.state = State()

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def tell(self, event: Event) -> None:
        """Something happened."""
        self._events.put(event)

    def stop(self, patience_s: float) -> bool:
        """Begin nothing more, and wait for what is under way; whether it all ended in time."""
        self._stop.set()
        self._halt.set()
        for jobs in self._jobs.values():
            jobs.put(None)
        end = self._clock.now() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, end - self._clock.now()))
        return not any(thread.is_alive() for thread in self._threads)

    def _turn(self) -> None:
        event: Event = Ticked()
        while not self._stop.is_set():
            self.state, instructions = step(self.state, event, self._clock.now())
            for each in instructions:
                self._carry_out(each)
            try:
                event = self._events.get(timeout=TICK_S)
            except queue.Empty:
                event = Ticked()

    def _carry_out(self, instruction: Instruction) -> None:
        hands = self._hands
        match instruction:
            case Look(lane):
                self._jobs[lane.value].put(lambda: self.tell(hands.look(lane)))
            case Work(lane, number):
                self._jobs[lane.value].put(lambda: self.tell(hands.work(lane, number)))
            case Defer(number, until, why):
                hands.defer(number, max(0.0, until - self._clock.now()), why)
            case Beat():
                self._jobs["beat"].put(self._beat)
            case Train(task):
                self._halt.clear()
                self._jobs["train"].put(lambda: self.tell(hands.train(task, self._halt)))
            case Halt():
                self._halt.set()
            case Say(text):
                hands.say(text)

    def _beat(self) -> None:
        heard, orders = self._hands.beat()
        for event in (*orders, heard):
            self.tell(event)

    def _serve(self, name: str) -> None:
        while (job := self._jobs[name].get()) is not None and not self._stop.is_set():
            job()
