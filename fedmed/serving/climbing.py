"""The rungs of the precision ladder as this machine has them: each tried apart, then timed and scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fedmed.clock import Clock
from fedmed.errors import FedmedError, first_line
from fedmed.serving.engines import table
from fedmed.serving.engines.engine import PLAIN, Floats, Options
from fedmed.serving.ladder import Rung
from fedmed.serving.measuring import LEADING, Labels, latency, score
from fedmed.serving.packages import Package
from fedmed.serving.testing import LIMITS, Limits, self_test_apart


@dataclass(frozen=True)
class CheckSet:
    """Prepared inputs `(N, *inputs)` of the clinic's own cases, with their classes `(N,)` or masks."""

    x: Floats
    y: Labels
    measure: str = ""
    """auc, accuracy or dice; the one of the kind of task when empty."""


@dataclass(frozen=True)
class Trial:
    """How each rung is tried."""

    runs: int = 100
    """Calls that are timed."""
    limits: Limits = LIMITS
    options: Options = PLAIN


def rungs(package: Package, checks: CheckSet, clock: Clock, how: Trial) -> Iterator[Rung]:
    """Every precision on every back end that can run it here, one after the other."""
    for precision in table.PRECISIONS:
        for backend in table.able(package, precision):
            yield measured(package, Rung(precision, backend), checks, clock, how)


def measured(package: Package, rung: Rung, checks: CheckSet, clock: Clock, how: Trial) -> Rung:
    """The rung with its latency and score, or with its failure."""
    verdict = self_test_apart(package.folder, rung.precision, rung.backend, how.limits, how.options)
    if not verdict.passed:
        return replace(rung, failure=verdict.reason)
    measure = checks.measure or LEADING[package.card.kind]
    try:
        engine = table.open_engine(package, rung.precision, rung.backend, how.options)
        took = latency(engine, checks.x[:1], clock, how.runs)
        found = score(engine, checks.x, checks.y, measure)
    except (FedmedError, MemoryError) as error:
        return replace(rung, failure=first_line(error))
    return replace(rung, median_ms=took.median_ms, score=found, cases=len(checks.x))
