"""How many machines a deadline asks for."""

from __future__ import annotations

import math

DAY_S = 86_400.0
SPARE = 1.2
"""A fifth more than is reckoned."""
RESUME_S = 180.0
"""Until work that was broken off goes on elsewhere: of 3 and 5 minutes asked for, the stricter."""
BUSY = 0.85
"""Share of the time that a machine works, as asked for: of 70 and 85 per cent, the stricter."""


def nodes(operations: float, rate: float, seconds: float, spare: float = SPARE) -> int:
    """Machines that reach `rate` operations a second and together do `operations` within `seconds`, with a fifth to spare.

    The elastic formula: ceil(spare x work / (rate x time)); a task of 100 TFLOPS-days on nodes of 500 TFLOPS that reach
    0.7 of it. Raises ValueError where there is no time or no rate.
    """
    if seconds <= 0 or rate <= 0:
        raise ValueError(f"got {seconds:g} s at {rate:g} operations a second; allowed: more than none of both")
    return max(1, math.ceil(spare * operations / (rate * seconds) - 1e-9))


def price(count: int, seconds: float, a_day: float) -> float:
    """Of so many nodes rented for `seconds`, at a price `a_day` each; a day begun counts whole."""
    return count * math.ceil(seconds / DAY_S - 1e-9) * a_day


def within_budget(budget: float, seconds: float, a_day: float) -> int:
    """Nodes that a budget pays for."""
    return int(budget // (math.ceil(seconds / DAY_S - 1e-9) * a_day))


def side_by_side(training_s: float, left_s: float, spare: float = SPARE) -> int | None:
    """Machines that one member needs side by side so that `training_s` of one of them ends within `left_s`; None where the
    lines leave no time at all."""
    if left_s <= 0:
        return None
    return max(1, math.ceil(spare * training_s / left_s - 1e-9)) if training_s > left_s else 1
