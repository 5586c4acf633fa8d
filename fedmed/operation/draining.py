"""How a service stops: what was begun is ended, nothing is begun. A second signal, or the deadline, stops it at once.

A pure machine, `step`, and `Stopping`, which feeds it with signals.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from types import FrameType, TracebackType

from fedmed.clock import Clock

DRAIN_S = 90.0
"""How long what was begun may take; less than TimeoutStopSec in the units."""


class Stage(str, Enum):
    """Where a service is."""

    RUNNING = "running"
    DRAINING = "draining"
    """Nothing new is begun."""
    STOPPED = "stopped"
    """Whatever is under way is given up; on disk it is as a crash would leave it."""


class Event(str, Enum):
    """What happens to it."""

    ASKED = "asked to stop"
    """SIGTERM or SIGINT."""
    IDLE = "nothing is under way"
    TICK = "time passes"


@dataclass(frozen=True)
class State:
    """Stage, and until when draining may take."""

    stage: Stage = Stage.RUNNING
    deadline: float | None = None
    """Seconds on the clock's monotonic scale."""
    forced: bool = False
    """Whether something under way was given up."""


def step(state: State, event: Event, now: float, drain_s: float = DRAIN_S) -> State:
    """The state after an event at `now` (seconds, monotonic). A stopped service stays so."""
    if state.stage is Stage.STOPPED:
        return state
    if event is Event.ASKED:
        if state.stage is Stage.RUNNING:
            return State(Stage.DRAINING, now + drain_s)
        return replace(state, stage=Stage.STOPPED, forced=True)
    if state.stage is Stage.DRAINING:
        if event is Event.IDLE:
            return replace(state, stage=Stage.STOPPED)
        if state.deadline is not None and now >= state.deadline:
            return replace(state, stage=Stage.STOPPED, forced=True)
    return state


class Stopping:
    """Takes SIGTERM, SIGINT and SIGHUP from `with` to its end, in the main thread; the loop asks it where it is."""

    def __init__(self, clock: Clock, drain_s: float = DRAIN_S, changed: Callable[[State], None] = lambda _: None) -> None:
        """`changed` hears of each new stage, from the loop's own thread."""
        self._clock, self._drain_s, self._changed = clock, drain_s, changed
        self._state = State()
        self._asked, self._seen, self._reload = 0, 0, False
        self._woken = threading.Event()
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Stopping:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def look(self, idle: bool = False) -> State:
        """The state now, `idle` where nothing is under way. The loop asks this each time round."""
        while self._seen < self._asked:
            self._seen += 1
            self._go(Event.ASKED)
        self._go(Event.IDLE if idle else Event.TICK)
        return self._state

    def wait(self, seconds: float) -> None:
        """Sleep, but not through a signal."""
        self._woken.wait(seconds)
        self._woken.clear()

    def ask(self) -> None:
        """As a signal would, from any thread: a remote command, a fault that no next round mends."""
        self._asked += 1
        self._woken.set()

    def reload(self) -> bool:
        """Whether SIGHUP came since this was asked last."""
        came, self._reload = self._reload, False
        return came

    def _take(self, number: int, _: FrameType | None) -> None:
        # A handler runs between two instructions of the main thread: it counts, and decides nothing.
        if number == signal.SIGHUP:
            self._reload = True
            self._woken.set()
        else:
            self.ask()

    def _go(self, event: Event) -> None:
        before = self._state
        self._state = step(before, event, self._clock.now(), self._drain_s)
        if self._state.stage is not before.stage:
            self._changed(self._state)
