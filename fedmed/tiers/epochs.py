"""The hub's shell around an epoch of secure aggregation among its devices: who is in it, and which round is next.

As in `fedmed.federation.epochs`, an epoch has all its members or is none. Nothing of it is written down: a hub that starts
anew sets a new one up, under a higher number, which devices insist on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from fedmed.clock import Clock
from fedmed.errors import ProtocolRefused, QuorumError
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import convening
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.parameters import LEAST_SUM, Parameters, least_colluders
from fedmed.privacy.secagg.round_messages import Header
from fedmed.tiers.messages import FAILED, Failed, kind_of
from fedmed.tiers.terms import Device
from fedmed.tiers.transport import Answer, Transport

ROUNDS, PATIENCE = 64, 8
"""Rounds of an epoch; rounds after which devices that it is without are asked again."""


@dataclass(frozen=True)
class Names:
    """What terms are bound to."""

    scope: str
    """See `terms.scope`."""
    run: str


@dataclass(frozen=True)
class Current:
    """An epoch that is set up."""

    agreed: Agreed
    names: Names
    index: Mapping[str, int]
    """Device -> index of its member."""


class Epochs:
    """Sets epochs up among devices and hands out their rounds, each once."""

    def __init__(self, transport: Transport, clock: Clock, opening_s: float, tell: Callable[[str], None]) -> None:
        """`tell` hears who was left out and why."""
        self._transport, self._clock, self._opening_s, self._tell = transport, clock, opening_s, tell
        self._current: Current | None = None
        self._last = self._used = 0

    def current(self, devices: Sequence[Device], names: Names) -> Current:
        """The epoch for these devices, which can be asked now. Raises QuorumError where fewer than three take part."""
        if self._current is None or not self._serves(self._current, {each.name for each in devices}, names):
            self._current = None
            self._current, self._used = self._set_up(devices, names), 0
        return self._current

    def _serves(self, current: Current, there: Collection[str], names: Names) -> bool:
        terms, online = current.agreed.terms, current.index.keys() & set(there)
        if current.names != names or self._used >= terms.rounds:
            return False
        if len(online) < max(terms.least_survivors(len(online)), terms.quorum):
            return False
        return self._used < PATIENCE or online == set(there)

    def renew(self) -> None:
        """Begin the next round in a new epoch: a sum could not be opened."""
        self._current = None

    def header(self, current: Current, cohort: Collection[str], given: bytes, layout: Layout) -> Header:
        """The next round for these devices; it is used up by asking."""
        self._used += 1
        places = tuple(sorted(current.index[device] for device in cohort))
        return Header(self._used, Purpose.UPDATE, places, given, layout.digest(), layout.size, layout.bits)

    def _set_up(self, devices: Sequence[Device], names: Names) -> Current:
        people, forgiven = {each.name: each for each in devices}, set[str]()
        while len(people) >= LEAST_SUM:
            agreed, faults = self._attempt(people, names)
            if agreed is not None:
                return Current(agreed, names, _places(agreed.terms, people))
            for device, (reason, is_silent) in faults.items():
                if is_silent or device in forgiven:  # who was killed between a step and its answer refuses it once
                    people.pop(device)
                    self._tell(f"device {device} is left out of this epoch: {reason}")
                forgiven.add(device)
        raise QuorumError(
            f"{len(people)} devices took part in setting up secure aggregation; {LEAST_SUM} are needed. Nothing is asked "
            "for in the plain instead"
        )

    def _attempt(self, people: Mapping[str, Device], names: Names) -> tuple[Agreed | None, dict[str, tuple[str, bool]]]:
        """The epoch, or None and the devices that it failed for: why, and whether they were silent."""
        terms = self._terms(people, names)
        index = _places(terms, people)
        state: Convening | Agreed = convening.convene(terms, {index[each]: people[each].signing_public for each in people})
        while isinstance(state, Convening):
            state, faults = self._phase(state, index)
            if faults:
                return None, faults
            state = convening.proceed(state)
        return state, {}

    def _terms(self, people: Mapping[str, Device], names: Names) -> Parameters:
        self._last = max(self._last + 1, int(self._clock.unix()))
        roster, count = tuple(sorted(each.fingerprint for each in people.values())), len(people)
        return Parameters(names.scope, names.run, self._last, roster, least_colluders(count), count // 10, ROUNDS)

    def _phase(self, state: Convening, index: Mapping[str, int]) -> tuple[Convening, dict[str, tuple[str, bool]]]:
        asked = convening.requests(state)
        requests = {device: asked[place] for device, place in index.items()}
        faults: dict[str, tuple[str, bool]] = {}
        silent = set(requests)
        ends = self._clock.now() + self._opening_s
        for answer in self._transport.exchange(requests, lambda: ends):
            if answer.device not in silent:
                continue
            silent.discard(answer.device)
            try:
                state = convening.take(state, index[answer.device], said(answer))
            except ProtocolRefused as error:
                faults[answer.device] = str(error), answer.body is None
        late = dict.fromkeys(silent, (f"no answer within {self._opening_s:g} s", True))
        return state, faults | late


def said(answer: Answer) -> bytes:
    """What a device answers. Raises ProtocolRefused where it is lost, or says that it sends nothing."""
    if answer.body is None:
        raise ProtocolRefused(answer.reason or "the device is lost")
    if kind_of(answer.body) == FAILED:
        raise ProtocolRefused(Failed.decode(answer.body).reason)
    return answer.body


def _places(terms: Parameters, people: Mapping[str, Device]) -> dict[str, int]:
    return {name: terms.index_of(each.fingerprint) for name, each in people.items()}
