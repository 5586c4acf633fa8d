"""The global model that a run ends with where `evaluation.choose` is `best`: that of the best validation so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fedmed.wire.tensors import Tensors


@dataclass(frozen=True)
class Best:
    """The best of the rounds so far; none before a round has a value."""

    measure: str
    """Key of the validation that is compared: `auc` or `dice`, higher being better."""
    round: int | None = None
    value: float | None = None
    error: float | None = None
    """What the value may be off by, where it is read from histograms."""
    model: Tensors = field(default_factory=dict)

    def after(self, number: int, validation: dict[str, Any] | None, model: Tensors) -> Best:
        """The best once round `number` is among them; the earlier of two that are equal."""
        found = (validation or {}).get(self.measure)
        if not isinstance(found, (int, float)) or not math.isfinite(found):
            return self
        if self.value is not None and found <= self.value:
            return self
        error = (validation or {}).get(f"{self.measure}_error")
        kept = {name: np.array(each) for name, each in model.items()}  # a strategy may go on working in the model's memory
        return replace(self, round=number, value=float(found), error=error, model=kept)

    def record(self) -> dict[str, Any]:
        """For a commit, the model left out."""
        return {"measure": self.measure, "round": self.round, "value": self.value, "error": self.error}

    @classmethod
    def of(cls, told: dict[str, Any], model: Tensors) -> Best:
        """From a commit."""
        return cls(told["measure"], told["round"], told["value"], told["error"], model)
