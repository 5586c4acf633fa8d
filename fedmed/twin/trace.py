"""What happened in virtual time: one line of canonical JSON an event, the same bytes for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedmed.wire.canonical import canonical

Trace = Callable[[float, str, dict[str, Any]], None]
"""Told of a moment, what happened then, and what belongs to it."""


def lines(write: Callable[[bytes], object]) -> Trace:
    """A trace that writes a line for each event: `at` in seconds to the microsecond, and `event`."""

    def told(at: float, event: str, about: dict[str, Any]) -> None:
        write(canonical({"at": round(at, 6), "event": event, **about}) + b"\n")

    return told
