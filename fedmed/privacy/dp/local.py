"""Noise of one party's own: a clipped sum leaves as whole lattice units with discrete Gaussian noise, never as floats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import ConfigError, UpdateRefused
from fedmed.privacy.dp.gaussian import noise, rounded_sensitivity, smoothed

WIDTH = 2.0**17
"""Lattice units of noise before rounding is reckoned with: the widest that takes two draws a number (`tables`)."""


def noised(total: NDArray[np.float64], clip: float, multiplier: float, seed: bytes) -> NDArray[np.float64]:
    """A sum `(d,)` of vectors of norm at most `clip` each, with noise of `multiplier` clips on every number.

    The sum is rounded to a lattice of `clip * multiplier / 2^17`, to which exact discrete Gaussian noise is added in whole
    numbers; only then is it a float again, so nothing hangs on how floats lie. What rounding adds to the sensitivity,
    sqrt(d) units at most, widens the noise by the part multiplier * sqrt(d) / 2^17. It is accounted as the Gaussian of
    `multiplier` (`gaussian.smoothed`). `seed` is 24 bytes from a CSPRNG for this release alone.
    Raises ConfigError for a clip or multiplier that is not positive, UpdateRefused for a sum that is not finite.
    """
    if not (0 < clip < np.inf and 0 < multiplier < np.inf):
        raise ConfigError(f"clip {clip} and noise multiplier {multiplier}; both must be above 0 and finite")
    if not np.isfinite(total).all():
        raise UpdateRefused("the gradients hold values that are not finite; train with a smaller learning rate")
    unit = clip * multiplier / WIDTH
    sensitivity = rounded_sensitivity(clip / unit, max(1, total.size), 0.0)
    drawn = noise(total.size, smoothed(multiplier * sensitivity), seed)
    drawn += np.rint(total / unit).astype(np.int64)
    return drawn.astype(np.float64) * unit
