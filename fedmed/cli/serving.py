"""`fedmed center up` and `fedmed clinic up`: a service in the foreground, ended by a signal."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import typer

from fedmed.clock import SystemClock
from fedmed.operation.settling import refuse_unsettled
from fedmed.wire.visible import visible

GIVEN_UP = 143
"""A second SIGTERM, as shells count signals."""
Tell = Callable[[str], None]


def center_up(path: Path, as_json: bool) -> None:
    """Serve a center's folder. Raises ConfigError, KeyRefused, StoreError for what is not in order."""
    from fedmed.center.folder import open_center
    from fedmed.center.service import Service
    from fedmed.flower.allocation import keep_freed_memory

    keep_freed_memory()
    refuse_unsettled(path)
    _ended(Service(open_center(path, SystemClock()), _teller(as_json)).serve())


def clinic_up(path: Path, as_json: bool) -> None:
    """Serve a clinic's folder. Raises ConfigError, KeyRefused, PinRefused, StoreError for what is not in order."""
    from fedmed.clinic.daemon import Daemon
    from fedmed.clinic.folder import open_clinic

    refuse_unsettled(path)
    _ended(Daemon(open_clinic(path, SystemClock()), _teller(as_json)).serve())


def _ended(forced: bool) -> None:
    if forced:
        raise typer.Exit(GIVEN_UP)


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
