"""What a service tells systemd (sd_notify(3)): ready, what it does, that it lives, that it stops. Silent without systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from fedmed.clock import Clock
from fedmed.errors import ConfigError
from fedmed.wire.visible import visible

SOCKET, WATCHDOG_USEC, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
_MOST_STATUS = 500


class Notifier:
    """Sends datagrams to the service manager; a manager that does not listen is no fault of the service."""

    def __init__(self, address: str, clock: Clock, watchdog_s: float | None = None) -> None:
        """`address` as in $NOTIFY_SOCKET, empty for nobody; `watchdog_s` after which systemd kills a silent service."""
        self._address, self._clock, self.watchdog_s = address, clock, watchdog_s
        self._fed: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str], clock: Clock) -> Notifier:
        """As systemd set this process' environment. Raises ConfigError for a watchdog's time that is no number."""
        return cls(environment.get(SOCKET, ""), clock, _watchdog_s(environment))

    def ready(self) -> None:
        """The service serves."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """What it does, for `systemctl status`, in one line."""
        self._send(f"STATUS={visible(text)[:_MOST_STATUS]}")

    def stopping(self) -> None:
        """It ends."""
        self._send("STOPPING=1")

    def reloading(self) -> None:
        """It reads its configuration anew; `ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.now() * 1e6)}")

    def extend(self, seconds: float) -> None:
        """Starting or stopping takes `seconds` more."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def turned(self) -> None:
        """The main loop went round: feeds the watchdog, three times as often as it asks. Call it there and nowhere else."""
        now = self._clock.now()
        if self.watchdog_s is None or (self._fed is not None and now - self._fed < self.watchdog_s / 3):
            return
        self._fed = now
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
                channel.sendto(message.encode(), address)
        except OSError:
            return  # nothing depends on it but the manager, and that misses it by itself


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    said, pid = environment.get(WATCHDOG_USEC), environment.get(WATCHDOG_PID)
    if said is None or (pid is not None and pid != str(os.getpid())):
        return None
    if not said.isdigit() or int(said) == 0:
        raise ConfigError(
            f"{WATCHDOG_USEC} is {said[:40]!r}; systemd writes microseconds there. See WatchdogSec in the unit"
        )
    return int(said) / 1e6
