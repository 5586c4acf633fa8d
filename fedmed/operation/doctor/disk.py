"""Judges how a disk writes."""

from __future__ import annotations

from fedmed.operation.doctor.finding import Finding, fail, ok, warn
from fedmed.operation.doctor.machine import Written
from fedmed.report.formats import data_size

RATE, SYNCS = 20e6, 20.0


def writing(found: Written) -> Finding:
    """Writing, syncing, reading back."""
    allowed = f"{data_size(RATE)}/s, {SYNCS:.0f} fsync/s"
    if found.fault:
        todo = "give it to the user that runs fedmed, mount it for writing, make room, or name another folder"
        return fail("writing", f"{found.place}: {found.fault}", allowed, todo)
    if not found.is_same:
        return fail("writing", f"{found.place}: read back other than written", "what was written", "replace this disk")
    got = f"{data_size(found.rate)}/s, {found.syncs:,.0f} fsync/s at {found.place}"
    if found.rate < RATE or found.syncs < SYNCS:
        return warn("writing", got, allowed, "put the folder on a local disk, not on a network share")
    return ok("writing", got, allowed)
