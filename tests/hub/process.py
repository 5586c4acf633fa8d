"""A clinic's hub as the service that its staff starts: `fedmed clinic hub up` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedmed.clock import SystemClock
from fedmed.config.roles import HUB_FILE, load_role, written
from fedmed.config.roles import Hub as Config
from fedmed.hub.folder import HubFolder, make_hub, open_hub
from fedmed.hub.joining import DeviceFolder, join, open_device
from fedmed.hub.tls import SUITES
from fedmed.store.standing import is_serving, read_status
from tests.center.federation import federation
from tests.hub.clinic import free_port


class Service:
    """The clinic `north` below `path`, and its hub."""

    def __init__(self, path: Path) -> None:
        with federation(path) as up:
            self.path = up.joined("north").path
        made = make_hub(self.path, Config(clinic="north", listen="127.0.0.1"), SystemClock())
        self.rules(made, port=free_port(), enrolment_port=free_port())
        self.hub = open_hub(self.path, SystemClock())
        self.process: subprocess.Popen[bytes] | None = None

    def rules(self, hub: HubFolder, **changed: object) -> None:
        config = load_role(hub.path / HUB_FILE, Config).model_copy(update=changed)
        (hub.path / HUB_FILE).write_bytes(written(config))

    def start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != SUITES}
        command = [sys.executable, "-m", "fedmed", "clinic", "hub", "up", "--at", str(self.path)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        while not self._is_up():
            assert self.process.poll() is None, self.process.stderr.read().decode()
            assert time.monotonic() < until
            time.sleep(0.05)

    def _is_up(self) -> bool:
        return is_serving(self.hub.path) and read_status(self.hub.path).get("pid") == self.process.pid

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, how: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process.stderr.close()
        self.process = None
        return code

    def joined(self, name: str, path: Path) -> DeviceFolder:
        code = self.hub.invite(name).text()
        join(code, "127.0.0.1", self.hub.config.enrolment_port, path, SystemClock())
        return open_device(path, SystemClock())


@contextmanager
def service(path: Path) -> Iterator[Service]:
    """The hub, up, until the end of the block."""
    found = Service(path)
    found.start()
    try:
        yield found
    finally:
        if found.process is not None:
            found.end()
