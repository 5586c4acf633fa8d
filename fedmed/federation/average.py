"""The final model as the mean of the last global models (stochastic weight averaging over rounds, Izmailov et al. 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedmed.wire.tensors import Tensors


class Average:
    """Sums the global models of the last `last` of `rounds` rounds in float64; nothing is kept for `last` = 1."""

    def __init__(self, last: int, rounds: int, sums: Tensors | None = None) -> None:
        self._first = rounds - last + 1
        self._last = last
        self.sums = {name: np.array(value, np.float64) for name, value in (sums or {}).items()}

    def add(self, number: int, model: Tensors) -> None:
        """Take in the global model after round `number`."""
        if self._last == 1 or number < self._first:
            return
        for name, value in model.items():
            self.sums[name] = self.sums.get(name, 0) + value.astype(np.float64)

    def final(self, model: Tensors, rounds: int) -> Tensors:
        """The final model: the mean, or `model` itself where nothing was summed."""
        if not self.sums:
            return model
        count = min(self._last, rounds)
        return {name: _as(self.sums[name] / count, value.dtype) for name, value in model.items()}


def _as(value: NDArray[np.float64], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    return value.astype(dtype) if dtype.kind == "f" else np.rint(value).astype(dtype)
