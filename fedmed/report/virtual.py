"""In which time was it? Said wherever a run's times are those of its topology and not of the machine that it ran on."""

from __future__ import annotations

from fedmed.report import formats
from fedmed.report.record import Report

MOST_NAMED = 5


def sentences(report: Report) -> list[str]:
    """What the times mean, and what of the run was real; nothing where it was in the machine's own time."""
    found = report.virtual
    if found is None:
        return []
    masks = (
        "Every update was masked, as in hospitals."
        if found.masks == "real"
        else "No update was masked: what masks take in time and bytes is in none of the figures."
    )
    said = [
        f"Times of rounds are virtual: on the topology's machines and lines the run took {formats.duration(found.seconds)}.",
        f"Learning was {found.learning}. {masks}",
    ]
    if found.regions:
        named = formats.listed(found.regions, MOST_NAMED)
        said.append(f"What is between clinics and center ({named}) passed every message on and folded none.")
    return said


def unit(report: Report) -> str:
    """Of the seconds of rounds."""
    return "seconds" if report.virtual is None else "virtual seconds"
