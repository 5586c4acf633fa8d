"""The weighted mean of updates as they come in, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.wire.tensors import Tensors

Sums = NDArray[np.float32] | NDArray[np.float64]
BLOCK = 65_536  # numbers handled at once: 256 KiB of float32 stay in the second-level cache


class WeightedMean:
    """Sum of `weight * update` per lane, merged in the lanes' order.

    Floating-point sums depend on their order. The answers of one site process come in a fixed order while those of two
    processes race, so each process has a sum of its own: the mean is the same to the last bit whatever the timing.
    """

    def __init__(self, like: Tensors) -> None:
        """`like` gives names, shapes and dtypes; integers are summed as float64 and rounded back."""
        self._like = like
        self._lanes: dict[int, dict[str, Sums]] = {}
        self._weights: dict[int, float] = {}

    def add(self, lane: int, update: Mapping[str, NDArray[np.generic]], weight: float) -> None:
        """Add one update; its arrays are free again when this returns."""
        if lane not in self._lanes:
            self._lanes[lane] = {name: np.zeros(value.size, _wide(value)) for name, value in self._like.items()}
            self._weights[lane] = 0.0
        sums = self._lanes[lane]
        for name, total in sums.items():
            _add_scaled(total, update[name].reshape(-1), weight)
        self._weights[lane] += weight

    def result(self) -> Tensors:
        """The mean, in the shapes and dtypes of `like`; the sums are used up. Raises ValueError without any update."""
        total_weight = sum(self._weights[lane] for lane in sorted(self._lanes))
        if total_weight <= 0:
            raise ValueError("no update with a positive weight was added")
        mean: Tensors = {}
        for name, like in self._like.items():
            first, *others = [self._lanes[lane].pop(name) for lane in sorted(self._lanes)]
            for other in others:
                np.add(first, other, out=first)
            np.divide(first, total_weight, out=first)
            mean[name] = _back(first, like)
        return mean


def _wide(value: NDArray[np.generic]) -> np.dtype[Any]:
    return np.dtype(np.float32 if value.dtype == np.float32 else np.float64)


def _add_scaled(total: Sums, update: NDArray[np.generic], weight: float) -> None:
    scratch = np.empty(min(BLOCK, total.size), total.dtype)
    factor = total.dtype.type(weight)
    for start in range(0, total.size, BLOCK):
        block = update[start : start + BLOCK]
        part = scratch[: block.size]
        np.multiply(block, factor, out=part, casting="unsafe")
        total[start : start + BLOCK] += part


def _back(total: Sums, like: NDArray[np.generic]) -> NDArray[np.generic]:
    if np.issubdtype(like.dtype, np.integer) or like.dtype == np.bool_:
        np.rint(total, out=total)
    return total.astype(like.dtype, copy=False).reshape(like.shape)
