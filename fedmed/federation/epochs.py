"""The center's shell around an epoch of secure aggregation: who is in it, and which of its rounds is next.

An epoch has all its members or is none: whoever does not answer its set-up is left out of the next attempt, named in the
journal, and asked again when the epoch is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedmed.clock import Clock
from fedmed.config.privacy import Privacy
from fedmed.errors import FederationError, ProtocolRefused, QuorumError
from fedmed.federation.journal import Voice
from fedmed.federation.patience import Opened, Patience
from fedmed.flower.keys import BYTES, PROTOCOL
from fedmed.flower.transport import Transport
from fedmed.identity.member import Identity
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import convening
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.parameters import LEAST_SUM, MAX_MEMBERS, MAX_ROUNDS, Mode, Parameters, least_colluders
from fedmed.privacy.secagg.round_messages import Header

SPARE = 8  # rounds of an epoch beyond those that a run needs if nothing goes wrong
PATIENCE = 8  # rounds after which those that an epoch is without are asked again


@dataclass(frozen=True)
class Fault:
    """Why a site is not in an attempt at an epoch."""

    reason: str
    is_silent: bool


@dataclass(frozen=True)
class Names:
    """What terms are bound to."""

    federation: str
    run: str


@dataclass(frozen=True)
class Current:
    """An epoch that is set up, by nodes."""

    agreed: Agreed
    index: Mapping[int, int]
    """Node -> index of its member."""
    names: Mapping[int, str]
    """Index -> name of its site."""

    def nodes(self) -> dict[int, int]:
        """Index -> node."""
        return {index: node for node, index in self.index.items()}


@dataclass(frozen=True)
class SoFar:
    """Where a process is with its epochs."""

    last: int
    """Number of the newest epoch that was begun."""
    used: int
    """Rounds of the epoch that were begun."""
    is_stale: bool
    """Whether the next round is to begin another one."""
    agreed: Agreed | None


class Epochs:
    """Sets epochs up and hands out their rounds, each once."""

    def __init__(
        self,
        transport: Transport,
        people: Mapping[int, Identity],
        rules: Privacy,
        names: Names,
        patience: Patience,
        clock: Clock,
        journal: Voice,
    ) -> None:
        """`people` are the sites' identities by node. Raises FederationError for a number of sites that cannot work."""
        if not LEAST_SUM <= len(people) <= MAX_MEMBERS:
            raise FederationError(
                f"secure aggregation is for {LEAST_SUM} to {MAX_MEMBERS} sites, here are {len(people)}: a sum of two tells "
                "each of them the other's update. Write privacy.secure_aggregation: off where the center may see everything"
            )
        self._transport, self._people, self._rules, self._names = transport, people, rules, names
        self._patience, self._clock, self._journal = patience, clock, journal
        self.people = people
        self._current: Current | None = None
        self._last_epoch = self._used = 0
        self._is_stale = False

    def so_far(self) -> SoFar:
        """What another process needs to go on in the same epoch."""
        agreed = None if self._current is None else self._current.agreed
        return SoFar(self._last_epoch, self._used, self._is_stale, agreed)

    def go_on_from(self, told: SoFar) -> None:
        """Be where another process was."""
        self._last_epoch, self._used, self._is_stale = told.last, told.used, told.is_stale
        self._current = None if told.agreed is None else self._by_nodes(told.agreed)

    def current(self, wished_rounds: int = MAX_ROUNDS) -> Current:
        """The epoch, set up anew where it is used up. Raises QuorumError where too few sites take part."""
        if self._current is None or self._is_stale or self._used >= self._rounds or self._should_ask_again():
            self._current = self._set_up(min(MAX_ROUNDS, wished_rounds + SPARE))
            self._used, self._is_stale = 0, False
        return self._current

    @property
    def _rounds(self) -> int:
        assert self._current is not None
        return self._current.agreed.terms.rounds

    def _should_ask_again(self) -> bool:
        assert self._current is not None
        return len(self._current.index) < len(self._people) and self._used >= PATIENCE

    def renew(self) -> None:
        """Begin the next round in a new epoch: somebody has lost its part of this one."""
        self._is_stale = True

    def header(self, purpose: Purpose, nodes: list[int], given: bytes, layout: Layout) -> Header:
        """The next round of the current epoch, for these nodes; it is used up by asking."""
        assert self._current is not None
        self._used += 1
        cohort = tuple(sorted(self._current.index[node] for node in nodes))
        return Header(self._used, purpose, cohort, given, layout.digest(), layout.size, layout.bits)

    def _set_up(self, rounds: int) -> Current:
        nodes, absent, forgiven = sorted(self._people), dict[int, str](), set[int]()
        while True:
            agreed, faults = self._attempt(nodes, rounds)
            if agreed is not None:
                current = self._by_nodes(agreed)
                self._say_who(agreed.terms, current.index)
                return current
            # who was killed between a step and its answer refuses to take it twice, and has nothing against the next epoch
            gone = {node: fault.reason for node, fault in faults.items() if node in forgiven or fault.is_silent}
            forgiven |= faults.keys()
            nodes, absent = [node for node in nodes if node not in gone], absent | gone
            for node, fault in faults.items():
                event = "left-out" if node in gone else "asked-again"
                self._journal.say(event, site=self._people[node].name, reason=fault.reason)
            if len(nodes) < LEAST_SUM:
                who = "; ".join(f"{self._people[node].name}: {reason}" for node, reason in sorted(absent.items()))
                raise QuorumError(
                    f"an epoch of secure aggregation needs {LEAST_SUM} sites. Absent: {who}. Commits stay: "
                    "mend the sites and go on with --resume"
                )

    def _by_nodes(self, agreed: Agreed) -> Current:
        places = {fingerprint: place for place, fingerprint in enumerate(agreed.terms.roster, 1)}
        index = {node: places[each.fingerprint] for node, each in sorted(self._people.items()) if each.fingerprint in places}
        return Current(agreed, index, {number: self._people[node].name for node, number in index.items()})

    def _say_who(self, terms: Parameters, index: Mapping[int, int]) -> None:
        without = sorted(person.name for node, person in self._people.items() if node not in index)
        facts = {"mode": terms.mode, "members": terms.members, "colluders": terms.colluders, "rounds": terms.rounds}
        least = terms.least_survivors(0)  # whatever cohort the center chooses
        self._journal.say("epoch", epoch=terms.epoch, **facts, least=least, without=without)

    def _attempt(self, nodes: list[int], rounds: int) -> tuple[Agreed | None, dict[int, Fault]]:
        """The epoch, or None and those that it failed for."""
        terms = self._terms(nodes, rounds)
        by_index = {terms.index_of(self._people[node].fingerprint): node for node in nodes}
        keys = {index: self._people[node].signing_public for index, node in by_index.items()}
        state: Convening | Agreed = convening.convene(terms, keys)
        while isinstance(state, Convening):
            state, faults = self._phase(state, by_index)
            if faults:
                return None, faults
            state = convening.proceed(state)
        return state, {}

    def _terms(self, nodes: list[int], rounds: int) -> Parameters:
        self._last_epoch = self._transport.draw("epoch", lambda: max(self._last_epoch + 1, int(self._clock.unix())))
        roster = tuple(sorted(self._people[node].fingerprint for node in nodes))
        colluders = least_colluders(len(nodes)) if self._rules.colluders is None else self._rules.colluders
        mode: Mode = "hbc" if self._rules.secure_aggregation == "hbc" else "malicious"
        least = min(self._rules.least_sum, len(nodes))
        dropouts = len(nodes) // 10
        names = self._names
        return Parameters(names.federation, names.run, self._last_epoch, roster, colluders, dropouts, rounds, least, mode)

    def _phase(self, state: Convening, by_index: Mapping[int, int]) -> tuple[Convening, dict[int, Fault]]:
        index_of = {node: index for index, node in by_index.items()}
        requests = {by_index[index]: said for index, said in convening.requests(state).items()}
        opened = Opened(self._patience, PROTOCOL)
        faults: dict[int, Fault] = {}
        silent = set(requests)
        for reply in self._transport.exchange(PROTOCOL, requests, opened):
            silent.discard(reply.node)
            try:
                if reply.error is not None:
                    raise ProtocolRefused(reply.error)
                state = convening.take(state, index_of[reply.node], bytes(reply.config.get(BYTES, b"")))
            except ProtocolRefused as error:
                faults[reply.node] = Fault(str(error), False)
        return state, faults | {node: Fault(f"no answer {opened.had(node)}", True) for node in silent}
