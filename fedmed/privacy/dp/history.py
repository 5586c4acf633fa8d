"""What was spent on a data set: charges, their sum, and whether one more fits a limit. Files are `store.budgets`'s."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fedmed.errors import BudgetRefused, ConfigError
from fedmed.privacy.dp.accountant import MOST_NAME, Release, epsilon

UNITS = {"patient": "per patient", "record": "per record: patient ids are missing"}
"""Whom a guarantee is for, in words that go with every epsilon."""
MOST_EVENTS = 64


@dataclass(frozen=True)
class Limit:
    """The most that a clinic allows a data set to be told of. Raises ConfigError, naming all faults."""

    epsilon: float
    delta: float
    unit: str
    """`patient`, or `record` where the data set's cases do not say whose they are."""

    def __post_init__(self) -> None:
        rules = {
            f"epsilon {self.epsilon} (above 0 and finite)": 0 < self.epsilon < float("inf"),
            f"delta {self.delta} (above 0, below 1; at most 1 / number of patients)": 0 < self.delta < 1,
            f"unit {self.unit!r} (known: {', '.join(UNITS)})": self.unit in UNITS,
        }
        if faults := [text for text, kept in rules.items() if not kept]:
            raise ConfigError(f"a privacy limit cannot have {'; '.join(faults)}")


@dataclass(frozen=True)
class Charge:
    """What one round of one run cost a data set."""

    dataset: str
    run: str
    round: int
    unit: str
    events: tuple[Release, ...]
    sent: str
    """SHA-256 of the bytes that this charge lets go; empty where they were not known yet."""
    unix: float
    """Seconds since 1970."""

    def __post_init__(self) -> None:
        """Raises ConfigError, naming all faults: a run's name and its events come from a center."""
        rules = {
            f"data set {self.dataset[:80]!r} (1 to {MOST_NAME} characters)": 0 < len(self.dataset) <= MOST_NAME,
            f"run {self.run[:80]!r} (1 to {MOST_NAME} characters)": 0 < len(self.run) <= MOST_NAME,
            f"round {self.round} (0 to 2^63)": 0 <= self.round < 2**63,
            f"{len(self.events)} events (1 to {MOST_EVENTS})": 0 < len(self.events) <= MOST_EVENTS,
            f"unit {self.unit!r} (known: {', '.join(UNITS)})": self.unit in UNITS,
            f"digest {self.sent[:80]!r} (64 hexadecimal digits, or none)": re.fullmatch("(?:[0-9a-f]{64})?", self.sent),
        }
        if faults := [text for text, kept in rules.items() if not kept]:
            raise ConfigError(f"a round cannot be charged with {'; '.join(faults)}")


class Spent(NamedTuple):
    """What a data set has cost so far, at a delta, and to whom that applies."""

    epsilon: float
    delta: float
    events: int
    """Releases, counted."""
    unit: str

    def __str__(self) -> str:
        return f"epsilon {self.epsilon:.3f} at delta {self.delta:g} {UNITS[self.unit]}"


def spent(charges: Iterable[Charge], limit: Limit) -> Spent:
    """All of `charges`, which are of one data set, at the limit's delta. Raises as `accountant.epsilon` does."""
    events = [event for charge in charges for event in charge.events]
    return Spent(epsilon(events, limit.delta), limit.delta, sum(event.count for event in events), limit.unit)


def is_resend(charges: Iterable[Charge], charge: Charge) -> bool:
    """Whether the very bytes of `charge` were paid for: who sees them twice learns nothing more."""
    paid = ((one.run, one.round, one.sent, one.events) for one in charges)
    return bool(charge.sent) and (charge.run, charge.round, charge.sent, charge.events) in paid


def after(charges: Sequence[Charge], charge: Charge, limit: Limit) -> Spent:
    """What will have been spent with `charge`. Raises BudgetRefused where that is more than the limit."""
    if others := {one.unit for one in charges} - {limit.unit}:
        raise BudgetRefused(
            f"data set {charge.dataset!r} was charged {UNITS[others.pop()]}, and the limit is {UNITS[limit.unit]}; the two "
            "do not add up: set the limit in the unit that was charged"
        )
    try:
        would = spent([*charges, charge], limit)
    except ConfigError as error:
        raise BudgetRefused(f"round {charge.round} of run {charge.run!r} cannot be accounted for: {error}") from error
    if would.epsilon > limit.epsilon:
        now = spent(charges, limit)
        raise BudgetRefused(
            f"round {charge.round} of run {charge.run!r} would bring data set {charge.dataset!r} to {would}; the limit is "
            f"{limit.epsilon:g}, and {now.epsilon:.3f} is spent. Nothing was sent. Plan with more noise or fewer rounds "
            "(fedmed privacy plan), or let whoever answers for the data set raise the limit"
        )
    return would
