"""Where things can be run: devices beside scanners, a clinic's own machines, the center."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from fedmed.errors import ConfigError
from fedmed.placement.tasks import CPU, NOTHING, Amount, Needs, Precision, Rung, named


class Tier(Enum):
    """How far from the scanner."""

    DEVICE = "device"
    CLINIC = "clinic"
    CENTER = "center"


@dataclass(frozen=True)
class Node:
    """One machine, as it was enrolled. Raises ConfigError for what no node may be."""

    name: str
    tier: Tier
    clinic: str
    """Empty for the center's machines."""
    capacity: Amount
    accelerators: frozenset[str] = frozenset()
    """Beside the processor."""
    precisions: frozenset[Precision] = frozenset(Precision)
    data: frozenset[str] = frozenset()
    """Names of data that it holds."""
    shares_memory: bool = False
    """Whether its accelerator has no memory of its own, as on a Jetson."""

    def __post_init__(self) -> None:
        named("node", self.name)
        self.capacity.check(f"node {self.name}: capacity")
        if (self.tier is Tier.CENTER) != (not self.clinic):
            raise ConfigError(
                f"node {self.name}: tier {self.tier.value} and clinic {self.clinic[:40]!r}; "
                "a device or clinic machine names its clinic, one of the center names none"
            )
        for name in (*self.accelerators, *self.data, *([self.clinic] if self.clinic else [])):
            named(f"node {self.name}", name)

    def engine(self, needs: Needs) -> str:
        """The best accelerator for `needs` here; empty for none."""
        return next((each for each in needs.accelerators if each == CPU or each in self.accelerators), "")

    def charge(self, needs: Needs, rung: Rung, engine: str) -> Amount:
        """What a task takes here: a network lies in memory where there is no card, or the card has no memory."""
        size = needs.network_bytes(rung)
        if engine == CPU or self.shares_memory:
            return Amount(needs.amount.cores_milli, needs.amount.memory + needs.amount.gpu + size, 0, needs.amount.disk)
        return Amount(needs.amount.cores_milli, needs.amount.memory, needs.amount.gpu + size, needs.amount.disk)


@dataclass(frozen=True)
class Live:
    """How busy a node is, as its last heartbeat said."""

    busy: float | None = None
    """Share of its busiest processor, 0 to 1; None where it cannot be read."""
    other: Amount = field(default_factory=Amount)
    """What programs that are no task of ours take."""

    def __post_init__(self) -> None:
        self.other.check("what others take")
        if self.busy is not None and not 0 <= self.busy <= 1:
            raise ConfigError(f"busy is {self.busy}; allowed are shares from 0 to 1, and none where it cannot be read")


@dataclass(frozen=True)
class Standing:
    """A node and what is known of it now."""

    node: Node
    heard: float
    """When its last heartbeat came."""
    live: Live = field(default_factory=Live)
    used: Amount = field(default_factory=Amount)
    """What the tasks take that it was given."""
    is_lost: bool = False
    isolated: str = ""
    """Why it takes no tasks; empty where it does."""

    @property
    def takes_tasks(self) -> bool:
        """Whether it was heard of and is not isolated."""
        return not self.is_lost and not self.isolated

    def has_room(self, charge: Amount, without: Amount = NOTHING) -> bool:
        """Whether `charge` fits now, were `without` given back: every part of it that is not 0."""
        has, used, other = self.node.capacity, self.used, self.live.other
        return (
            (
                not charge.cores_milli
                or charge.cores_milli + used.cores_milli - without.cores_milli + other.cores_milli <= has.cores_milli
            )
            and (not charge.memory or charge.memory + used.memory - without.memory + other.memory <= has.memory)
            and (not charge.gpu or charge.gpu + used.gpu - without.gpu + other.gpu <= has.gpu)
            and (not charge.disk or charge.disk + used.disk - without.disk + other.disk <= has.disk)
        )

    def room_lacking(self, charge: Amount) -> str:
        """What is short for `charge` now, in words; empty where nothing is."""
        return charge.over(self.node.capacity.plus(self.live.other, -1).plus(self.used, -1))
