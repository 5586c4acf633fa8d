"""A device's side of a round: it trains on its own cases, and its change leaves masked, or as it is where that is agreed.

    task -> what may be asked -> train -> change -> policy -> mask -> answer

Bytes in, bytes out. The protocol's rules are those of `fedmed.privacy.secagg.client`, with the device's own keystore and
pins: a hub that lies about who takes part, asks for a round twice, or gives devices different orders is refused there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedmed.errors import DataError, FedmedError, ProtocolRefused, UpdateRefused
from fedmed.flower.keys import CONFIG_KEY
from fedmed.outbound.declared import declared, judge_bound, judge_fields
from fedmed.outbound.description import Sizes
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.outbound.update import Change, change, values_of
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import layout_bytes
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.taking_part import Given
from fedmed.tiers import messages
from fedmed.tiers.messages import Failed, Masked, Plain, Task
from fedmed.tiers.terms import Way, mode_in, privacy_fault, way_for
from fedmed.wire.digest import digest_of
from fedmed.wire.tensors import Tensors

Train = Callable[[str, Tensors], tuple[Tensors, Mapping[str, Any]]]
"""The order's text and the model -> the trained model and its numbers, `num-examples` and the loss among them.

Raises DataError, UpdateRefused where it cannot; what else it raises is the agent's to catch, at its process's boundary."""
WITHHELD = "the device sends nothing in this round; its own log says why"


@dataclass(frozen=True)
class Own:
    """What a device knows of itself and insists on."""

    fellows: Callable[[], int]
    """How many devices its clinic has by its own pins, itself among them: from three on nothing leaves in the plain."""
    cases: int
    """Training cases that it declared."""
    least_bound: float
    """Least bound of a change that it is asked for; what lies beyond is withheld, which would tell of its data."""
    most_norm: float | None = None
    """Largest L2 norm of a change; unbounded where None."""


class TakingPart:
    """One device."""

    def __init__(
        self, outbox: Outbox, train: Train, own: Own, rounding: Callable[[bytes], bytes], tell: Callable[[str], None]
    ) -> None:
        """`outbox` holds its keys and its pins; `rounding` gives a vector's seed for what was given; `tell` is its log."""
        self._outbox, self._train, self._own = outbox, train, own
        self._rounding, self._tell = rounding, tell

    def answer(self, request: bytes) -> bytes:
        """The answer to a request of the hub; a refusal is one, too. What went wrong with data stays in the own log."""
        try:
            if messages.kind_of(request) != messages.TASK:
                return self._outbox.answer(request)
            return self._work(Task.decode(request))
        except ProtocolRefused as error:
            self._tell(f"refused: {error}")
            return Failed(str(error)).encode()
        except FedmedError as error:
            self._tell(str(error))
            return Failed(WITHHELD).encode()

    def _work(self, task: Task) -> bytes:
        layout, own = layout_bytes.decode(task.layout), _metrics_in(task.order)
        if fault := privacy_fault(mode_in(task.order)):
            raise ProtocolRefused(fault)
        self._judge(task.way, layout, own)
        return self._plain(task, layout, own) if task.way is Way.PLAIN else self._masked(task, layout, own)

    def _judge(self, way: Way, layout: Layout, own: Mapping[str, float]) -> None:
        """Judge what is asked for before any data is looked at. Raises ProtocolRefused."""
        terms, known = self._outbox.terms, self._own.fellows()
        if way is not way_for(known):
            raise ProtocolRefused(
                f"asked for an update in the way {way.name.lower()}; allowed where a clinic has {known} devices, as this "
                f"one knows: {way_for(known).name.lower()}"
            )
        if way is Way.MASKED and (terms is None or layout.clients != terms.members):
            there = "none is set up" if terms is None else f"this epoch has {terms.members}"
            raise ProtocolRefused(f"a layout for {layout.clients} devices; {there}")
        judge_fields(Purpose.UPDATE, layout, own, Sizes(self._own.cases, 0))
        judge_bound(layout, self._own.least_bound)

    def _made(self, task: Task, layout: Layout) -> tuple[Change, Mapping[str, Any]]:
        trained, values = self._train(task.order, task.model)
        made, most = change(layout, task.model, trained), self._own.most_norm
        if not np.isfinite(made.norm):
            raise UpdateRefused("the change is not finite; lower the learning rate")
        if most is not None and made.norm > most:
            raise UpdateRefused(f"the change's L2 norm is {made.norm:.4g}; allowed: at most {most:g}")
        return made, values

    def _masked(self, task: Task, layout: Layout, own: Mapping[str, float]) -> bytes:
        digest = digest_of(task.order, task.model)
        given = Given(task.header, Purpose.UPDATE, digest, layout.digest(), layout.size, layout.bits)
        begun = self._outbox.begin(given)
        if isinstance(begun, Sent):  # asked again: the same bytes
            return _sealed(begun)
        made, values = self._made(task, layout)
        weight, fields = values_of(layout, values, own)
        lanes = layout.write(made.tensors, weight, fields, self._rounding(bytes([Purpose.UPDATE]) + digest))
        return _sealed(self._outbox.send(lanes, begun))

    def _plain(self, task: Task, layout: Layout, own: Mapping[str, float]) -> bytes:
        made, values = self._made(task, layout)
        weight, fields = values_of(layout, values, own)  # the same rules as of a masked update
        told = {name.removesuffix(".sum") for name in fields if name.endswith(".sum")}
        known = {name: float(values[name]) if _told(fields, name) else None for name in told}
        return Plain(weight, known, dict(made.tensors)).encode()


def _told(fields: Mapping[str, Any], name: str) -> bool:
    return bool(fields[f"{name}.weight"])


def _sealed(sent: Sent) -> bytes:
    little = sent.vector.astype(sent.vector.dtype.newbyteorder("<"), copy=False)
    return Masked(sent.envelope, little.tobytes()).encode()


def _metrics_in(order: str) -> Mapping[str, float]:
    """Bounds of the metrics that an order declares. Raises ProtocolRefused."""
    try:
        return declared(json.dumps({"order": {CONFIG_KEY: order}}))
    except RecursionError as error:
        raise DataError("an order that is nested too deep") from error
