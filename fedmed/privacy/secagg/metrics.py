"""The weighted mean of a metric that some clinics cannot tell, such as an AUC of one class: they add 0 with weight 0."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fedmed.privacy.secagg.layout import Fixed, Sum, Whole

RESOLUTION = 2.0**-20
OWN_STEPS = 30
"""A metric of a researcher's own is told in steps of at most 2^-30 of its bound."""


def metric_fields(name: str, *, bound: float, most_weight: int, resolution: float = RESOLUTION) -> tuple[Fixed, Whole]:
    """Two fields for a metric within ±bound, weighted by 0 to `most_weight`; the mean is off by at most resolution / 2."""
    return Fixed(f"{name}.sum", bound * most_weight, resolution), Whole(f"{name}.weight", most_weight)


def own_fields(bounds: Mapping[str, float], most_weight: int) -> tuple[Fixed | Whole, ...]:
    """Two fields for each metric of a researcher's own, by name: name -> largest absolute value.

    A mean is off by at most 2^-31 of its metric's bound: steps are a power of two, which no bound makes too coarse or fine.
    """
    steps = {name: 2.0 ** (math.frexp(bound)[1] - 1 - OWN_STEPS) for name, bound in bounds.items()}
    pairs = [
        metric_fields(name, bound=bounds[name], most_weight=most_weight, resolution=steps[name]) for name in sorted(bounds)
    ]
    return tuple(field for pair in pairs for field in pair)


def put_metric(name: str, value: float | None, weight: int) -> dict[str, float | int]:
    """What a clinic puts into the two fields; None and NaN are undefined."""
    if value is None or math.isnan(value):
        value, weight = 0.0, 0
    return {f"{name}.sum": value * weight, f"{name}.weight": weight}


def read_metric(total: Sum, name: str) -> float | None:
    """The mean over the clinics that could tell, each by its weight; None where none could."""
    weight = total.count(f"{name}.weight")
    return total.number(f"{name}.sum") / weight if weight else None
