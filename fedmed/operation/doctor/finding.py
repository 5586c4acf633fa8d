"""What a check found, and the exit code that all findings come to.

    0    all is as it must be; what is not needed here may have been skipped
    2    the configuration is missing or wrong
    10   warnings only: it will work, slower or with less room than is good
    11   network: name, connection, large packets; of a device also the PACS
    12   trust: TLS, authority, certificate, clock
    13   machine: disk, memory, descriptors, confinement, kernels; of a device also packages, doors, spool and model
    14   a check itself broke

Where several checks failed, the first one decides: it is to be mended first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

WARNED, BROKEN = 10, 14
CODES = {
    **dict.fromkeys(("configuration",), 2),
    **dict.fromkeys(("name", "connection", "packets", "speed", "pacs"), 11),
    **dict.fromkeys(("tls", "authority", "certificate", "answer", "clock"), 12),
    **dict.fromkeys(("room", "writing", "memory", "descriptors", "confinement", "gpu", "gpu masks", "vector AES"), 13),
    **dict.fromkeys(("python", "packages", "scanner port", "stow port", "folder", "spool", "keys", "model"), 13),
}
"""Exit code of each check that fails."""


class Status(str, Enum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One check's end, in words for people."""

    check: str
    status: Status
    got: str
    allowed: str = ""
    todo: str = ""
    is_broken: bool = False
    """The check itself broke, which says nothing about what it looked at."""


def ok(check: str, got: str, allowed: str = "") -> Finding:
    """As it must be."""
    return Finding(check, Status.OK, got, allowed)


def warn(check: str, got: str, allowed: str, todo: str) -> Finding:
    """It will work, not well."""
    return Finding(check, Status.WARN, got, allowed, todo)


def fail(check: str, got: str, allowed: str, todo: str) -> Finding:
    """It will not work."""
    return Finding(check, Status.FAIL, got, allowed, todo)


def skipped(check: str, why: str) -> Finding:
    """Not looked at."""
    return Finding(check, Status.SKIPPED, why)


def exit_code(findings: Sequence[Finding]) -> int:
    """As the table above says."""
    for found in findings:
        if found.status is Status.FAIL:
            return BROKEN if found.is_broken else CODES.get(found.check, BROKEN)
    return WARNED if any(found.status is Status.WARN for found in findings) else 0
