"""How a device makes the step that everybody makes: the same batch, in as many pieces as its memory asks for.

Gradients of micro-batches add up to that of the batch where no layer looks across cases (GroupNorm, InstanceNorm: yes;
BatchNorm: no), so a site with a small card makes the same step as one with a large card, later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fedmed.config.scenario import Training
from fedmed.config.topology import Precision
from fedmed.twin.planning.cost import PASSES_AGAIN, Cost
from fedmed.twin.planning.memory import USABLE, Need, need
from fedmed.twin.profiles import PASSES, Profile


@dataclass(frozen=True)
class Step:
    """One optimiser step on one device."""

    precision: Precision
    micro: int
    """Cases at a time."""
    accumulate: int
    """Times, to one step."""
    is_checkpointed: bool
    """Forward is computed again in backward, for memory."""
    need: Need
    is_split: bool
    """It is not a whole batch as it stands."""

    @property
    def batch(self) -> int:
        """Cases of the step; the same at every site."""
        return self.micro * self.accumulate

    def seconds(self, cost: Cost, profile: Profile) -> float:
        """Of the step: operations through the share of the peak that training reaches, or as measured where nothing is
        computed again."""
        if profile.step is not None and not self.is_checkpointed:
            return profile.step
        passes = PASSES_AGAIN if self.is_checkpointed else PASSES
        return passes * cost.operations * self.batch / profile.rate(self.precision)

    def words(self) -> str:
        """`4 x 8, bf16, checkpointed`."""
        parts = f"{self.micro}" if self.accumulate == 1 else f"{self.micro} x {self.accumulate}"
        return f"{parts}, {self.precision}" + (", checkpointed" if self.is_checkpointed else "")


@dataclass(frozen=True)
class Misfit:
    """A model that cannot be trained on a device, and what could be."""

    needed: float
    """Bytes of the least step: one case, checkpointed."""
    has: float
    """Bytes that the device can fill."""
    patch: tuple[int, ...] | None
    """The largest patch of the same proportions that fits; None where even a small one does not, or none was given."""
    machines: tuple[str, ...]
    """Built-in machines that would do, the smallest first."""


def choose(cost: Cost, training: Training, profile: Profile, for_each: bool = False) -> Step | None:
    """The quickest way to make the step on this device, or None: whole, else in pieces, else computed again as well.

    Pieces come first because they cost nothing but small kernels, and computing again costs a third more.
    """
    precision = profile.precision(training.precision)
    has = USABLE * profile.memory
    for again in (False, True):
        for micro in _divisors(training.batch_size):
            needed = need(cost, training, precision, micro, again, for_each)
            if needed.total <= has:
                is_split = micro < training.batch_size or again
                return Step(precision, micro, training.batch_size // micro, again, needed, is_split)
    return None


def _divisors(batch: int) -> Iterator[int]:
    """From the largest: every piece is as large as the others, so that each case weighs the same."""
    return (micro for micro in range(batch, 0, -1) if batch % micro == 0)


def misfit(cost: Cost, training: Training, profile: Profile, others: Iterable[Profile], for_each: bool = False) -> Misfit:
    """What would fit, for a model that `choose` found no step for."""
    precision = profile.precision(training.precision)
    least = need(cost, training, precision, 1, True, for_each)
    able = [each for each in others if choose(cost, training, each, for_each) is not None]
    able.sort(key=lambda each: (each.memory, each.price))
    has = USABLE * profile.memory
    return Misfit(least.total, has, _patch(cost, least, has), tuple(each.name for each in able))


def _patch(cost: Cost, least: Need, has: float) -> tuple[int, ...] | None:
    """Activations grow with the voxels of a patch; sides stay multiples of 16, which four levels halve."""
    room = has - replace(least, activations=0.0).total
    sides = cost.inputs[1:]
    if len(sides) < 2 or room <= 0 or least.activations <= 0:
        return None
    scale = (room / least.activations) ** (1 / len(sides))
    smaller = tuple(int(side * scale) // 16 * 16 for side in sides)
    return smaller if min(smaller) >= 16 else None
