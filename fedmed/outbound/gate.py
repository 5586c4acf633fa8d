"""The clinic's gate: what an app answers leaves masked, in the agreed layout, or not at all.

    app -> policy (tensors, norm, finite, bounds) -> mask -> ledger -> wire

All of it is the installed library; nothing of it can be reached from the app. What is wrong with an answer is told to the
clinic's own staff; the center hears only that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedmed.errors import FedmedError, ProtocolRefused, UpdateRefused
from fedmed.flower import keys
from fedmed.flower.guard import AppFailed, Job
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.outbound.update import delta, norm, values_of
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import layout_bytes
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.masks import Lanes
from fedmed.privacy.secagg.taking_part import Given
from fedmed.wire.digest import digest_of
from fedmed.wire.tensors import Tensors

App = Callable[[], tuple[Tensors, Mapping[str, Any]]]
PURPOSES = {"train": Purpose.UPDATE, "evaluate": Purpose.EVALUATION, keys.CENSUS: Purpose.CENSUS}
WITHHELD = "the site sends nothing in this round; its own log says why"


@dataclass(frozen=True)
class Rules:
    """What a clinic's staff has set for whatever leaves."""

    most_norm: float | None = None
    """Largest L2 norm of an update; unbounded where None."""


@dataclass(frozen=True)
class Passage:
    """A job that was let in, until something leaves for it."""

    job: Job
    purpose: Purpose
    layout: Layout
    given: bytes
    """Digest of all that was given."""


class Gate:
    """One clinic's way out."""

    def __init__(
        self,
        certificate: bytes,
        outbox: Outbox,
        rules: Rules,
        dither: Callable[[bytes], bytes],
        tell: Callable[[str], None],
    ) -> None:
        """`dither` gives the seed (24 bytes) of a vector's rounding, for its purpose and model; `tell` reaches the staff."""
        self.certificate = certificate
        self._outbox, self._rules, self._dither, self._tell = outbox, rules, dither, tell

    def answer(self, request: bytes) -> bytes:
        """The answer to a request of the protocol. Raises ProtocolRefused, StoreError."""
        return self._outbox.answer(request)

    def work(self, job: Job, app: App) -> Sent:
        """What leaves for a job: what the app makes of it, masked; what was sent before, where it had been done.

        Masks are made while the app works. Raises ProtocolRefused, and UpdateRefused, which says nothing of the answer.
        """
        layout = layout_bytes.decode(job.layout)
        terms = self._outbox.terms
        if terms is not None and layout.clients != terms.members:  # a sum over more would be another number
            raise ProtocolRefused(f"a layout for {layout.clients} clinics; this epoch has {terms.members}")
        passage = Passage(job, PURPOSES[job.kind], layout, digest_of(job.text, job.model))
        given = Given(job.header, passage.purpose, passage.given, layout.digest(), layout.size, layout.bits)
        begun = self._outbox.begin(given)
        if isinstance(begun, Sent):
            return begun
        with ThreadPoolExecutor(1, "fedmed-masks") as masker, self._in_confidence():
            masks = masker.submit(begun)
            return self._outbox.send(self._lanes(passage, *app()), masks.result())

    def _lanes(self, passage: Passage, tensors: Tensors, values: Mapping[str, Any]) -> Lanes:
        layout, dither = passage.layout, self._dither(bytes([passage.purpose]) + passage.given)
        if passage.purpose is not Purpose.UPDATE:
            return layout.write({}, 0, tensors, dither)
        weight, fields = values_of(layout, values)
        changes = delta(layout, passage.job.model, tensors)
        most, size = self._rules.most_norm, norm(changes)
        if most is not None and not size <= most:
            raise UpdateRefused(f"the update's L2 norm is {size:.4g}; allowed: at most {most:g}")
        return layout.write(changes, weight, fields, dither)

    @contextmanager
    def _in_confidence(self) -> Iterator[None]:
        """Whatever goes wrong inside is told to the staff; outside it is only said that nothing is sent."""
        try:
            yield
        except AppFailed as failed:
            self._tell(str(failed))
        except FedmedError as error:
            self._tell(f"{type(error).__name__}: {error}")
        else:
            return
        raise UpdateRefused(WITHHELD)
