"""An app's answer to a round of training as what is masked: the change of the model, and numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedmed.config.own_metrics import NO_METRICS
from fedmed.errors import UpdateRefused
from fedmed.outbound.subtraction import squares, subtracter
from fedmed.privacy.secagg.fields import Fixed
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.metrics import put_metric
from fedmed.privacy.secagg.questions import WEIGHT
from fedmed.wire.tensors import Tensors

CASES = "num-examples"
"""What Flower's apps call it."""
SUM = ".sum"


@dataclass(frozen=True)
class Change:
    """What training did to a model."""

    tensors: dict[str, NDArray[Any]]
    """Trained minus given."""
    norm: float
    """L2 norm over all of them; not finite where they are not."""

    @classmethod
    def of(cls, tensors: dict[str, NDArray[Any]]) -> Change:
        """A change that is known already."""
        return cls(tensors, math.sqrt(sum(squares(value.reshape(-1)) for value in tensors.values())))


def change(layout: Layout, model: Tensors, trained: Tensors) -> Change:
    """The change of the layout's tensors. Raises UpdateRefused where any is missing or of another shape."""
    tensors: dict[str, NDArray[Any]] = {}
    total, subtract = 0.0, subtracter(layout.parameters)
    for tensor in layout.tensors:
        given, made = model.get(tensor.name), trained.get(tensor.name)
        if given is None or made is None or given.shape != made.shape or given.dtype != made.dtype:
            got = "none" if made is None else f"{made.dtype} {list(made.shape)}"
            allowed = "none" if given is None else f"{given.dtype} {list(given.shape)}"
            raise UpdateRefused(f"tensor {tensor.name!r}: the app answers with {got}; allowed: {allowed}, as it was given")
        if made.dtype.kind != "f":
            raise UpdateRefused(f"tensor {tensor.name!r} holds {made.dtype}; only floating point numbers are summed")
        tensors[tensor.name] = np.empty(made.shape, made.dtype)
        total += subtract(made.reshape(-1), given.reshape(-1), tensors[tensor.name].reshape(-1))
    return Change(tensors, math.sqrt(total))


def values_of(
    layout: Layout, metrics: Mapping[str, Any], own: Mapping[str, float] = NO_METRICS
) -> tuple[int, dict[str, ArrayLike]]:
    """The weight, and the layout's fields, from an app's metrics; others are left out.

    A metric that is not finite, or beyond its bound, counts as undefined, and so does one of `own` (their bounds) that is
    missing. Raises UpdateRefused for a weight that is none, and where another metric that was agreed on is missing.
    """
    weight = metrics.get(CASES)
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 < weight <= layout.most_weight:
        raise UpdateRefused(f"{CASES} is {weight!r}; allowed: 1 to {layout.most_weight}, the size that the site declared")
    bounds = _bounds(layout) | dict(own)
    if bounds.keys() - own.keys() - metrics.keys():
        raise UpdateRefused(f"the app's metrics are {sorted(metrics.keys() - {CASES})}; agreed on: {sorted(bounds)}")
    found: dict[str, ArrayLike] = {WEIGHT: weight}
    for name, bound in bounds.items():
        found |= put_metric(name, _defined(metrics.get(name), bound), weight)
    return weight, found


def left_out(layout: Layout, metrics: Mapping[str, Any]) -> set[str]:
    """Names of an app's metrics that the layout has no place for."""
    return metrics.keys() - {CASES} - _bounds(layout).keys()


def _bounds(layout: Layout) -> dict[str, float]:
    """Largest absolute values of the layout's metrics, by name."""
    return {
        field.name.removesuffix(SUM): field.bound / layout.most_weight
        for field in layout.fields
        if isinstance(field, Fixed) and field.name.endswith(SUM)
    }


def _defined(value: Any, bound: float) -> float | None:
    """The value where it is a number within ±bound."""
    return float(value) if isinstance(value, (int, float)) and abs(value) <= bound else None
