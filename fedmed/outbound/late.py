"""An update that came too late for its sum: the clinic keeps it and adds it to its next one, once.

    what was committed for the round - its masks -> the clinic's own lanes, in memory -> lanes of the next update

Whole numbers are added, so the next sum is exactly that of both. Each was multiplied by its own weight; the weight and the
metrics that are sent are those of the new one alone, so the mean is Σ (w·new + w'·carried) / Σ w. Nothing is written down: a
process that starts anew has forgotten it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedmed.errors import ProtocolRefused, UpdateRefused
from fedmed.outbound.update import Change
from fedmed.privacy.secagg.dither import BLOCK
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.quantise import centred
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.scale import step_of


@dataclass(frozen=True)
class Upload:
    """An update that leaves, by what decides where it may be added later."""

    federation: str
    run: str
    epoch: int
    number: int
    """The protocol's round within the epoch."""
    given: bytes
    """Digest of the model and the settings that it was made from."""
    layout: bytes
    """Digest."""

    @classmethod
    def of(cls, terms: Parameters, number: int, given: bytes, layout: Layout) -> Upload:
        """The upload of one round of an epoch."""
        return cls(terms.federation, terms.run, terms.epoch, number, given, layout.digest())

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and number."""
        return self.epoch, self.number


@dataclass(frozen=True)
class Update:
    """An update as it is about to be masked."""

    upload: Upload
    layout: Layout
    lanes: Lanes
    """All of the layout's."""
    change: Change
    weight: int


class Late:
    """What a process of a clinic knows of its newest update: whether it holds another, and its lanes if it was too late."""

    def __init__(self, is_wished: bool, is_private: bool, tell: Callable[[str], None]) -> None:
        """`is_private`: under differential privacy nothing is carried, for two updates would move a sum by twice the clip.

        `tell` reaches the staff.
        """
        self._is_wished, self._is_private, self._tell = is_wished, is_private, tell
        self._newest: Upload | None = None
        self._within: Upload | None = None
        self._kept: tuple[Upload, Lanes] | None = None
        self._has_said_why = False

    def wants(self, epoch: int, number: int) -> bool:
        """Whether the update of this round is to be kept, now that it is sure that nobody opens it.

        One that holds an earlier one already is not: a center that leaves out the same clinic again and again would get a
        sum in which the clinic's part drowns all others'.
        """
        if not self._is_wished:
            return False
        if self._is_private:
            if not self._has_said_why:
                self.lose("under differential privacy it would move the next sum by twice the clip")
            self._has_said_why = True
            return False
        if self._newest is None or self._newest.place != (epoch, number):
            self.lose("another process of this clinic sent it, and nothing of it is written down")
            return False
        if self._within is not None:
            self.lose("it holds an earlier one already, and an update is carried once")
            return False
        return True

    def keep(self, lanes: Lanes) -> None:
        """Keep the plain vector of the newest update until the next one leaves."""
        assert self._newest is not None
        self._kept = self._newest, lanes

    def lose(self, why: str) -> None:
        """Tell the staff that an update goes into no sum."""
        self._tell(f"an update that came too late for its sum goes into none: {why}")

    def leave(self, update: Update, most_norm: float | None) -> float:
        """Add what is kept to the lanes of `update`, in place, and forget it; the L2 norm of the change that leaves.

        Where it does not fit, the staff is told why, and `update` stays as it was.
        """
        kept, self._kept = self._kept, None
        self._newest, self._within = update.upload, None
        if kept is None:
            return update.change.norm
        before, lanes = kept
        try:
            _refuse_other(before, update.upload)
            norm = _added(update, lanes, most_norm)
        except (ProtocolRefused, UpdateRefused) as error:
            self.lose(str(error))
            return update.change.norm
        self._within = before
        return norm

    def within(self, epoch: int, number: int) -> tuple[int, int] | None:
        """Epoch and number of the update that this one holds as well, if any."""
        is_it = self._newest is not None and self._newest.place == (epoch, number)
        return self._within.place if is_it and self._within is not None else None


def _refuse_other(before: Upload, now: Upload) -> None:
    if (before.federation, before.run) != (now.federation, now.run):
        raise UpdateRefused("the next one is of another run")
    if before.given == now.given:
        raise UpdateRefused("its round is repeated, and both would be the same work")
    if before.layout != now.layout:
        raise UpdateRefused("the next one has another layout, in whose lanes it would be other numbers")


def _added(update: Update, own: Lanes, most_norm: float | None) -> float:
    """Add `own` where all of it fits; the norm of the sum. Raises ProtocolRefused, UpdateRefused, having changed nothing."""
    layout, lanes = update.layout, update.lanes
    layout.read(own, 1)  # its witness says that all masks are off
    norm = _checked(update, own)
    if most_norm is not None and not norm <= most_norm:
        raise UpdateRefused(f"with the next one its L2 norm is {norm:.4g}; allowed: at most {most_norm:g}")
    np.add(lanes[: layout.parameters], own[: layout.parameters], out=lanes[: layout.parameters])
    return norm


def _checked(update: Update, own: Lanes) -> float:
    """The L2 norm of what both say at the new one's weight. Raises UpdateRefused where a lane leaves a clinic's range."""
    layout, start, squares = update.layout, 0, 0.0
    for tensor in layout.tensors:
        change = update.change.tensors[tensor.name].reshape(-1)
        for first in range(0, tensor.size, BLOCK):
            part = change[first : first + BLOCK]
            here = slice(start + first, start + first + len(part))
            carried = centred(own[here]).astype(np.int64)
            if (largest := int(np.abs(centred(update.lanes[here]) + carried).max())) > layout.scale.most_lane:
                raise UpdateRefused(
                    f"with the next one a lane of tensor {tensor.name!r} is {largest}; allowed: at most "
                    f"{layout.scale.most_lane}, or the sum could overflow"
                )
            both = part + carried * step_of(layout.scale, update.weight)
            squares += float(np.einsum("i,i", both, both))
        start += tensor.size
    return math.sqrt(squares)
