"""All checks in their order: what a fault of one makes pointless is skipped."""

from __future__ import annotations

from fedmed.clock import Clock
from fedmed.edge.doctor import box, doors, model
from fedmed.edge.doctor.configuration import Asked, read
from fedmed.edge.doctor.hub import Line
from fedmed.operation.doctor.finding import Finding
from fedmed.operation.doctor.running import Check, Seen

TOTAL_S = 60.0
"""All checks together."""


def checks(asked: Asked, clock: Clock) -> tuple[Check, ...]:
    """Of a device, joined or not; the order is that in which faults are best mended."""
    line, known = Line(clock), ("configuration",)

    def configuration(seen: Seen) -> Finding:
        found, subject = read(asked, clock)
        if subject is not None:
            seen["subject"] = subject
        return found

    return (
        Check("configuration", configuration, 5),
        Check("python", box.python, 1),
        Check("packages", box.packages, 10),
        Check("name", line.name, 8, known),
        Check("connection", line.connection, 8, ("name",)),
        Check("tls", line.tls, 20, ("connection",)),
        Check("authority", line.authority, 16, ("tls",)),
        Check("certificate", line.certificate, 1, ("authority",)),
        Check("answer", line.answer, 10, ("certificate",)),
        Check("clock", line.clock, 1, ("certificate",)),
        Check("speed", line.speed, 15, ("answer",)),
        Check("pacs", doors.pacs, 20, known),
        Check("scanner port", doors.scanner_port, 15, known),
        Check("stow port", doors.stow_port, 2, known),
        Check("folder", doors.folder, 5, known),
        Check("room", box.room, 5, known),
        Check("writing", box.Box(clock).writing, 12, ("room",)),
        Check("spool", box.spool, 5, known),
        Check("keys", box.secrets, 5, known),
        Check("memory", box.memory, 2, known),
        Check("sensors", box.sensors, 8, known),
        Check("model", model.model, 40, ("packages", *known)),
    )
