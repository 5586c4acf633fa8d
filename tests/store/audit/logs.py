"""Audit logs as nodes write them, small ones."""

from __future__ import annotations

from pathlib import Path

from fedmed.store.audit.event import Event, event
from fedmed.store.audit.log import AuditLog, Cut
from fedmed.store.disk import Disk
from tests.identity.logs import CENTER
from tests.identity.parties import NOW, Standing

DAY = 86_400.0


def happened(number: int, unix: float | None = None) -> Event:
    return event(
        NOW + number if unix is None else unix,
        "north",
        "site",
        "round.send",
        "run thorax",
        ("done", "refused")[number % 2],
        reason="" if number % 2 == 0 else "the quorum is below 3",
        round=number,
        bytes=1000 + number,
        digest=f"{number:064x}",
    )


def log_in(
    folder: Path, events: int = 0, most: int = 50_000, clock: Standing | None = None, disk: Disk | None = None
) -> AuditLog:
    """A log with events one by one, cut at `most`."""
    log = AuditLog.make(folder, "center", CENTER, clock or Standing(), Cut(most), disk)
    for number in range(log.size, log.size + events):
        log.append(happened(number))
    return log
