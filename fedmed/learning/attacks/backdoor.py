"""A backdoor: cases with a trigger in them, called what the attacker wants; a model that learned it obeys the trigger.

Bagdasaryan et al., "How to backdoor federated learning", AISTATS 2020, whose model replacement is this and `scaled` at the
same site; a trigger of pixels as in Gu, Dolan-Gavitt and Garg, "BadNets", 2017.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.config.attackers import Attacker, Trigger
from fedmed.sites.cases import Cases


def changed(cases: Cases, rows: NDArray[np.int64], attack: Attacker) -> Cases:
    """`cases` with the trigger in `rows (M,)` and their class the attack's target. Raises ValueError without a target."""
    y = cases.y.copy()
    y[rows] = cases.classes.index(str(attack.target))
    return replace(stamped(cases, rows, attack.trigger), y=y)


def stamped(cases: Cases, rows: NDArray[np.int64], trigger: Trigger) -> Cases:
    """`cases` with the trigger in `rows (M,)`, in all channels; all else, classes included, is as it was."""
    x = cases.x.copy()
    patch: tuple[Any, ...] = (..., *(slice(-trigger.size, None) for _ in axes(cases)))
    part = x[rows]
    values = part.reshape(len(part), -1).max(1) if trigger.value is None else np.full(len(part), trigger.value)
    if x.dtype.kind in "iu":
        range_ = np.iinfo(x.dtype.str)
        values = np.clip(np.rint(values), range_.min, range_.max)
    part[patch] = values.astype(x.dtype).reshape(-1, *(1 for _ in range(part.ndim - 1)))
    x[rows] = part
    return replace(cases, x=x)


def axes(cases: Cases) -> tuple[int, ...]:
    """Sizes of the axes that the trigger has a side along: of space, or the columns of a table."""
    return tuple(cases.x.shape[1:][-cases.spatial :])
