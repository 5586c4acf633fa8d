"""Runs checks in order, each with its own time, all of them within one; says why those that are pointless were skipped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedmed.clock import Clock
from fedmed.operation.doctor.finding import Finding, Status, fail, skipped

TOTAL_S = 180.0
"""All checks together take at most this long."""
Seen = dict[str, Any]
"""What probes have observed so far, by the name of the check; later checks may read it."""


@dataclass(frozen=True)
class Check:
    """One step of the examination."""

    name: str
    run: Callable[[Seen], Finding]
    """Observes and judges; raises nothing, and may be left alone when its time is over."""
    limit_s: float
    needs: tuple[str, ...] = ()
    """Checks after whose failure, or without which, this one is pointless; a warning is no failure."""


def examine(
    checks: Sequence[Check],
    clock: Clock,
    tell: Callable[[str, int, int], None],
    seen: Seen,
    total_s: float = TOTAL_S,
) -> Iterator[Finding]:
    """A finding a check, in their order. `tell` hears each check's name, its number from 1, and how many there are; `seen`
    is filled with what was observed.
    """
    ends, stopped = clock.now() + total_s, dict[str, str]()
    for number, check in enumerate(checks, 1):
        tell(check.name, number, len(checks))
        left = ends - clock.now()
        why = next((stopped[name] for name in check.needs if name in stopped), None)
        if why is not None:
            found = skipped(check.name, why)
        elif left <= 0:
            found = skipped(check.name, f"the {total_s:.0f} s for all checks are over")
        else:
            found = _within(check, seen, min(check.limit_s, left))
        if found.status is Status.FAIL:
            stopped[check.name] = f"the check {check.name!r} failed"
        elif found.status is Status.SKIPPED:
            stopped[check.name] = found.got
        yield found


def _within(check: Check, seen: Seen, limit_s: float) -> Finding:
    """Runs in a thread that is left alone after its time: names are looked up, and dead disks written, without a timeout."""
    kept: list[Finding] = []
    mine = Seen(seen)
    working = threading.Thread(target=lambda: kept.append(check.run(mine)), name=f"doctor {check.name}", daemon=True)
    working.start()
    working.join(limit_s)
    if kept:
        seen.update(mine)
        return kept[0]
    if working.is_alive():
        todo = "mend what it waits for, and run it again"
        return fail(check.name, f"no end after {limit_s:.3g} s", f"{limit_s:.3g} s", todo)
    broke = fail(check.name, "the check itself broke; its traceback is above", "", "report it to fedmed's makers")
    return replace(broke, is_broken=True)
