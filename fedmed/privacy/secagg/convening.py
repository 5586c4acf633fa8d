"""The center's side of an epoch's set-up as a pure state machine: answers in, the next requests out, no I/O.

An answer that does not hold is refused and its member named; a member that is missing when a phase closes ends the set-up,
and the shell begins another epoch without it: an epoch has all its members or is none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from fedmed.identity.member import Check, CheckAll, verified
from fedmed.privacy.secagg import schedule
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.epoch_messages import (
    ADVERT,
    COMMIT,
    SHARED,
    STORE,
    Advertised,
    Committed,
    Mail,
    SetupRequest,
    SharesRequest,
    Stored,
    rounds_digest,
)
from fedmed.privacy.secagg.graph import Graph, drawn
from fedmed.privacy.secagg.joining import graph_seed, transcript_of
from fedmed.privacy.secagg.messages import KEY_BYTES, SHARE_BYTES, listed
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.schedule import TAG_BYTES


class Phase(Enum):
    """The phases by the names of their queries."""

    COMMIT = "commit"
    ADVERT = "advert"
    SHARES = "shares"
    STORE = "store"
    READY = "ready"


@dataclass(frozen=True)
class Agreed:
    """An epoch that is set up, as the center knows it."""

    terms: Parameters
    keys: Mapping[int, bytes]
    """Member -> its signing key."""
    rounds: Mapping[int, bytes]
    """Member -> its X25519 public keys of all rounds."""
    graph: Graph
    transcript: bytes

    def key_for(self, member: int, number: int) -> bytes:
        """A member's X25519 public key of a round."""
        return self.rounds[member][KEY_BYTES * (number - 1) : KEY_BYTES * number]


@dataclass(frozen=True)
class Convening:
    """A set-up under way."""

    terms: Parameters
    keys: Mapping[int, bytes]
    phase: Phase
    answers: Mapping[Phase, Mapping[int, Any]]
    graph: Graph | None = None
    """Who shares with whom; drawn once all adverts are there."""
    transcript: bytes = b""

    @property
    def waiting(self) -> list[int]:
        """Members that this phase has no answer of."""
        return [each for each in range(1, self.terms.members + 1) if each not in self.answers[self.phase]]

    def all(self, phase: Phase) -> list[Any]:
        """The answers of a phase in the members' order; none of a phase that is left out."""
        found = self.answers.get(phase, {})
        return [found[each] for each in sorted(found)]

    def neighbours(self, member: int) -> tuple[int, ...]:
        """Those that a member shares with."""
        assert self.graph is not None  # drawn before shares are asked for
        return self.graph.neighbours(member)


def convene(terms: Parameters, keys: Mapping[int, bytes]) -> Convening:
    """A set-up under these terms; `keys` are the members' signing keys by index."""
    phase = Phase.COMMIT if terms.draws_graph else Phase.ADVERT
    return Convening(terms, keys, phase, {phase: {}})


def requests(state: Convening) -> dict[int, bytes]:
    """What to ask each member in this phase."""
    everybody, terms = range(1, state.terms.members + 1), state.terms
    match state.phase:
        case Phase.COMMIT:
            return dict.fromkeys(everybody, SetupRequest(COMMIT, terms.encode()).encode())
        case Phase.ADVERT:
            return dict.fromkeys(everybody, SetupRequest(ADVERT, terms.encode(), tuple(state.all(Phase.COMMIT))).encode())
        case Phase.SHARES:
            return _shares_requests(state)
        case Phase.STORE:
            return {member: Mail(STORE, _inbox(state, member)).encode() for member in everybody}
    return {}


def _shares_requests(state: Convening) -> dict[int, bytes]:
    found = state.answers[Phase.ADVERT]
    head = SharesRequest.head(tuple(each.advert for each in state.all(Phase.ADVERT)))
    return {member: head + listed(tuple(found[other].keys for other in state.neighbours(member))) for member in found}


def _inbox(state: Convening, member: int) -> tuple[bytes, ...]:
    """The mail for a member, in its neighbours' order."""
    mail = state.answers[Phase.SHARES]
    return tuple(mail[other].sealed[bisect_left(state.neighbours(other), member)] for other in state.neighbours(member))


def take(state: Convening, member: int, answer: bytes) -> Convening:
    """The set-up with a member's answer. Raises Refused."""
    return take_all(state, {member: answer})


def take_all(state: Convening, answers: Mapping[int, bytes], check: CheckAll = verified) -> Convening:
    """The set-up with answers, by member, whose signatures `check` judges together. Raises Refused: none is taken."""
    phase, found, signed = state.phase, dict(state.answers[state.phase]), dict[int, Check]()
    for member, answer in answers.items():
        if not 1 <= member <= state.terms.members or member in state.answers[phase]:
            raise Refused(Attack.OUT_OF_TURN, f"member {member} answers twice, or is not asked")
        found[member], signature = _READERS[phase](state, member, answer)
        if signature is not None:
            signed[member] = state.keys[member], *signature
    for member, is_signed in zip(signed, check(list(signed.values())), strict=True):
        if not is_signed:
            raise Refused(Attack.SWAPPED_KEY, f"the {phase.value} of member {member} is not signed by it")
    return replace(state, answers={**state.answers, phase: found})


def proceed(state: Convening) -> Convening | Agreed:
    """The next phase, or the epoch. Raises Refused while members are missing."""
    if state.waiting:
        raise Refused(Attack.OUT_OF_TURN, f"members {state.waiting[:5]} have not answered {state.phase.value}")
    following = list(Phase)[list(Phase).index(state.phase) + 1]
    if following is Phase.READY:
        rounds = {member: each.keys for member, each in state.answers[Phase.ADVERT].items()}
        assert state.graph is not None
        return Agreed(state.terms, state.keys, rounds, state.graph, state.transcript)
    state = replace(state, phase=following, answers={**state.answers, following: {}})
    return _draw(state) if following is Phase.SHARES else state


def _draw(state: Convening) -> Convening:
    adverts, context = tuple(each.advert for each in state.all(Phase.ADVERT)), state.terms.context
    graph = drawn(state.terms.design, graph_seed(context, adverts))
    return replace(state, graph=graph, transcript=transcript_of(context, adverts))


Read = tuple[Any, tuple[bytes, bytes] | None]
"""An answer, and its signature and what that is over; mail has none, for it is sealed."""


def _committed(state: Convening, member: int, answer: bytes) -> Read:
    read = Committed.decode(answer)
    return read, (read.signature, Committed.signed_part(state.terms.context, member, read.digest))


def _advertised(state: Convening, member: int, answer: bytes) -> Read:
    read, terms = Advertised.decode(answer), state.terms
    if len(read.keys) != KEY_BYTES * terms.rounds or rounds_digest(read.keys) != read.advert.rounds_digest:
        raise Refused(Attack.SWAPPED_KEY, f"the round keys of member {member} are not those of its advert")
    publics = [read.keys[at : at + KEY_BYTES] for at in range(0, len(read.keys), KEY_BYTES)]
    if not all(map(schedule.is_usable, (read.advert.mail, *publics))):  # its neighbours would refuse every round
        raise Refused(Attack.MALFORMED, f"a public key of member {member} is a point of small order")
    committed = state.answers.get(Phase.COMMIT, {})
    if committed and sha256(b"nonce", read.advert.nonce) != committed[member].digest:
        raise Refused(Attack.LATE_NONCE, f"member {member} opens another nonce than it committed to")
    return read, (read.advert.signature, read.advert.signed_part(terms.context, member))


def _shared(state: Convening, member: int, answer: bytes) -> Read:
    read, receivers = Mail.decode(answer, SHARED), state.neighbours(member)
    size = SHARE_BYTES * state.terms.rounds + TAG_BYTES
    if len(read.sealed) != len(receivers) or any(len(each) != size for each in read.sealed):
        raise Refused(Attack.FOREIGN_SHARES, f"member {member} sent other mail than {size} bytes for {len(receivers)}")
    return read, None


def _stored(state: Convening, member: int, answer: bytes) -> Read:
    read = Stored.decode(answer)
    inbox = sha256(b"inbox", *_inbox(state, member))
    return read, (read.signature, Stored.signed_part(state.transcript, member, inbox))


_READERS = {Phase.COMMIT: _committed, Phase.ADVERT: _advertised, Phase.SHARES: _shared, Phase.STORE: _stored}
