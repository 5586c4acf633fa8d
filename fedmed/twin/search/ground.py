"""What all seeds stand on: members with keys, their terms, and an epoch of them that was set up without a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from fedmed.clock import generator
from fedmed.identity.member import MemberKeys
from fedmed.outbound.outbox import Outbox
from fedmed.privacy.secagg import convening
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.many import Many
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import MODES, Mode, Parameters, Policy, least_colluders
from fedmed.store.keystore import MemoryKeystore

FEDERATION, RUN, ROUNDS = "search", "seed", 6


@dataclass(frozen=True)
class Signer:
    """A member's keys, the fingerprint reckoned once."""

    keys: MemberKeys
    fingerprint: bytes
    public: bytes

    def sign(self, message: bytes) -> bytes:
        """Ed25519, 64 bytes."""
        return self.keys.sign(message)


@dataclass(frozen=True)
class Ground:
    """Members and their epoch."""

    terms: Parameters
    signers: tuple[Signer, ...]
    """In the order of the roster."""
    policy: Policy
    agreed: Agreed
    states: tuple[bytes, ...]
    """What each member's keystore holds after the set-up."""

    @property
    def keys(self) -> dict[int, bytes]:
        """Signing keys by index."""
        return {index: each.public for index, each in enumerate(self.signers, 1)}

    def member(self, index: int, entropy: Callable[[int], bytes], many: Many) -> Member:
        """A member; `many` does the reckoning that is equal for all."""
        return Member(self.signers[index - 1], self.policy, entropy, many)


@lru_cache(maxsize=16)
def ground(members: int, mode: Mode) -> Ground:
    """The ground of federations of this size: the same in each process."""
    signers = tuple(sorted((_signer(number) for number in range(members)), key=lambda each: each.fingerprint))
    roster = tuple(each.fingerprint for each in signers)
    terms = Parameters(FEDERATION, RUN, 1, roster, least_colluders(members), 0, ROUNDS, mode=mode)
    policy = Policy(FEDERATION, {each.fingerprint: each.public for each in signers}, modes=MODES)
    many, stores = Many(), [MemoryKeystore() for _ in signers]
    boxes = {
        index: Outbox(Member(each, policy, generator(index, "fault search", "epoch").bytes, many), store, threads=1)
        for index, (each, store) in enumerate(zip(signers, stores, strict=True), 1)
    }
    state: Convening | Agreed = convening.convene(terms, {index: each.public for index, each in enumerate(signers, 1)})
    while isinstance(state, Convening):
        for index, request in convening.requests(state).items():
            state = convening.take(state, index, boxes[index].answer(request))
        state = convening.proceed(state)
    return Ground(terms, signers, policy, state, tuple(store.load() or b"" for store in stores))


def again(terms: Parameters, epoch: int) -> Parameters:
    """The terms of another epoch."""
    return replace(terms, epoch=epoch)


@lru_cache(maxsize=16)
def _signer(number: int) -> Signer:
    keys = MemberKeys.generate(generator(number, "fault search", "keys").bytes(32))
    return Signer(keys, keys.fingerprint, keys.signing_public)


def center_keys() -> MemberKeys:
    """Those that the center signs its audit log with."""
    return _signer(-1).keys
