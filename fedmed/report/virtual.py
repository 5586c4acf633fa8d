"""In which time was it? Said wherever a run's times are those of its topology and not of the machine that it ran on."""

from __future__ import annotations

from fedmed.report import formats
from fedmed.report.measures import LEADING
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
    if found.devices:
        joined = sum(each.joined for each in found.devices.values())
        missing = sum(sum(each.missing.values()) for each in found.devices.values())
        said.append(
            f"{joined:,} updates of {len(found.devices):,} devices are in those of their clinics, {missing:,} were not "
            "there in time (virtual.devices in report.json says which and why). Masks between a clinic's devices were not "
            "made."
        )
    if found.regions:
        named = formats.listed(found.regions, MOST_NAMED)
        said.append(f"What is between clinics and center ({named}) passed every message on and folded none.")
    return said


def reached(report: Report) -> str:
    """How long it took until validation had so much of its measure; empty where nobody asked and no time is virtual."""
    found = report.answers.target
    if found is None or not (found.asked or report.virtual):
        return ""
    wanted = f"validation {LEADING.get(found.metric, found.metric)} of {found.least:.3f}"
    if found.seconds is None:
        return f"No round reached a {wanted}."
    time = "virtual time" if report.virtual is not None else "this machine's time"
    return f"A {wanted} was first reached in round {found.round}, after {formats.duration(found.seconds)} of {time}."


def unit(report: Report) -> str:
    """Of the seconds of rounds."""
    return "seconds" if report.virtual is None else "virtual seconds"
