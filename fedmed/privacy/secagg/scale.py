"""How real numbers become whole ones in lanes, and how far a mean that comes out of their sum is off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from fedmed.errors import ConfigError

LEAST_STEPS = 64  # between 0 and the bound; coarser lanes drown a model in rounding
BOUNDS = (1e-6, 1e6)
MOST_CLIENTS, MOST_WEIGHT = 1 << 16, 1 << 32


@dataclass(frozen=True)
class Scale:
    """How values become lanes, for every clinic of a roster alike. Raises ConfigError for what cannot work."""

    bits: Literal[16, 32]
    """Of a lane."""
    clients: int
    """N: the most that are ever summed."""
    bound: float
    """C: values lie within ±C."""
    most_weight: int
    """W: a clinic's weight lies in 0 to W."""

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise ConfigError("secure aggregation: " + "; ".join(faults))

    def _faults(self) -> Iterator[str]:
        known = True
        for name, value, good, allowed in (
            ("bits of a lane", self.bits, self.bits in (16, 32), "16 or 32"),
            ("clinics", self.clients, 1 <= self.clients <= MOST_CLIENTS, f"1 to {MOST_CLIENTS}"),
            ("most weight", self.most_weight, 1 <= self.most_weight <= MOST_WEIGHT, f"1 to {MOST_WEIGHT}"),
        ):
            known = known and good
            if not good:
                yield f"{name}: {value}; allowed is {allowed}"
        if not BOUNDS[0] <= self.bound <= BOUNDS[1]:
            yield f"bound {self.bound} of the values; allowed is {BOUNDS[0]:g} to {BOUNDS[1]:g}"
        elif known and self._room < LEAST_STEPS * self.clients:
            yield (
                f"{self.bits}-bit lanes leave {self.clients} clinics {max(0, self._room) // self.clients} steps between 0 "
                f"and the bound, {LEAST_STEPS} are needed: use {'32-bit lanes or ' if self.bits == 16 else ''}fewer clinics"
            )
        elif known and self._factor < 1:
            yield (
                f"bound {self.bound:g} is more than the {self._room // self.clients} steps that {self.bits}-bit lanes leave "
                f"{self.clients} clinics: lower it{' or use 32-bit lanes' if self.bits == 16 else ''}"
            )

    @property
    def limit(self) -> float:
        """What is accepted: the bound, or the float32 nearest to it where that is larger, for clipping gives float32."""
        return max(float(self.bound), float(np.float32(self.bound)))

    @property
    def factor(self) -> float:
        """s = floor((2^(bits-1) - 1 - N) / (N·C)), C being `limit`.

        Rounding adds less than 1 to a value, so N lanes sum up to at most N·(C·s + 1) <= 2^(bits-1) - 1.
        """
        return float(self._factor)

    @property
    def most_lane(self) -> int:
        """What a clinic's lane may be at most, N of which fit into a sum; a value within the bound never is beyond it."""
        return ((1 << (self.bits - 1)) - 1) // self.clients

    @property
    def _factor(self) -> int:
        return math.floor(Fraction(self._room) / (self.clients * Fraction(self.limit)))

    @property
    def _room(self) -> int:
        return int((1 << (self.bits - 1)) - 1 - self.clients)

    def multiplier(self, weight: int) -> float:
        """(w/W)·s, rounded once."""
        return float(Fraction(self._factor * weight, self.most_weight))


def step_of(scale: Scale, total_weight: int) -> float:
    """What 1 in a lane's sum is in the mean."""
    if not 0 < total_weight <= scale.clients * scale.most_weight:
        raise ValueError(f"weights that sum up to {total_weight}; {scale.clients} times {scale.most_weight} is the most")
    return float(Fraction(scale.most_weight, scale._factor * total_weight))


def error_bound(scale: Scale, clients_in_sum: int, total_weight: int) -> float:
    """What no value of the mean is off by: W·|U| / (s·Σw), U the clinics in the sum.

    For the mean before `dequantise` rounds it to float32, which adds half of the last place of each value.
    """
    return clients_in_sum * step_of(scale, total_weight)


def error_std(scale: Scale, clients_in_sum: int, total_weight: int) -> float:
    """The most that the error's standard deviation can be: W·sqrt(|U|) / (2·s·Σw); each rounding's is at most 1/2."""
    return math.sqrt(clients_in_sum) / 2 * step_of(scale, total_weight)
