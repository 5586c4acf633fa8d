"""What both services do beside their work: stop when asked, tell systemd, answer /healthz, /readyz and /metrics."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from fedmed.clock import Clock
from fedmed.operation.draining import Stage, State, Stopping
from fedmed.operation.health import HealthServer, Probes, Pulse
from fedmed.operation.metrics import Metrics
from fedmed.operation.notifying import Notifier

LOOK_S = 1.0
DRAINING = "coming to an end; once more ends it at once, and nothing is lost either way"


@dataclass(frozen=True)
class Duty:
    """What a service is asked."""

    turn: Callable[[], None]
    """Once a second: look after everything, and write how it stands."""
    drain: Callable[[], None]
    """Begin nothing more; called once."""
    is_idle: Callable[[], bool]
    """Whether what was begun has come to its end."""
    unready: Callable[[], list[str]]
    """Each reason why it does not do its work."""
    metrics: Metrics


class Keeper:
    """Keeps a service's main loop, from `with` to its end; in the main thread, since it takes signals."""

    def __init__(self, duty: Duty, health: str | None, clock: Clock, tell: Callable[[str], None]) -> None:
        """`health`: where to answer, None for nowhere. Raises ConfigError for the environment that systemd gave."""
        self._duty, self._health, self._tell = duty, health, tell
        self._notifier, self._pulse = Notifier.of(os.environ, clock), Pulse(clock)
        self.stopping = Stopping(clock, changed=self._changed)
        self._stack = ExitStack()

    def __enter__(self) -> Keeper:
        self._stack.enter_context(self.stopping)
        if self._health is not None:
            probes = Probes(self._pulse.fault, self._duty.unready, self._duty.metrics.exposition)
            self._stack.enter_context(HealthServer(self._health, probes))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def keep(self, said: str) -> bool:
        """Go round until the service has come to its end; whether that was forced. `said`: what systemd is told."""
        self._notifier.ready()
        self._notifier.status(said)
        self._tell(said)
        while self.stopping.look(self._duty.is_idle()).stage is not Stage.STOPPED:
            self._duty.turn()
            self._pulse.turned()
            self._notifier.turned()
            self.stopping.wait(LOOK_S)
        return self.stopping.look().forced

    def _changed(self, state: State) -> None:
        if state.stage is Stage.DRAINING:
            self._tell(DRAINING)
            self._notifier.stopping()
            self._duty.drain()
