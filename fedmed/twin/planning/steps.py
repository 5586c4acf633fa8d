"""How a device makes the step that everybody makes: the same batch, in as many pieces as its memory asks for.

A batch that does not fit goes through the network in parts, and the loss is that of all of it (Gao et al. 2021; that is
fedmed.learning.fitting), so a site with a small card makes the same step as one with a large card, a forward pass later.
Where no layer looks across cases (GroupNorm, InstanceNorm) the two are equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fedmed.config.scenario import Training
from fedmed.config.topology import Precision
from fedmed.twin.planning.cost import Cost
from fedmed.twin.planning.memory import USABLE, Need, is_mixed, need
from fedmed.twin.profiles import PASSES, Profile

MOVES = 4
"""Times that a number kept for backward goes over the memory's bus: written and read, and so its gradient."""
START_S = 10e-6
"""Seconds to start a kernel (recalled: 5 to 20 microseconds from Python)."""


@dataclass(frozen=True)
class Step:
    """One optimiser step on one device."""

    precision: Precision
    batch: int
    """Cases of the step; the same at every site."""
    micro: int
    """Cases at a time."""
    is_checkpointed: bool
    """Forward is computed again in backward, for memory."""
    need: Need

    @property
    def parts(self) -> int:
        """Times that cases go through the network, to one step; the last part may be smaller."""
        return -(-self.batch // self.micro)

    @property
    def passes(self) -> int:
        """In forward passes: one more for parts, whose outputs are made first, and one more for what is computed again
        (Chen et al. 2016, section 3)."""
        return PASSES + (self.parts > 1) + self.is_checkpointed

    def seconds(self, cost: Cost, profile: Profile) -> float:
        """Of the step: what of `parts_of` takes longest, or as it was measured."""
        if profile.step is not None:
            return profile.step * self.passes / PASSES
        return max(self.parts_of(cost, profile).values())

    def parts_of(self, cost: Cost, profile: Profile) -> dict[str, float]:
        """Seconds of what goes on side by side in a step (the roofline of Williams et al. 2009, and starting kernels):

        computing  passes x operations x batch / (peak x share that training reaches)
        moving     4 x what forward keeps, written and read with its gradients, and the weights' share, / bandwidth
        starting   3 kernels for each tensor kept, forward and backward, in each part
        """
        kept = cost.kept_bytes(is_mixed(self.precision))
        moved = MOVES * (self.batch * sum(kept) + self.need.gradients + self.need.state)
        return {
            "computing": self.passes * cost.operations * self.batch / profile.rate(self.precision),
            "moving": moved / profile.bandwidth,
            "starting": self.passes * len(kept) * self.parts * START_S,
        }

    def words(self) -> str:
        """`16, bf16`, or `16 in 4 parts, fp16, checkpointed`."""
        parts = f" in {self.parts} parts" if self.parts > 1 else ""
        return f"{self.batch}{parts}, {self.precision}" + (", checkpointed" if self.is_checkpointed else "")


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
    """The quickest way to make the step on this device, or None: whole, else in parts, else computed again as well.

    Parts come first because they are what fedmed's training does by itself; both cost a forward pass.
    """
    precision = profile.precision(training.precision)
    has = USABLE * profile.memory
    for again in (False, True):
        for micro in _halves(training.batch_size):
            needed = need(cost, training, precision, micro, again, for_each)
            if needed.total <= has:
                return Step(precision, training.batch_size, micro, again, needed)
    return None


def _halves(batch: int) -> Iterator[int]:
    """As training tries them where memory runs out."""
    yield batch
    while batch > 1:
        batch = -(-batch // 2)
        yield batch


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
