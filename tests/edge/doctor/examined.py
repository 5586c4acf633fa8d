"""A device, examined by some of its checks."""

from __future__ import annotations

from pathlib import Path

from fedmed.clock import Clock, SystemClock
from fedmed.config.edge import EDGE_FILE
from fedmed.config.roles import written
from fedmed.edge.doctor.configuration import Asked
from fedmed.edge.doctor.examination import checks
from fedmed.edge.folder import open_edge
from fedmed.operation.doctor.finding import Finding
from fedmed.operation.doctor.running import Seen, examine

LINE = ("name", "connection", "tls", "authority", "certificate", "answer", "clock", "speed")


def examined(asked: Asked, *only: str, clock: Clock | None = None) -> dict[str, Finding]:
    """Findings by check; `configuration` always."""
    clock = clock or SystemClock()
    chosen = [each for each in checks(asked, clock) if each.name in ("configuration", *only)]
    return {each.check: each for each in examine(chosen, clock, lambda *_: None, Seen())}


def changed(at: Path, /, **settings: object) -> Asked:
    """The device with another configuration."""
    config = open_edge(at, SystemClock()).config
    (at / EDGE_FILE).write_bytes(written(config.model_copy(update=settings)))
    return Asked(at)
