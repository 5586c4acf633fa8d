"""How long a site is waited for, out of what was seen of it; nobody sets a time limit.

What decides is the second slowest of the last answers, so that one odd one does not rule and two do (of one or two answers
it is the slowest); the fewer there are, the more often that is allowed. Until the first answer it is the declared work at a
slow machine and a slow line. All pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

KEPT = 8
"""Answers that are looked back at."""
LEAST_S = 120.0
"""Twice what it takes until a site that fell silent is known to be away."""
MOST_S = 3 * 86_400.0
FIRST_S = 600.0
"""For a site of which nothing was seen yet, with no work."""
CASE_S = 5.0
"""For each of its cases and passes over it, on top of that."""
BYTE_S = 1 / 50_000
"""For each byte of the model, as slow as an old line; it goes down, and comes up."""
MARGIN, MARGIN_OF_ONE = 2.5, 7.5
"""An answer may take so many times as long as that one did: MARGIN + MARGIN_OF_ONE / answers seen."""
MOST_MISSES = 2
"""Missed deadlines that each double the next one; more do not, for a site that hangs for ever."""
GRACE_S = 360.0
"""For a site that gives no sign of life: a line that is cut for five minutes comes back."""
NEEDED_S = 1800.0
"""The same where the round fails without it: closing sooner would throw away what all others did, for nothing."""


@dataclass(frozen=True)
class Seen:
    """One answer."""

    seconds: float
    """From when its work went out until the answer was whole."""
    line_s: float = 0.0
    """Of those, how long the answer was on its way."""
    work: float = 1.0
    """Cases times passes over them."""

    def at(self, work: float) -> float:
        """Seconds that this pace takes for another amount of work; the line takes what it takes."""
        line = min(self.line_s, self.seconds)
        return line + (self.seconds - line) * work / self.work


@dataclass(frozen=True)
class Past:
    """What was seen of a site with one kind of message."""

    seen: tuple[Seen, ...] = ()
    """The last `KEPT` answers, the oldest first."""
    missed: int = 0
    """Deadlines that it has missed, while it gave signs of life, since it last kept one."""

    def answered(self, seen: Seen, is_late: bool = False) -> Past:
        """With one more answer; a late one shows how slow it is, and keeps no deadline."""
        return Past((*self.seen, seen)[-KEPT:], self.missed if is_late else 0)

    def missing(self) -> Past:
        """With one more deadline missed."""
        return replace(self, missed=self.missed + 1)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"missed": self.missed, "seen": [[round(s, 3) for s in (a.seconds, a.line_s, a.work)] for a in self.seen]}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Past:
        """Of a record. Raises LookupError, TypeError or ValueError for what is none."""
        seen = [Seen(float(a), float(b), float(c)) for a, b, c in told["seen"]]
        if not all(math.isfinite(s.seconds) and min(s.line_s, s.seconds) >= 0 < s.work for s in seen):
            raise ValueError("seconds below 0, or no work")
        return cls(tuple(seen[-KEPT:]), int(told["missed"]))


@dataclass(frozen=True)
class Wait:
    """How long a site is waited for."""

    deadline_s: float
    """Seconds from when its work goes out."""
    why: str
    expected_s: float | None = None
    """What the answer will take; None where nothing was seen yet."""

    def explained(self, site: str) -> str:
        """One sentence for people."""
        return f"{site}: {self.why}; waited for until {self.deadline_s:.0f} s"


def wait_for(past: Past, work: float, size: int) -> Wait:
    """How long to wait for a site with this past, for so much work and a model of `size` bytes."""
    if not past.seen:
        wanted = FIRST_S + CASE_S * work + 2 * BYTE_S * size
        why = f"nothing measured yet, {work:.0f} cases to go through and {size / 1e6:.1f} MB each way at a slow pace"
        return _bounded(wanted, why, past, None)
    took = sorted(seen.at(work) for seen in past.seen)
    margin = MARGIN + MARGIN_OF_ONE / len(took)
    line = median(seen.line_s for seen in past.seen)
    answers = f"{len(took)} answers took" if len(took) > 1 else "an answer took"
    why = f"{answers} {_span(took[0], took[-1])} s ({line:.1f} s of that the line)"
    return _bounded(margin * took[-2 if len(took) > 2 else -1], why, past, median(took))


def _bounded(wanted: float, why: str, past: Past, expected_s: float | None) -> Wait:
    doubled = min(past.missed, MOST_MISSES)
    if doubled:
        why += f", and longer as it missed {past.missed} deadline{'s' * (past.missed > 1)}"
    wanted *= 2**doubled
    least = LEAST_S * 2**doubled
    bounded = min(MOST_S, max(least, wanted))
    if bounded == least:
        why += ", and nobody gets less time"
    return Wait(bounded, why, expected_s)


def _span(least: float, most: float) -> str:
    low, high = f"{least:.3g}", f"{most:.3g}"
    return low if low == high else f"{low}-{high}"


@dataclass(frozen=True)
class Presence:
    """Who gives signs of life, as last looked at."""

    gone: Mapping[int, float]
    """Node -> since when it is away, on the clock's scale."""
    away_s: Mapping[int, float]
    """Node -> how long it was away altogether, absences that are over."""

    def looked(self, now: float, nodes: Collection[int], online: Collection[int]) -> Presence:
        """With what a look at `nodes` shows."""
        gone = {node: self.gone.get(node, now) for node in nodes if node not in online}
        back = {node: since for node, since in self.gone.items() if node in online}
        away = {node: self.away_s.get(node, 0.0) + now - since for node, since in back.items()}
        kept = {node: since for node, since in self.gone.items() if node not in nodes and node not in back}
        return Presence(gone | kept, {**self.away_s, **away})

    def away(self, node: int, now: float) -> float:
        """How long `node` was away until now, altogether."""
        return self.away_s.get(node, 0.0) + now - self.gone.get(node, now)

    def due(self, node: int, began: float, wait: Wait, away_before_s: float, is_needed: bool) -> float:
        """When the waiting for `node` ends: its deadline, and later by what it was away; or its grace, while it is away.

        A grace is one for each absence, however many rounds that lasts. Where `is_needed` a site that is away has a longer
        one, and its whole deadline all the same.
        """
        end = began + wait.deadline_s + self.away_s.get(node, 0.0) - away_before_s
        if node not in self.gone:
            return end
        return max(end, self.gone[node] + NEEDED_S) if is_needed else self.gone[node] + GRACE_S
