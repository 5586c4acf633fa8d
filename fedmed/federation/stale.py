"""Updates that came too late for their round: in the next one, and the less the older they are. Without masks alone; of
masked ones nobody knows but the clinic (`outbound.late`).

An update is the change that its site made to the model that it was given. That change goes into the mean of the round that
is under way when it comes, as if it had been made to this round's model, at its weight times `discount`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.federation import updates
from fedmed.federation.mean import WeightedMean
from fedmed.federation.phase import Member
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.transport import Reply
from fedmed.wire.tensors import Tensors

MOST_AGE = 2
"""Rounds; of an older one the model is not kept."""


def discount(age: int, exponent: float = 0.5) -> float:
    """What the weight of an update is multiplied with that is `age` rounds old: (1 + age)^-exponent.

    The polynomial of Xie, Koyejo and Gupta, "Asynchronous Federated Optimization" (2019), section 5, with a = 1/2.
    """
    return float((1 + age) ** -exponent)


@dataclass(frozen=True)
class _Owed:
    model: Tensors
    """What the round began with."""
    sites: frozenset[str]
    """Who was asked and is not in it."""


class Stale:
    """Holds the models that late updates may be changes of, and the sum of those that wait for a mean."""

    def __init__(self, max_norm: float | None) -> None:
        """`max_norm`: as `updates.check` takes it."""
        self._max_norm = max_norm
        self._owed: dict[int, _Owed] = {}
        self._sum: WeightedMean | None = None
        self._weight = 0.0
        self.folded: dict[str, int] = {}
        """Sites whose update waits for a mean, and the round that it was for."""

    def ended(self, number: int, model: Tensors, owing: Collection[str]) -> None:
        """Round `number`, which began with `model`, is made, without the sites in `owing`; what was folded is in it."""
        self._owed = {each: owed for each, owed in self._owed.items() if number + 1 - each <= MOST_AGE}
        if owing:
            self._owed[number] = _Owed(model, frozenset(owing))
        self._sum, self._weight, self.folded = None, 0.0, {}

    def take(self, member: Member, number: int, reply: Reply, now: int) -> bool:
        """An answer for round `number`, whether it is kept for the mean of round `now`. Raises UpdateRefused.

        Once for each site and mean: nobody's part in it is more than double.
        """
        owed = self._owed.get(number)
        if owed is None or member.name not in owed.sites or member.name in self.folded:
            return False
        updates.check(reply.tensors, owed.model, reply.metrics, member.examples, self._max_norm)
        weight = float(reply.metrics[WEIGHT_KEY]) * discount(now - number)
        if self._sum is None:
            self._sum = WeightedMean({name: np.empty(value.shape, _wide(value)) for name, value in owed.model.items()})
        given = owed.model.items()
        change = {name: np.subtract(reply.tensors[name], value, dtype=_wide(value)) for name, value in given}
        self._sum.add(0, change, weight)
        self._weight += weight
        self.folded[member.name] = number
        self._owed[number] = replace(owed, sites=owed.sites - {member.name})
        return True

    def into(self, mean: Tensors, weight: float, model: Tensors) -> Tensors:
        """The mean of a round with what waits for it; `weight` is that of all updates in `mean`, `model` the round's."""
        if self._sum is None:
            return mean
        change, share = self._sum.result(), self._weight / (weight + self._weight)
        self._sum = None
        return {name: _mixed(value, np.add(model[name], change[name]), share) for name, value in mean.items()}


def _wide(value: NDArray[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32 if value.dtype == np.float32 else np.float64)


def _mixed(value: NDArray[Any], other: NDArray[Any], share: float) -> NDArray[Any]:
    mixed = np.add(value, np.subtract(other, value, dtype=other.dtype) * share)
    made: NDArray[Any] = np.rint(mixed) if value.dtype.kind in "iub" else mixed
    return made.astype(value.dtype, copy=False)
