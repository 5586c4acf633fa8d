"""Judges how fast a line is."""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.operation.doctor.finding import Finding, ok, warn
from fedmed.report.formats import duration
from fedmed.wire.visible import visible

SLOW = 500e3
"""Octets per second, 4 Mbit/s: what a small practice has."""


@dataclass(frozen=True)
class Speed:
    """Octets per second each way, and seconds of a small question and its answer."""

    down: float
    up: float
    trip_s: float


def judged(found: Speed | str, again: str, slow: str) -> Finding:
    """Both ways; `again` is to be done where nothing was measured, `slow` where a small practice has more."""
    allowed = f"{_rate(SLOW)} and more each way"
    if isinstance(found, str):
        return warn("speed", f"not measured ({visible(found)})", allowed, again)
    got = f"{_rate(found.down)} down, {_rate(found.up)} up, {duration(found.trip_s)} there and back"
    return warn("speed", got, allowed, slow) if min(found.down, found.up) < SLOW else ok("speed", got, allowed)


def _rate(octets: float) -> str:
    return f"{octets * 8 / 1e6:.3g} Mbit/s" if octets < 125e6 else f"{octets * 8 / 1e9:.3g} Gbit/s"
