"""Numbers of the researcher's own: the names and bounds that a scenario may declare for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field

MOST_METRICS = 64
LEAST_BOUND, MOST_BOUND = 1e-30, 1e30
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
TAKEN = frozenset(
    (
        "auc",
        "auc_error",
        "cases",
        "dice",
        "examples",
        "lacks",
        "loss",
        "missing",
        "num-examples",
        "privacy",
        "sites",
        "weight",
    )
)
"""Names that a round's record has already."""


def _named(metrics: dict[str, float]) -> dict[str, float]:
    faults = []
    if len(metrics) > MOST_METRICS:
        faults.append(f"got {len(metrics)} numbers, allowed: at most {MOST_METRICS}")
    if strange := [name for name in metrics if not NAME.fullmatch(name)]:
        shown = ", ".join(repr(name[:80]) for name in strange[:5])
        faults.append(f"got the names {shown}, allowed: 1 to 64 letters, digits, _ and -, not beginning with a digit or -")
    if taken := sorted(TAKEN & metrics.keys()):
        faults.append(
            f"got the names {', '.join(taken)}, which a round has already; take others than {', '.join(sorted(TAKEN))}"
        )
    if faults:
        raise ValueError("; ".join(faults))
    return metrics


OwnMetrics = Annotated[
    dict[str, Annotated[float, Field(ge=LEAST_BOUND, le=MOST_BOUND)]],
    AfterValidator(_named),
]
"""Name -> largest absolute value."""
NO_METRICS: Mapping[str, float] = MappingProxyType({})
