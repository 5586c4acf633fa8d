"""The clinic's gate: what an app answers leaves masked, in the agreed layout, or not at all.

    layout -> app -> policy (tensors, norm, finite, bounds) -> clip and noise -> mask -> budget -> ledger -> wire

All of it is the installed library; nothing of it can be reached from the app. A layout is judged before the app is asked:
what is wrong with it, the center hears as well. What is wrong with an answer is told to the clinic's own staff; the center
hears only that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fedmed.clock import Clock
from fedmed.config.own_metrics import NO_METRICS
from fedmed.config.privacy import BOUNDS
from fedmed.errors import FedmedError, ProtocolRefused, UpdateRefused
from fedmed.flower import keys
from fedmed.flower.guard import AppFailed, Job
from fedmed.outbound import description
from fedmed.outbound.account import Occasion, departure
from fedmed.outbound.declared import declared, judge_bound, judge_fields
from fedmed.outbound.description import Sizes
from fedmed.outbound.late import Late, Update, Upload
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.outbound.private import Agreed, Private, as_changes
from fedmed.outbound.update import Change, change, left_out, values_of
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import layout_bytes
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.taking_part import Given
from fedmed.store.departures import Departures
from fedmed.wire.confided import SEE, Confided, of_error
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
    private: Private | None = None
    """Differential privacy that the data set is used under, if any."""
    carries_late: bool = True
    """Whether an update that came too late for its sum goes into the next one; never under differential privacy."""
    least_bound: float = BOUNDS[32]
    """Least bound that a layout may give the changes of weights: what lies beyond it is withheld, which the center sees.
    A federation of a narrower one, as of lanes of 16 bits, has it written here. A wider one only rounds more coarsely."""


@dataclass(frozen=True)
class Books:
    """Where a clinic writes down what leaves, of which data, and what its staff should know."""

    departures: Departures
    dataset: str
    """Digest of the data set that is worked on."""
    clock: Clock
    tell: Callable[[str], None]
    """Reaches the staff, and nobody else."""
    sizes: Sizes
    """What the data set is declared to hold."""
    described: Callable[[str], None] = lambda text: None
    """Writes down what the site says of itself, before it leaves; raises StoreError where it cannot."""


@dataclass(frozen=True)
class Passage:
    """A job that was let in, until something leaves for it."""

    job: Job
    purpose: Purpose
    layout: Layout
    given: bytes
    """Digest of all that was given."""
    agreed: Agreed | None
    """Terms of differential privacy."""
    own: Mapping[str, float]
    """Bounds of the numbers that the round's order declares."""


class Gate:
    """One clinic's way out."""

    def __init__(
        self, certificate: bytes, outbox: Outbox, rules: Rules, dither: Callable[[bytes], bytes], books: Books
    ) -> None:
        """`dither` gives the seed (24 bytes) of a vector's rounding, for its purpose and what was given."""
        self.certificate = certificate
        self._outbox, self._rules, self._dither, self._books = outbox, rules, dither, books
        self._late = Late(rules.carries_late, rules.private is not None, books.tell)
        self._left_out: set[str] = set()  # names that the staff was told of

    def answer(self, request: bytes) -> bytes:
        """The answer to a request of the protocol. Raises ProtocolRefused, StoreError."""
        return self._outbox.answer(request, self._late)

    def describe(self, app: Callable[[], str]) -> str:
        """What the app says of the site, where it tells declared sizes only: the center's question does not decide that.

        Raises ProtocolRefused, and UpdateRefused where the app fails.
        """
        with self._in_confidence():
            text = app()
        description.check(text, self._rules.private is not None)
        self._books.described(text)
        return text

    def work(self, job: Job, app: App) -> Sent:
        """What leaves for a job: what the app makes of it, masked; what was sent before, where it had been done.

        Raises ProtocolRefused, and UpdateRefused, which says nothing of the answer.
        """
        layout = layout_bytes.decode(job.layout)
        terms = self._outbox.terms
        if terms is not None and layout.clients != terms.members:  # a sum over more would be another number
            raise ProtocolRefused(f"a layout for {layout.clients} clinics; this epoch has {terms.members}")
        purpose = PURPOSES[job.kind]
        with self._in_confidence():
            agreed = self._agreed(purpose, job, layout)
        own = self._judged(purpose, job.text, layout, agreed)
        passage = Passage(job, purpose, layout, digest_of(job.text, job.model), agreed, own)
        given = Given(job.header, passage.purpose, passage.given, layout.digest(), layout.size, layout.bits)
        begun = self._outbox.begin(given)
        if isinstance(begun, Sent):
            return self._written_down(begun, passage, None)
        with self._in_confidence():
            lanes, size = self._made(passage, *app())
            return self._written_down(self._outbox.send(lanes, begun), passage, size)

    def _made(self, passage: Passage, tensors: Tensors, values: Mapping[str, Any]) -> tuple[Lanes, float | None]:
        """The vector and, of an update, its norm before clipping, one that it carries included. Raises UpdateRefused."""
        layout, dither = passage.layout, self._dither(bytes([passage.purpose]) + passage.given)
        if passage.purpose is not Purpose.UPDATE:
            return layout.write({}, 0, tensors, dither), None
        private, agreed, most = self._rules.private, passage.agreed, self._rules.most_norm
        if agreed is not None and agreed.gives_changes:
            made = Change.of(as_changes(layout, tensors))
        else:
            made = change(layout, passage.job.model, tensors)
        is_clipped = agreed is not None and agreed.terms.has_shares  # a limit would tell the center of what the clip hides
        if most is not None and not is_clipped and not made.norm <= most:
            raise UpdateRefused(f"the update's L2 norm is {made.norm:.4g}; allowed: at most {most:g}")
        if private is not None and agreed is not None:
            return private.lanes(agreed, layout, made.tensors, passage.given, dither), made.norm
        weight, fields = values_of(layout, values, passage.own)
        self._tell_left_out(left_out(layout, values))
        lanes = layout.write(made.tensors, weight, fields, dither)
        return lanes, self._late.leave(Update(self._upload(passage), layout, lanes, made, weight), most)

    def _upload(self, passage: Passage) -> Upload:
        terms = self._outbox.terms
        assert terms is not None  # nothing is masked outside an epoch
        return Upload.of(terms, Header.decode(passage.job.header).number, passage.given, passage.layout)

    def _tell_left_out(self, names: set[str]) -> None:
        """Tell the staff, once for each name, of metrics that were not declared."""
        if new := sorted(names - self._left_out):
            self._left_out.update(new)
            shown = ", ".join(repr(name[:80]) for name in new[:5]) + (f" and {len(new) - 5} more" if len(new) > 5 else "")
            left, rest = (
                "left out, for the scenario does not declare it: the app's metric",
                ("All else goes on; whoever needs the number declares it with its bound in training.metrics"),
            )
            self._books.tell(Confided(f"{left} {shown}. {rest}", f"{left} ({len(new)} names; {SEE}). {rest}"))

    def _agreed(self, purpose: Purpose, job: Job, layout: Layout) -> Agreed | None:
        """The terms of differential privacy, where the data set is used under it. Raises UpdateRefused."""
        private, epoch = self._rules.private, self._outbox.terms
        if private is None:
            return None
        if purpose is not Purpose.UPDATE or epoch is None:
            raise UpdateRefused(f"a sum for a {purpose.name.lower()} would be opened without noise")
        return private.agree(job.text, layout, epoch, len(Header.decode(job.header).cohort))

    def _judged(self, purpose: Purpose, text: str, layout: Layout, agreed: Agreed | None) -> Mapping[str, float]:
        """The numbers that the order declares. Raises ProtocolRefused for a layout whose refusals would tell of data."""
        rules, own = self._rules, NO_METRICS
        try:
            if agreed is None:  # else the terms allow no field at all
                own = declared(text) if purpose is Purpose.UPDATE else NO_METRICS
                judge_fields(purpose, layout, own, self._books.sizes)
            judge_bound(layout, rules.least_bound if agreed is None else agreed.least_bound(rules.least_bound))
        except ProtocolRefused as error:
            self._books.tell(f"before any data was looked at: {error}")
            raise
        return own

    def _written_down(self, sent: Sent, passage: Passage, size: float | None) -> Sent:
        """The same, once it is paid for and the ledger has it. Raises BudgetRefused, StoreError: it may not leave then."""
        epoch, header, books = self._outbox.terms, Header.decode(passage.job.header), self._books
        assert epoch is not None  # nothing is masked outside an epoch
        line = departure(
            sent, header, epoch, Occasion(passage.purpose, passage.layout, passage.job.text, size), books.dataset
        )
        line = replace(line, carried=self._late.within(epoch.epoch, header.number))
        private, agreed = self._rules.private, passage.agreed
        if private is not None and agreed is not None:
            spent = private.pay(agreed, epoch.run, epoch.epoch << 8 | header.number, sent.vector)
            line = replace(line, clip=agreed.terms.clip, noise=private.noise(agreed, passage.layout))
            line = replace(line, epsilon=spent.epsilon, delta=spent.delta, limit=private.rules.epsilon)
        books.departures.record(replace(line, unix=books.clock.unix()))
        return sent

    @contextmanager
    def _in_confidence(self) -> Iterator[None]:
        """Whatever goes wrong inside is told to the staff; outside it is only said that nothing is sent."""
        try:
            yield
        except AppFailed as failed:
            self._books.tell(Confided(str(failed), f"the app made no answer: {SEE}"))
        except FedmedError as error:
            self._books.tell(of_error(error))
        else:
            return
        raise UpdateRefused(WITHHELD)
