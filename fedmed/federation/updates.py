"""What an update must be before it may touch the global model; anything else is refused, the site named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import UpdateRefused
from fedmed.wire.tensors import Tensors

WEIGHT_KEY = "num-examples"
NAMES_SHOWN = 3
MAX_WHOLE = 2**63 - 1
MAX_MAGNITUDE = 1e28  # times 10^10 cases still below the largest float32
MAX_METRICS, MAX_NAME = 100, 100


def check(update: Tensors, model: Tensors, metrics: Mapping[str, Any], declared: float, max_norm: float | None) -> None:
    """Raise UpdateRefused unless the update has the model's tensors, finite values, a true weight and a bounded size.

    `declared` is the site's number of training cases as it stated them; a larger weight would let it outvote the others.
    """
    _check_layout(update, model)
    check_numbers(metrics)
    weight = metrics.get(WEIGHT_KEY)
    if not isinstance(weight, (int, float)) or not 0 < weight <= declared:
        raise UpdateRefused(f"{WEIGHT_KEY} is {weight!r}; allowed: above 0 and at most the {declared:g} cases declared")
    for name, value in update.items():
        if not is_finite(value):
            count = int(np.size(value) - np.isfinite(value).sum())
            raise UpdateRefused(f"{count} of {value.size} values of tensor {name!r} are not finite (NaN or infinite)")
        if (largest := extreme(value)) > MAX_MAGNITUDE:
            raise UpdateRefused(
                f"tensor {name!r} holds values up to {largest:.3g}; allowed: up to {MAX_MAGNITUDE:g}, that sums stay finite"
            )
    if max_norm is not None and (norm := distance(update, model)) > max_norm:
        raise UpdateRefused(f"the update's L2 norm is {norm:.4g}; allowed: at most {max_norm:g}")


def check_scores(metrics: Mapping[str, Any]) -> None:
    """Raise UpdateRefused unless the numbers of a validation have a weight that others can be weighed against."""
    check_numbers(metrics)
    weight = metrics.get(WEIGHT_KEY)
    if not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
        raise UpdateRefused(f"{WEIGHT_KEY} is {weight!r}; allowed: the number of validation cases, from 0")


def check_numbers(metrics: Mapping[str, Any]) -> None:
    """Raise UpdateRefused for a whole number that no sum could hold (Flower's own limit), or names that no report could."""
    if len(metrics) > MAX_METRICS or not all(name.isprintable() and len(name) <= MAX_NAME for name in metrics):
        raise UpdateRefused(
            f"metrics are {len(metrics)}; allowed: {MAX_METRICS}, of printable names of {MAX_NAME} characters"
        )
    for name, value in metrics.items():
        for number in value if isinstance(value, list) else (value,):
            if isinstance(number, int) and abs(number) > MAX_WHOLE:
                raise UpdateRefused(f"metric {name!r} is a number of {len(str(number))} digits; allowed: 64-bit numbers")


def is_finite(value: NDArray[np.generic]) -> bool:
    """Whether every number is finite; one pass without a temporary array in the usual case."""
    if not np.issubdtype(value.dtype, np.floating):
        return True
    flat = value.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.dot(flat, flat)
    return bool(np.isfinite(square)) or bool(np.isfinite(flat).all())


def extreme(value: NDArray[np.generic]) -> float:
    """The largest magnitude of finite floats where it may matter, else 0; one pass without a temporary in the usual case."""
    if not np.issubdtype(value.dtype, np.floating):
        return 0.0
    flat = value.reshape(-1)
    with np.errstate(over="ignore"):
        if np.isfinite(np.dot(flat, flat)):  # then no float32 exceeds 2e19
            return 0.0
    return float(np.abs(flat).max())


def distance(update: Tensors, model: Tensors) -> float:
    """L2 distance between two models, in float64; infinite where that overflows."""
    with np.errstate(over="ignore"):
        squares = [float(np.sum(np.square(np.subtract(update[k], v, dtype=np.float64)))) for k, v in model.items()]
    return math.sqrt(sum(squares))


def _check_layout(update: Tensors, model: Tensors) -> None:
    lacking, extra = sorted(set(model) - set(update)), sorted(set(update) - set(model))
    if lacking or extra:
        shown = [f"lacks {', '.join(lacking[:NAMES_SHOWN])}"] * bool(lacking)
        shown += [f"has unknown {', '.join(extra[:NAMES_SHOWN])}"] * bool(extra)
        raise UpdateRefused(f"the update's tensors are not the model's: it {' and '.join(shown)}")
    for name, value in model.items():
        got = update[name]
        if got.shape != value.shape or got.dtype != value.dtype:
            raise UpdateRefused(
                f"tensor {name!r} is {got.dtype} {list(got.shape)}; allowed: {value.dtype} {list(value.shape)}"
            )
