"""All that looks at a service from outside, in one object: what its main loop tells once each time round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType

from fedmed.clock import Clock
from fedmed.operation.health import HealthServer, Probes, Pulse
from fedmed.operation.metrics import Metrics, Reading
from fedmed.operation.notifying import Notifier


class Attendant:
    """Serves health and metrics, and keeps systemd informed, from `with` to its end."""

    def __init__(
        self,
        role: str,
        address: str | None,
        read: Callable[[], Reading],
        unready: Callable[[], list[str]],
        clock: Clock,
        environment: Mapping[str, str],
    ) -> None:
        """`address` as `health` in the configuration, None for nowhere; `environment` is the process' own.

        `read` and `unready` are called in threads that answer. Raises MissingPart without prometheus-client where there is
        an address, ConfigError for a watchdog's time that is no number.
        """
        self.notifier = Notifier.of(environment, clock)
        self.pulse = Pulse(clock)
        self.metrics = None if address is None else Metrics(role, read)
        self.server: HealthServer | None = None
        if address is not None and self.metrics is not None:
            self.server = HealthServer(address, Probes(self.pulse.fault, unready, self.metrics.exposition))
        self._status, self._clock = "", clock
        self._open = ExitStack()

    def __enter__(self) -> Attendant:
        """Raises ConfigError where the address cannot be had."""
        if self.server is not None:
            self._open.enter_context(self.server)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def ready(self) -> None:
        """The service serves."""
        self.turned()
        self.notifier.ready()

    def turned(self, status: str = "") -> None:
        """The main loop went round; `status` is what the service does, in one line."""
        self.pulse.turned()
        self.notifier.turned()
        if status and status != self._status:
            self._status = status
            self.notifier.status(status)

    def stopping(self, status: str) -> None:
        """It drains: what is under way ends first."""
        self.notifier.stopping()
        self.turned(status)

    def round_ended(self, verdict: str, seconds: float) -> None:
        """As `Metrics.round_ended`."""
        if self.metrics is not None:
            self.metrics.round_ended(verdict, seconds)

    def moved(self, up: int, down: int) -> None:
        """As `Metrics.moved`."""
        if self.metrics is not None:
            self.metrics.moved(up, down)

    def failed(self, error: BaseException) -> None:
        """Something failed, and the service goes on."""
        if self.metrics is not None:
            self.metrics.failed(error, self._clock.unix())
