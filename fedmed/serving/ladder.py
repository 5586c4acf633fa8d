"""Which precision a device runs: the fastest that loses at most a point on the local check set. A pure decision.

The rungs are FP32, FP16 and INT8, each as it was measured on this very device. What crashed, gave no numbers, or was not
checked with enough cases is out; FP32 is what the others are judged by. Quantised networks usually lose 0.1 to 0.6 points
(OpenVINO's tables of int8 against fp32); one point is where a clinic would rather wait.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

REFERENCE = "fp32"
SAFEST_FIRST = ("fp32", "fp16", "int8")
OUT = "out: "
GATE_POINTS = 1.0
LEAST_CASES = 100
"""Of a check set: with fewer, one case alone is more than a point."""


@dataclass(frozen=True)
class Rung:
    """One precision on one back end, as measured here."""

    precision: str
    backend: str
    median_ms: float | None = None
    """Of one case; None where it did not get so far."""
    score: float | None = None
    """The leading measure on the check set, 0 to 1; None where it is undefined or there was no answer."""
    cases: int = 0
    """Of the check set."""
    failure: str = ""
    """Why it did not get so far, or failed its self-test; empty where it did."""


@dataclass(frozen=True)
class Row:
    """What is told of a rung."""

    precision: str
    backend: str
    median_ms: float | None
    loss_points: float | None
    """Score of FP32 less its own, in points; below 0 where it is better."""
    chosen: bool
    reason: str

    @property
    def is_out(self) -> bool:
        """Whether it may not run."""
        return self.reason.startswith(OUT)


@dataclass(frozen=True)
class Choice:
    """The rung to run, None where none can, and why, rung by rung, the safest first."""

    rung: Rung | None
    rows: tuple[Row, ...]


def choose(rungs: Sequence[Rung], gate_points: float = GATE_POINTS, least_cases: int = LEAST_CASES) -> Choice:
    """The fastest rung within the gate; of two of equal speed the safer one."""
    ordered = sorted(rungs, key=lambda rung: SAFEST_FIRST.index(rung.precision))
    reference = _reference(ordered)
    faults = [_fault(rung, reference, gate_points, least_cases) for rung in ordered]
    sound = [rung for rung, fault in zip(ordered, faults, strict=True) if not fault]
    chosen = min(sound, key=lambda rung: rung.median_ms or math.inf, default=None)
    rows = [_row(rung, fault, reference, chosen) for rung, fault in zip(ordered, faults, strict=True)]
    return Choice(chosen, tuple(rows))


def _reference(rungs: Sequence[Rung]) -> Rung | None:
    """The FP32 that others are judged by: one that answered; of several, the fastest."""
    found = [rung for rung in rungs if rung.precision == REFERENCE and not _broken(rung)]
    return min(found, key=lambda rung: rung.median_ms or math.inf, default=None)


def _broken(rung: Rung) -> str:
    """Why it is out whatever it scores."""
    if rung.failure:
        return rung.failure
    if rung.median_ms is None or not 0 < rung.median_ms < math.inf:
        return "no latency was measured"
    return "its score is no number" if rung.score is not None and not math.isfinite(rung.score) else ""


def _fault(rung: Rung, reference: Rung | None, gate_points: float, least_cases: int) -> str:
    if broken := _broken(rung):
        return broken
    if rung.precision == REFERENCE:
        return ""
    if reference is None:
        return f"{REFERENCE} gave no score to compare with"
    lost = loss_points(rung, reference)
    if lost is None:
        return "its loss is unknown: the check set does not tell a score"
    if min(rung.cases, reference.cases) < least_cases:
        return f"the check set has {min(rung.cases, reference.cases)} cases; to see a point takes {least_cases}"
    return f"loses {lost:.2f} points, allowed is {gate_points:g}" if lost > gate_points else ""


def loss_points(rung: Rung, reference: Rung | None) -> float | None:
    """What a rung loses against FP32, in points; None where one of them has no score."""
    if reference is None or reference.score is None or rung.score is None:
        return None
    lost = 100 * (reference.score - rung.score)
    return round(lost, 9) if math.isfinite(lost) else None


def _row(rung: Rung, fault: str, reference: Rung | None, chosen: Rung | None) -> Row:
    lost = loss_points(rung, reference)
    if fault:
        reason = f"{OUT}{fault}"
    elif rung is chosen:
        reason = "chosen: the fastest within the gate"
    else:
        reason = f"within the gate, slower than {chosen.precision} on {chosen.backend}" if chosen else ""
    return Row(rung.precision, rung.backend, rung.median_ms, lost, rung is chosen, reason)
