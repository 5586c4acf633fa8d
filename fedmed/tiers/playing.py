"""One round of a hub's devices, played: asks over the transport, sums what comes, and reads the sum.

The rules are in `round`, which is pure; this sends, adds and takes masks off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import Clock
from fedmed.errors import ProtocolRefused, UpdateRefused
from fedmed.privacy.secagg import masks
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.questions import LOSS
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.tiers import fold
from fedmed.tiers.epochs import said
from fedmed.tiers.fold import Part
from fedmed.tiers.messages import Masked, Plain, Task
from fedmed.tiers.round import (
    Ask,
    DeviceRound,
    Event,
    Fold,
    Lost,
    Open,
    OrderCame,
    Phase,
    Read,
    Said,
    Take,
    Ticked,
    Trained,
    Updated,
    step,
)
from fedmed.tiers.transport import Answer, Transport
from fedmed.wire.tensors import Tensors


@dataclass(frozen=True)
class Work:
    """What devices are asked for in a round."""

    run: str
    order: str
    """The order's text, as the clinic's own app has it."""
    model: Tensors
    tensors: tuple[Tensor, ...]
    """Those that a change is sent of."""
    bound: float
    """Of a change's values."""
    own: Mapping[str, float]
    """Bounds of the metrics that the order declares."""
    room: int
    """Training cases that the clinic may tell the center beside its own."""


@dataclass
class Play:
    """A round under way."""

    transport: Transport
    clock: Clock
    work: Work
    state: DeviceRound
    layout: Layout
    task: Task
    cases: Mapping[str, int]
    """Device -> training cases that it declared."""
    is_trained: Callable[[], bool] = lambda: False
    """Whether the clinic's own training is over."""
    parts: tuple[Part, ...] = ()
    """What the devices said, once the round is over; none where it was given up."""
    accused: tuple[str, ...] = ()
    _total: Lanes = field(init=False)
    _plain: dict[str, Part] = field(default_factory=dict)
    _arrived: Lanes | Part | None = None
    """The update that the machine is being told of."""
    _was_trained: bool = False

    def __post_init__(self) -> None:
        self._total = self.layout.zeros()

    @property
    def is_masked(self) -> bool:
        """Whether updates are summed under masks."""
        return self.state.opening is not None

    @property
    def is_shut(self) -> bool:
        """Whether a masked round ended without its sum: its epoch is better not used again."""
        return self.is_masked and not self.parts

    def run(self) -> DeviceRound:
        """From the order to the end."""
        ask = self._advance(OrderCame(self.task.encode(), self.clock.now()))
        while ask is not None:
            ask = self._exchange(ask)
        return self.state

    def _exchange(self, ask: Ask) -> Ask | None:
        """What to ask next; None where the round is over."""
        with closing(self.transport.exchange(dict.fromkeys(ask.devices, ask.request), self._until)) as answers:
            for answer in answers:
                following = self._advance(self._event(answer))
                if following is not None or self.state.phase is Phase.OVER:
                    return following
        return self._advance(Ticked(self.state.deadline))

    def _until(self) -> float:
        """The deadline, nearer once the clinic has trained."""
        if not self._was_trained and self.is_trained():
            self._was_trained = True
            self._advance(Trained(self.clock.now()))
        return self.state.deadline

    def _event(self, answer: Answer) -> Event:
        device, now = answer.device, self.clock.now()
        if device not in self.state.waiting:
            return Lost(device, "not asked", now)
        try:
            body = said(answer)
            if self.state.phase is not Phase.UPDATES:
                return Said(device, body, now)
            if not self.is_masked:
                self._arrived = self._judged(device, Plain.decode(body))
                return Updated(device, now)
            read = Masked.decode(body)
            self._arrived = self._lanes(read.vector)
            return Updated(device, now, read.envelope, vector_digest(self._arrived))
        except (ProtocolRefused, UpdateRefused) as error:
            return Lost(device, str(error), now)

    def _lanes(self, vector: bytes) -> Lanes:
        total = self._total
        if len(vector) != total.nbytes:
            raise UpdateRefused(f"a vector of {len(vector)} bytes; allowed: {total.nbytes}")
        little = total.dtype.newbyteorder("<")
        return cast(Lanes, np.frombuffer(vector, little).astype(total.dtype, copy=False))

    def _judged(self, device: str, plain: Plain) -> Part:
        """A plain update as a masked one's device would have judged it. Raises UpdateRefused."""
        most = self.cases[device]
        if not 0 < plain.cases <= most:
            raise UpdateRefused(f"an update of {plain.cases} cases; allowed: 1 to {most}, the size that the device declared")
        if plain.metrics.keys() != self._names:
            raise UpdateRefused(f"the metrics {sorted(plain.metrics)[:5]}; agreed on: {sorted(self._names)}")
        if plain.change.keys() != {tensor.name for tensor in self.layout.tensors}:
            raise UpdateRefused(f"a change of {len(plain.change)} tensors; agreed on: {len(self.layout.tensors)}")
        for tensor in self.layout.tensors:
            _refuse_strange(tensor, plain.change[tensor.name], self.work.model, self.layout.scale.limit)
        return fold.of_one(plain.change, plain.cases, plain.metrics)

    @property
    def _names(self) -> set[str]:
        return {LOSS, *self.work.own}

    def _advance(self, event: Event) -> Ask | None:
        self.state, instructions = step(self.state, event)
        asked: Ask | None = None
        for each in instructions:
            match each:
                case Ask():
                    asked = each
                case Take(device):
                    self._take(device)
                case Open():
                    return self._advance(self._read(each))
                case Fold() if not self.is_masked:
                    self.parts = tuple(self._plain[device] for device in sorted(self._plain))
        self._arrived = None
        return asked

    def _take(self, device: str) -> None:
        if isinstance(self._arrived, Part):
            self._plain[device] = self._arrived
        elif self._arrived is not None:
            np.add(self._total, self._arrived, out=self._total, casting="same_kind")

    def _read(self, said: Open) -> Read:
        """The sum without its masks, as the devices' part."""
        self.accused = said.accused
        masks.apply(self._total, said.streams)
        try:
            part = fold.of_sum(self.layout.read(self._total, said.survivors), sorted(self._names))
            if part.weight > self.work.room:
                raise UpdateRefused(
                    f"the devices say {part.weight} cases; the clinic has declared room for {self.work.room}"
                )
        except (ProtocolRefused, UpdateRefused) as error:
            return Read(str(error))
        self.parts = (part,)
        return Read()


def _refuse_strange(tensor: Tensor, value: NDArray[Any], model: Tensors, limit: float) -> None:
    given = model[tensor.name]
    if value.shape != given.shape or value.dtype != given.dtype:
        raise UpdateRefused(
            f"tensor {tensor.name!r} is {value.dtype} {list(value.shape)}; allowed: {given.dtype} {list(given.shape)}"
        )
    if not (np.abs(value) <= limit).all():
        raise UpdateRefused(f"tensor {tensor.name!r} has changes that are not finite or beyond ±{limit:g}")
