"""Mean and standard deviation of all sites together, from sums that each site can give away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Variance below this share of the mean square is rounding: inputs are float32, whose own resolution squared is 1.4e-14.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares per feature; adding two gives those of both sets together."""

    n: int
    """Number of cases."""
    sum: NDArray[np.float64]
    """Sum over the cases, `(features,)`."""
    sumsq: NDArray[np.float64]
    """Sum of squares over the cases, `(features,)`."""

    def __add__(self, other: Moments) -> Moments:
        if self.sum.shape != other.sum.shape:
            raise ValueError(f"moments of shapes {self.sum.shape} and {other.sum.shape} cannot be added")
        return Moments(self.n + other.n, self.sum + other.sum, self.sumsq + other.sumsq)

    def mean_std(self, *, unbiased: bool = False) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation `(features,)`; `unbiased` divides by n - 1. A constant feature has deviation 0.

        Raises ValueError when there are too few cases: one is needed, two if unbiased.
        """
        freedom = self.n - 1 if unbiased else self.n
        if freedom < 1:
            raise ValueError(f"{self.n} cases have no {'unbiased ' if unbiased else ''}standard deviation")
        mean = self.sum / self.n
        square = self.sumsq / self.n
        variance = square - mean**2
        variance = np.where(variance > ROUNDING * square, variance, 0.0)
        return mean, np.sqrt(variance * (self.n / freedom))


def moments(x: NDArray[np.generic]) -> Moments:
    """Moments per feature of `x` `(N, ...)`, summed in float64; all axes but the first are flattened into features."""
    values = np.asarray(x, dtype=np.float64)
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    return Moments(len(flat), flat.sum(axis=0), np.square(flat).sum(axis=0))
