"""What every engine offers, and what it checks before it computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError, EngineFailed

Floats = NDArray[np.float32]
MOST_SHOWN = 300


@dataclass(frozen=True)
class Options:
    """How an engine is opened on this device; each back end takes what it knows of."""

    threads: int = 0
    """Of a processor; 0 takes all cores."""
    plans: Path | None = None
    """Where TensorRT's plans are kept; without it one is built at each opening, which takes minutes."""
    batch: int = 8
    """The largest that a plan takes at once."""


PLAIN = Options()


class Engine(Protocol):
    """A model, opened."""

    @property
    def name(self) -> str:
        """Of the back end."""

    @property
    def precision(self) -> str:
        """fp32, fp16 or int8."""

    def run(self, x: Floats) -> Floats:
        """Inputs `(N, *inputs)` -> logits `(N, *outputs)`, both float32.

        Raises DataError for inputs of another shape or type, EngineFailed where there is no answer.
        """


def checked(x: Floats, inputs: tuple[int, ...]) -> Floats:
    """The inputs, contiguous. Raises DataError."""
    if x.dtype != np.float32 or x.ndim != len(inputs) + 1 or x.shape[1:] != inputs or len(x) == 0:
        raise DataError(
            f"got inputs {x.dtype} of shape {list(x.shape)}; needed are float32 of shape [N, {str(list(inputs))[1:]}"
        )
    return np.ascontiguousarray(x)


def failure(what: str, error: Exception) -> EngineFailed:
    """Somebody else's error in one line."""
    said = " ".join(str(error).split())[:MOST_SHOWN] or type(error).__name__
    return EngineFailed(f"{what}: {said}")
