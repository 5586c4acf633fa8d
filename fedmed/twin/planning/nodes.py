"""How many machines a deadline asks for."""

from __future__ import annotations

import math

SPARE = 1.2
"""A fifth more than is reckoned."""


def nodes(operations: float, rate: float, seconds: float, spare: float = SPARE) -> int:
    """Machines that reach `rate` operations a second and together do `operations` within `seconds`, with a fifth to spare.

    The elastic formula: ceil(spare x work / (rate x time)); a task of 100 TFLOPS-days on nodes of 500 TFLOPS that reach
    0.7 of it. Raises ValueError where there is no time or no rate.
    """
    if seconds <= 0 or rate <= 0:
        raise ValueError(f"got {seconds:g} s at {rate:g} operations a second; allowed: more than none of both")
    return max(1, math.ceil(spare * operations / (rate * seconds) - 1e-9))


def side_by_side(training_s: float, left_s: float) -> int | None:
    """Machines that one member needs side by side so that `training_s` of one of them ends within `left_s`; one needs
    nothing to spare. None where the lines leave no time at all."""
    if left_s <= 0:
        return None
    return nodes(training_s, 1.0, left_s) if training_s > left_s else 1
