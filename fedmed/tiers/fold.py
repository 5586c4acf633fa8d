"""The arithmetic of a clinic with devices: their sum and the clinic's own change, weighted by cases, as one change.

Sums are float64 until the end, so the one change is that of training on all of it apart and averaging,
Σ w·Δ / Σ w (FedAvg, McMahan et al. 2017, algorithm 1), rounded once to the model's type.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import UpdateRefused
from fedmed.outbound.update import CASES, Change
from fedmed.privacy.secagg.layout import Sum
from fedmed.privacy.secagg.metrics import read_metric
from fedmed.privacy.secagg.quantise import centred
from fedmed.privacy.secagg.questions import WEIGHT
from fedmed.privacy.secagg.scale import error_bound, step_of
from fedmed.wire.tensors import Tensors

Sums = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Part:
    """What some of a clinic's cases say together."""

    sums: Sums
    """Σ w·Δ of each tensor."""
    weight: int
    """Σ w: training cases."""
    metrics: Mapping[str, tuple[float, int]]
    """Σ w·m and Σ w over those that could tell."""
    error: float = 0.0
    """What no value of the mean Σ w·Δ / Σ w is off by, for lanes are whole numbers."""


def of_one(change: Mapping[str, NDArray[Any]], weight: int, metrics: Mapping[str, float | None]) -> Part:
    """What one trainer says; a metric that is None or not finite is undefined."""
    told = {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}
    sums = {name: np.multiply(value, float(weight), dtype=np.float64) for name, value in change.items()}
    found = {name: (told[name] * weight, weight) if name in told else (0.0, 0) for name in metrics}
    return Part(sums, weight, found)


def of_sum(total: Sum, names: Iterable[str]) -> Part:
    """What an opened sum of devices says; `names` are the metrics in it.

    The true mean lies within the layout's bound. What rounding put beyond it is taken off, which only brings it nearer, so
    that a clinic's update is never refused for the rounding of its devices'. Raises UpdateRefused where nobody had a case.
    """
    layout, weight = total.layout, total.count(WEIGHT)
    if weight == 0:
        raise UpdateRefused("the devices' weights sum up to 0: a device with training cases must take part")
    step, most, start, sums = step_of(layout.scale, weight), layout.scale.limit, 0, Sums()
    for tensor in layout.tensors:
        mean = np.multiply(centred(total.lanes[start : start + tensor.size]), step, dtype=np.float64)
        sums[tensor.name] = np.multiply(np.clip(mean, -most, most, out=mean), weight, out=mean).reshape(tensor.shape)
        start += tensor.size
    found = {name: _metric(total, name) for name in names}
    return Part(sums, weight, found, error_bound(layout.scale, total.clients, weight))


def _metric(total: Sum, name: str) -> tuple[float, int]:
    mean, weight = read_metric(total, name), total.count(f"{name}.weight")
    return (0.0, 0) if mean is None else (mean * weight, weight)


@dataclass(frozen=True)
class Folded:
    """A clinic's one update."""

    change: Change
    values: Mapping[str, float | int]
    """As an app tells them (`outbound.update.values_of`); NaN where nobody could tell."""
    error: float
    """What no value of the change is off by, beside its rounding to the model's type."""


def fold(parts: Iterable[Part], model: Tensors) -> Folded:
    """One update of all parts; `model` gives the types.

    Raises UpdateRefused where there are no cases, or parts are of other tensors than each other.
    """
    there = [part for part in parts if part.weight > 0]
    weight = sum(part.weight for part in there)
    if not there:
        raise UpdateRefused("there is nothing to fold: nobody trained on any case; see the log for who was lost and why")
    names = there[0].sums.keys()
    if any(part.sums.keys() != names for part in there):
        raise UpdateRefused("the parts of a clinic's update are of other tensors than each other")
    made = {name: _mean([part.sums[name] for part in there], weight, model[name].dtype) for name in names}
    error = sum(part.error * part.weight for part in there) / weight
    return Folded(Change.of(made), {CASES: weight, **_means(there)}, error)


def _mean(sums: list[NDArray[np.float64]], weight: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    total = sums[0].copy()
    for other in sums[1:]:
        np.add(total, other, out=total)
    return np.divide(total, weight, out=total).astype(dtype)


def _means(parts: list[Part]) -> dict[str, float]:
    """A metric that some parts do not know is the mean of those that do."""
    found = {}
    for name in sorted({name for part in parts for name in part.metrics}):
        pairs = [part.metrics[name] for part in parts if name in part.metrics]
        told = sum(weight for _, weight in pairs)
        found[name] = math.fsum(value for value, _ in pairs) / told if told else math.nan
    return found


def trained(model: Tensors, folded: Folded) -> Tensors:
    """The model as if it had been trained on all: given plus change; what the change has no part of is as it was given."""
    changes = folded.change.tensors
    return {name: np.add(value, changes[name]) if name in changes else value for name, value in model.items()}


def as_part(made: Change, weight: int, values: Mapping[str, Any]) -> Part:
    """What the clinic's own app made; of its values, those that are numbers."""
    told = {name: float(value) for name, value in values.items() if name != CASES and _is_number(value)}
    return of_one(made.tensors, weight, told)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
