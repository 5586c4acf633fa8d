"""`fedmed center up` and `fedmed clinic up`: a service in the foreground, ended by a signal."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fedmed.clock import SystemClock
from fedmed.operation.settling import refuse_unsettled
from fedmed.wire.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.clinic.daemon import Daemon
    from fedmed.flower.guard import Call

Tell = Callable[[str], None]


def center_up(path: Path, as_json: bool) -> None:
    """Serve a center's folder. Raises ConfigError, KeyRefused, StoreError for what is not in order."""
    from fedmed.center.folder import open_center
    from fedmed.center.service import Service

    tell = _teller(as_json)
    refuse_unsettled(path)
    service = Service(open_center(path, SystemClock()), tell)
    config = service.folder.config
    with _until_told(service.stop, tell):
        service.serve(lambda: tell(f"{config.federation} is up at {config.host}:{service.engine.listener.port}"))


def clinic_up(path: Path, calls_for: Callable[[Daemon], Mapping[str, Call]], as_json: bool) -> None:
    """Serve a clinic's folder. Raises ConfigError, KeyRefused, PinRefused, StoreError for what is not in order."""
    from fedmed.clinic.daemon import Daemon
    from fedmed.clinic.folder import open_clinic

    tell = _teller(as_json)
    refuse_unsettled(path)
    daemon = Daemon(open_clinic(path, SystemClock()), calls_for, tell)
    config = daemon.folder.config
    with _until_told(daemon.stop, tell):
        daemon.serve(lambda: tell(f"{config.name} is up, for {config.federation} at {config.host}:{config.port}"))


def _teller(as_json: bool) -> Tell:
    """A line for each thing said, with its time in UTC."""
    lock = threading.Lock()

    def tell(text: str) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        line = json.dumps({"time": now, "text": text}) if as_json else f"{now} {visible(text)}"
        with lock:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    return tell


def _until_told(stop: threading.Event, tell: Tell) -> ExitStack:
    """The first SIGTERM or Ctrl-C asks the service to come to an end; the second ends it where it stands."""
    stack = ExitStack()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        tell(f"{signal.Signals(number).name}: coming to an end; once more ends it at once, and nothing is lost either way")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        before: Any = signal.signal(number, on_signal)
        stack.callback(signal.signal, number, before)
    return stack
