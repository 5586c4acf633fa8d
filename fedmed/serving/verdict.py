"""How far logits are from those that were expected, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Verdict:
    """Whether a package does, on this machine, what it did where it was made."""

    passed: bool
    reason: str
    """For people; of a failure, what was got and what is allowed."""
    deviation: float | None = None
    """Largest of all golden batches, as a share of the logits' size; None where there were no outputs."""
    seconds: float | None = None


def deviation(got: Floats, expected: Floats) -> float:
    """|got - expected| / |expected| (L2, over all of the batch); infinite where shapes differ or values are not finite."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return math.inf
    apart, size = (float(np.linalg.norm(each.astype(np.float64))) for each in (got - expected, expected))
    return apart / max(size, 1e-12)
