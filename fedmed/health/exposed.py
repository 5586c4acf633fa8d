"""What Prometheus shows of a machine's health: rows with help and unit; what is unsupported is counted apart, never 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedmed.health.policy import Watch
from fedmed.health.readings import QUANTITIES, Reading

Measure = tuple[str, str, str, Mapping[str, str], float]
"""Name, help, unit (empty for a number of things), labels, value."""


def metric_name(quantity: str) -> str:
    """The name that Prometheus shows a quantity under, with its unit, and `_total` where it only grows."""
    known = QUANTITIES[quantity]
    unit = f"_{known.unit}" if known.unit else ""
    return f"fedmed_{known.name}{unit}{'_total' if known.is_counter else ''}"


def measures(readings: Iterable[Reading], watch: Watch | None = None) -> list[Measure]:
    """A row for each reading that has a value, one for each that has none, and one for each limit and what it is past."""
    rows: list[Measure] = []
    for reading in sorted(readings, key=lambda each: (each.name, each.device)):
        known = QUANTITIES[reading.name]
        labels = {"device": reading.device} if reading.device else {}
        if reading.value is not None:
            rows.append((metric_name(reading.name), known.help, known.unit, labels, reading.value))
        else:
            about = "1 for each quantity that this machine does not tell."
            rows.append(("fedmed_unsupported", about, "", {"quantity": reading.name, **labels}, 1.0))
    rows.sort(key=lambda row: row[0])
    if watch is not None:
        for limit in watch.limits:
            past = sum(name == limit.name and each.told is not None for (name, _), each in watch.episodes.items())
            labels = {"limit": limit.name, "severity": limit.severity.value}
            rows.append(("fedmed_health_alerts", "Devices that are past a limit now, by limit.", "", labels, float(past)))
    return rows
