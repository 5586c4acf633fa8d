"""What differential privacy asks of every round of one run: noise, room for it in the lanes, and the charge.

Everything follows from the scenario and from public facts of the cohort, so a clinic computes it by itself and believes no
center. A clinic's part of a round, in this order, of which nothing may be left out:

1. train (`learning.private_training`), or in mode clinic train as ever;
2. `clipped`: the L2 clip of mode clinic, and in the modes with shares every number to within `reach`;
3. write the lanes at weight 1, add `share` to the tensors' lanes (`hide`), mask;
4. charge `releases()` to the data set's budget, with the digest of the masked bytes: BudgetRefused, and nothing is sent;
5. send. A charge stays, whatever becomes of the round.

**What is sent.** Tensors with one public weight, and nothing else (`outbound.gate` refuses any other sum). No count, loss or
metric has noise of its own here, hence none is told, masked or not, and no evaluation round is held: a run under
differential privacy ends with its last model. (A simulation's report evaluates by itself, and says so.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedmed.config.privacy import DifferentialPrivacy
from fedmed.config.scenario import Training
from fedmed.errors import ConfigError
from fedmed.privacy.dp.accountant import Release, epsilon, noise_for
from fedmed.privacy.dp.gaussian import add_noise
from fedmed.privacy.dp.mechanisms import (
    BETA,
    CLINIC,
    RECORD_DISTRIBUTED,
    RECORD_LOCAL,
    UPDATE,
    Mechanism,
    Opened,
    clip_l2,
)
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.wire.tensors import Tensors

SPREAD = 6.0
"""Standard deviations by which a Poisson sample may exceed its mean before its sum is cut off, which costs no privacy."""


def steps_of(training: Training, rate: float) -> int:
    """Steps of local DP-SGD a round: as written, or epochs of 1 / rate steps each."""
    return training.steps if training.steps is not None else math.ceil(1 / rate) * (training.epochs or 1)


@dataclass(frozen=True)
class Cohort:
    """Public facts of those who take part."""

    clinics: int
    """The most that are ever summed."""
    least_honest: int
    """The fewest that are in a sum and surely add their noise: `Parameters.least_survivors(cohort) - colluders`."""
    patients: float = 1.0
    """Of a clinic on average, as declared."""
    most_patients: float = 1.0
    """Of the largest clinic, as declared."""

    def __post_init__(self) -> None:
        """Raises ConfigError, naming all faults."""
        rules = {
            f"{self.clinics} clinics (at least 1)": self.clinics >= 1,
            f"{self.least_honest} of them surely adding noise (1 to {self.clinics}: lose fewer, reckon with fewer "
            "colluders, or ask for larger sums)": 1 <= self.least_honest <= self.clinics,
            f"{self.patients} patients on average and {self.most_patients} at most (above 0, finite, in that order)": 0
            < self.patients
            <= self.most_patients
            < math.inf,
        }
        if faults := [text for text, kept in rules.items() if not kept]:
            raise ConfigError(f"no differential privacy for {'; '.join(faults)}")

    @classmethod
    def of(cls, epoch: Parameters, cohort: int, patients: float, most_patients: float) -> Cohort:
        """Those of a cohort of this size in an epoch."""
        honest = max(1, epoch.least_survivors(cohort) - epoch.colluders)
        return cls(epoch.members, honest, patients, most_patients)


@dataclass(frozen=True)
class Terms:
    """Of one run; made by `terms`."""

    mode: Literal["record-local", "record-distributed", "clinic"]
    clip: float
    rate: float
    noise_multiplier: float
    steps: int
    """Releases a round: the local steps of mode record-local, otherwise one."""
    rounds: int
    delta: float
    dimensions: int
    cohort: Cohort

    @property
    def has_shares(self) -> bool:
        """Whether a clinic adds noise to its lanes; in mode record-local its update has it already."""
        return self.mode != RECORD_LOCAL

    def sensitivity(self, learning_rate: float) -> float:
        """L2 by which one unit moves the sum of what clinics send in a round of this learning rate."""
        if self.mode == RECORD_DISTRIBUTED:
            return learning_rate * self.clip / (self.rate * self.cohort.patients)
        return self.clip

    def reach(self, learning_rate: float) -> float:
        """Bound of each number that a clinic sends: of mode record-distributed, what its sample can add up to."""
        if self.mode != RECORD_DISTRIBUTED:
            return self.clip
        drawn = self.rate * self.cohort.most_patients
        return self.sensitivity(learning_rate) * (drawn + SPREAD * math.sqrt(drawn) + SPREAD)

    def mechanism(self, learning_rate: float) -> Mechanism:
        """Of one round."""
        sensitivity = self.sensitivity(learning_rate)
        opened = Opened(UPDATE, sensitivity, self.dimensions, self.noise_multiplier, self.rate, self.steps)
        return Mechanism(self.mode, self.cohort.least_honest, (opened,))

    def bound(self, bits: int, learning_rate: float) -> float:
        """`bound` of the masked vector's layout: `reach`, and room for the noise of all clinics. Raises ConfigError.

        `learning_rate` is the run's largest: the layout stays the same in all rounds. Of the modes with shares; in mode
        record-local the layout is that of a run without privacy.
        """
        if not self.has_shares:
            raise ConfigError("mode record-local adds no noise to lanes; its layout has the scenario's own bound")
        clinics = self.cohort.clinics
        scale, _ = self.mechanism(learning_rate).fitted(UPDATE, bits, clinics, self.reach(learning_rate))
        return (2.0 ** (bits - 1) - 1 - clinics) / (clinics * scale) * (1 + 2.0**-20)  # a layout rounds its scale down

    def share(self, learning_rate: float, factor: float) -> float:
        """Width (lattice units) of the noise that a clinic adds, on the layout's `scale.factor`; 0 in mode record-local.

        Where the learning rate is so low that rounding to the lattice moves more than a patient, that is hidden too.
        Raises ConfigError where the lattice is too coarse for any noise.
        """
        return self.mechanism(learning_rate).share(UPDATE, factor) or 0.0

    def clipped(self, changes: Mapping[str, NDArray[Any]], learning_rate: float) -> Tensors:
        """What may be written into lanes. Cutting to a box moves no two vectors apart, so the sensitivity stays."""
        if not self.has_shares:
            return dict(changes)
        kept = clip_l2(changes, self.clip)[0] if self.mode == CLINIC else changes
        reach = self.reach(learning_rate)
        return {name: np.clip(values, -reach, reach) for name, values in kept.items()}

    def releases(self, unit: str = "patient") -> tuple[Release, ...]:
        """What a round costs a patient (or record): what `Budget.charge` takes. `unit="clinic"`: what it costs a clinic."""
        return self.mechanism(1.0).releases(unit)

    def cost(self, unit: str = "patient") -> float:
        """Epsilon of the whole run."""
        return epsilon([replace(each, count=each.count * self.rounds) for each in self.releases(unit)], self.delta)


@lru_cache(maxsize=64)
def terms(private: DifferentialPrivacy, training: Training, rounds: int, dimensions: int, cohort: Cohort) -> Terms:
    """The terms of a run of so many rounds, of a model of `dimensions` trained numbers.

    Raises ConfigError where the scenario's own noise would cost more than its epsilon, or no noise is enough; MissingPart
    without dp-accounting.
    """
    rate = 1.0 if private.rate is None else private.rate
    steps = steps_of(training, rate) if private.mode == RECORD_LOCAL else 1
    noise = private.noise
    if noise is None:
        rounding = 0.0 if private.mode == RECORD_LOCAL else BETA * rounds
        noise = noise_for(private.epsilon, private.delta - rounding, rate, steps * rounds)
    found = Terms(private.mode, private.clip, rate, noise, steps, rounds, private.delta, dimensions, cohort)
    unit = CLINIC if private.mode == CLINIC else "patient"
    if private.noise is not None and (cost := found.cost(unit)) > private.epsilon:
        raise ConfigError(
            f"privacy.differential_privacy.noise: {noise:g} clips cost epsilon {cost:.3f} at delta {private.delta:g} over "
            f"{steps * rounds} releases, and epsilon is {private.epsilon:g}; leave noise out, and what is needed is computed"
        )
    return found


def hide(lanes: NDArray[np.uint32] | NDArray[np.uint16], parameters: int, share: float, seed: bytes) -> None:
    """Add a clinic's share to the first `parameters` lanes, the tensors', in place; the witness behind them has none.

    `seed`: 24 bytes from a CSPRNG, for this vector alone. Nothing is added where the share is 0 (mode record-local).
    """
    if share:
        add_noise(lanes[:parameters], share, seed)
