"""A whole federation in memory: real clients and a real center, so that an attack is a test of five lines."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedmed.privacy.secagg import client, convening, masks, opening
from fedmed.privacy.secagg.client import Asked, Began, Masked, State
from fedmed.privacy.secagg.convening import Agreed
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.member import Instruction, Mask, Member, Reply
from fedmed.privacy.secagg.parameters import Parameters, Policy, least_colluders
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given

Lanes = NDArray[Any]
MODEL, LAYOUT = sha256(b"model"), sha256(b"layout")


@dataclass(frozen=True)
class Signer:
    key: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> bytes:
        return sha256(b"member", self.public)

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)


@lru_cache(maxsize=4096)
def signer(seed: int) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(random.Random(seed).randbytes(32)))


@dataclass
class Clinic:
    """A client with the shell that a role would put around it; `sent` is all that ever left it."""

    member: Member
    state: State = field(default_factory=State)
    sent: list[bytes] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)

    def tell(self, event: client.Event) -> tuple[Instruction, ...]:
        self.state, said = client.step(self.member, self.state, event)
        self.instructions += said
        return said

    def ask(self, request: bytes) -> bytes:
        return self.reply(self.tell(Asked(request)))

    def reply(self, said: Iterable[Instruction]) -> bytes:
        (answer,) = [each.message for each in said if isinstance(each, Reply)]
        self.sent.append(answer)
        return answer

    def upload(self, header: bytes, lanes: Lanes, model: bytes = MODEL) -> tuple[bytes, Lanes]:
        read = Header.decode(header)
        given = Given(header, read.purpose, model, LAYOUT, len(lanes), 8 * lanes.itemsize)
        (mask,) = self.tell(Began(given))
        assert isinstance(mask, Mask)
        masked = lanes.copy()
        masks.apply(masked, mask.streams)
        envelope = self.reply(self.tell(Masked(vector_digest(masked))))
        self.sent.append(masked.tobytes())
        return envelope, masked


@dataclass
class Federation:
    """The clinics by index, and what the center knows once an epoch is set up."""

    clinics: dict[int, Clinic]
    terms: Parameters
    agreed: Agreed

    def header(self, number: int = 1, cohort: Sequence[int] | None = None, lanes: int = 64, bits: int = 32) -> Header:
        cohort = tuple(self.clinics if cohort is None else cohort)
        return Header(number, 1, cohort, MODEL, LAYOUT, lanes, bits)


def terms_for(count: int, **changes: Any) -> Parameters:
    signers = sorted(signer(seed).fingerprint for seed in range(count))
    defaults: dict[str, Any] = {"colluders": least_colluders(count), "dropouts": count // 10, "rounds": 4}
    return Parameters("fed", "run", **{"epoch": 1, "roster": tuple(signers), **defaults, **changes})


def clinics_for(terms: Parameters, seed: int = 0, **policy: Any) -> dict[int, Clinic]:
    known = {each.fingerprint: each for each in map(signer, range(terms.members))}
    pins = {fingerprint: each.public for fingerprint, each in known.items()}
    rules = Policy("fed", pins, **policy)
    return {
        index: Clinic(Member(known[fingerprint], rules, random.Random(f"{seed}/{index}").randbytes))
        for index, fingerprint in enumerate(terms.roster, 1)
    }


Twist = Callable[[convening.Phase, int, bytes], bytes]


def set_up(terms: Parameters, clinics: dict[int, Clinic], twist: Twist = lambda phase, index, request: request) -> Agreed:
    """Run the set-up; `twist` is what a lying center does to the request for a member."""
    keys = {index: clinic.member.signer.public for index, clinic in clinics.items()}  # type: ignore[attr-defined]
    state: convening.Convening | Agreed = convening.convene(terms, keys)
    while isinstance(state, convening.Convening):
        for index, request in convening.requests(state).items():
            state = convening.take(state, index, clinics[index].ask(twist(state.phase, index, request)))
        state = convening.proceed(state)
    return state


def federation(count: int, seed: int = 0, policy: dict[str, Any] | None = None, **changes: Any) -> Federation:
    terms = terms_for(count, **changes)
    clinics = clinics_for(terms, seed, **(policy or {}))
    return Federation(clinics, terms, set_up(terms, clinics))


@dataclass
class Played:
    """A round as it went."""

    state: opening.Opening
    total: Lanes
    uploads: dict[int, Lanes]
    opened: opening.Opened


def play(
    there: Federation,
    values: dict[int, Lanes],
    header: Header,
    gone_before_confirm: Iterable[int] = (),
    gone_before_reveal: Iterable[int] = (),
) -> Played:
    """A round in which those of the cohort without values never upload; returns the opened sum."""
    state = opening.begin(there.agreed, header)
    lanes = next(iter(values.values()))
    total, uploads = np.zeros_like(lanes), {}
    for index, own in values.items():
        envelope, masked = there.clinics[index].upload(header.encode(), own)
        state = opening.take(state, index, envelope, vector_digest(masked))
        total += masked
        uploads[index] = masked
    state = opening.close(state)
    if there.terms.mode == "malicious":
        for index in set(there.clinics) - set(gone_before_confirm):
            state = opening.confirm(state, index, there.clinics[index].ask(opening.confirm_request(state)))
        assert state.is_confirmed
    for index in set(there.clinics) - set(gone_before_confirm) - set(gone_before_reveal):
        state = opening.reveal(state, index, there.clinics[index].ask(opening.reveal_request(state)))
    assert opening.can_open(state)
    opened = opening.open_sum(state)
    masks.apply(total, opened.streams)
    return Played(replace(state), total, uploads, opened)


def random_lanes(seed: int, size: int = 64, dtype: Any = np.uint32) -> Lanes:
    return np.frombuffer(random.Random(seed).randbytes(size * np.dtype(dtype).itemsize), dtype).copy()
