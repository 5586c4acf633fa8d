"""Where a clinic's devices enter its rounds: between the app, which trains at the clinic, and the gate.

    gate.work( app and devices at once -> folded as if the app had trained on all of it )

The gate goes on as without devices: it judges, clips, adds noise and masks what is folded. The center's round is the same
round; it hears of cases, never of devices.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from fedmed.config.privacy import BOUNDS
from fedmed.errors import FedmedError
from fedmed.flower import guard
from fedmed.flower.guard import Job, Sealed
from fedmed.outbound.declared import declared as metrics_in
from fedmed.outbound.description import Sizes, declared
from fedmed.outbound.private import order_in
from fedmed.outbound.update import CASES, change
from fedmed.privacy.secagg import layout_bytes
from fedmed.privacy.secagg.layout import Layout
from fedmed.tiers import fold
from fedmed.tiers.asking import Gathered
from fedmed.tiers.playing import Work
from fedmed.tiers.terms import mode_in
from fedmed.wire.tensors import Tensors

App = Callable[[], tuple[Tensors, Mapping[str, Any]]]
EXAMPLES, TRAIN, UPDATE = "examples", "train", "train"
NO_LIMIT = 1 << 31
"""Room for cases where weights are not told: under differential privacy every clinic counts as one."""


class Devices(Protocol):
    """See `fedmed.tiers.asking.Devices`."""

    def ask(self, work: Work, is_trained: Callable[[], bool]) -> Gathered:
        """One round of the clinic's devices; they have little time once the clinic itself has trained."""

    def cases(self) -> int:
        """Training cases that all devices of the clinic declared."""


@dataclass(frozen=True)
class Own:
    """What the app works on, and for whom."""

    run: str
    sizes: Sizes
    """As the clinic itself declares its data set, without devices."""
    most_norm: float | None = None
    """Largest L2 norm of an update that the staff lets leave."""


class WithDevices:
    """A clinic's gate, in front of which its devices train along. Devices are asked for updates and nothing else:
    census and validation are of the clinic's own cases."""

    def __init__(self, gate: guard.Gate, devices: Devices, own: Own, tell: Callable[[str], None]) -> None:
        self._gate, self._devices, self._own, self._tell = gate, devices, own, tell
        self._hands = ThreadPoolExecutor(1, "fedmed-devices")  # one round of devices at a time

    @property
    def certificate(self) -> bytes:
        """The clinic's own, DER."""
        return self._gate.certificate

    def answer(self, request: bytes) -> bytes:
        """As the gate answers."""
        return self._gate.answer(request)

    def describe(self, app: Callable[[], str]) -> str:
        """What the app says, with the devices' training cases in the declared size."""
        return self._gate.describe(lambda: self._described(app()))

    def _described(self, text: str) -> str:
        try:
            more = self._devices.cases()
            told = json.loads(text)
            told[EXAMPLES][TRAIN] = declared(told[EXAMPLES][TRAIN] + more)
        except FedmedError as error:
            self._tell(f"devices' cases are not in what the clinic declares: {error}")
            return text
        except (ValueError, TypeError, KeyError, RecursionError):
            return text  # no description: the gate refuses it
        return json.dumps(told) if more else text

    def work(self, job: Job, app: App) -> Sealed:
        """What leaves for a job."""
        if job.kind != UPDATE:
            return self._gate.work(job, app)
        return self._gate.work(job, lambda: self._together(job, app))

    def _together(self, job: Job, app: App) -> tuple[Tensors, Mapping[str, Any]]:
        layout = layout_bytes.decode(job.layout)
        try:
            work = self._work(job, layout)
        except FedmedError as error:
            self._tell(f"no device was asked: {error}")
            return app()
        trained = threading.Event()
        asked = self._hands.submit(self._devices.ask, work, trained.is_set)
        try:
            made, values = app()
        finally:
            trained.set()
        gathered = asked.result()
        if not gathered.parts:
            return made, values
        try:
            return self._folded(job, layout, gathered, made, values)
        except FedmedError as error:
            self._tell(f"the devices' part was left out: {error}")
            return made, values

    def _work(self, job: Job, layout: Layout) -> Work:
        """Raises UpdateRefused, ProtocolRefused for an order that devices could not read."""
        order = json.dumps(order_in(job.text))
        is_private = mode_in(order) is not None
        bound = max(layout.bound, BOUNDS[32]) if is_private else layout.bound
        room = NO_LIMIT if is_private else layout.most_weight - self._own.sizes.training
        run = sha256(self._own.run.encode()).hexdigest()
        return Work(run, order, job.model, layout.tensors, bound, metrics_in(job.text), room)

    def _folded(
        self, job: Job, layout: Layout, gathered: Gathered, made: Tensors, values: Mapping[str, Any]
    ) -> tuple[Tensors, Mapping[str, Any]]:
        """The app's answer as if it had trained on the devices' cases too. Raises UpdateRefused."""
        own, cases = change(layout, job.model, made), values.get(CASES)
        if not isinstance(cases, int) or isinstance(cases, bool):
            cases = self._own.sizes.training  # in mode clinic the app may tell no number; its part weighs as declared
        folded = fold.fold([fold.as_part(own, cases, values), *gathered.parts], job.model)
        most = self._own.most_norm
        if most is not None and own.norm <= most < folded.change.norm:
            self._tell(f"the devices' part was left out: with it the L2 norm is {folded.change.norm:.4g}, allowed: {most:g}")
            return made, values
        trained = fold.trained(job.model, folded)
        answer = {name: trained[name] if name in own.tensors else value for name, value in made.items()}
        return answer, {**values, **folded.values}
