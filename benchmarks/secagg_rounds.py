"""One whole round of secure aggregation in this process: every client, the center, nothing sampled."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from fedmed.identity.member import MemberKeys
from fedmed.privacy.secagg import client, convening, masks, opening
from fedmed.privacy.secagg.client import Asked, Began, Masked, State
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.member import Mask, Member, Reply
from fedmed.privacy.secagg.parameters import Parameters, Policy, least_colluders
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given

Result = TypeVar("Result")
MODEL, LAYOUT = sha256(b"model"), sha256(b"layout")


@dataclass
class Ran:
    """What a round took."""

    setup_s: float = 0.0
    upload_s: float = 0.0
    confirm_s: float = 0.0
    recover_s: float = 0.0
    unmask_s: float = 0.0
    masks: int = 0
    vectors: float = 0.0
    """Peak of what the center holds while it adds an upload and unmasks, in vectors."""
    is_exact: bool = False


class Party:
    """A client with the least of shells."""

    def __init__(self, member: Member) -> None:
        self.member, self.state = member, State()

    def ask(self, request: bytes) -> bytes:
        """The answer to a request."""
        self.state, said = client.step(self.member, self.state, Asked(request))
        return next(each.message for each in said if isinstance(each, Reply))

    def upload(self, header: bytes, lanes: np.ndarray) -> bytes:
        """Mask `lanes` in place; returns the envelope."""
        given = Given(header, 1, MODEL, LAYOUT, len(lanes), 32)
        self.state, said = client.step(self.member, self.state, Began(given))
        masks.apply(lanes, next(each.streams for each in said if isinstance(each, Mask)))
        self.state, said = client.step(self.member, self.state, Masked(vector_digest(lanes, os.cpu_count() or 1)))
        return next(each.message for each in said if isinstance(each, Reply))


def whole_round(clinics: int, gone: int, size: int) -> Ran:
    """Set up an epoch of one round and open one sum."""
    ran = Ran()
    identities = sorted((MemberKeys.generate() for _ in range(clinics)), key=lambda each: each.fingerprint)
    pins = {each.fingerprint: each.signing_public for each in identities}
    terms = Parameters("bench", "secagg", 1, tuple(sorted(pins)), least_colluders(clinics), gone, rounds=1)
    parties = {index: Party(Member(each, Policy("bench", pins), os.urandom)) for index, each in enumerate(identities, 1)}
    agreed = timed(ran, "setup_s", lambda: set_up(terms, parties, [each.signing_public for each in identities]))
    header = Header(1, 1, tuple(parties), MODEL, LAYOUT, size, 32)
    state, true = opening.begin(agreed, header), np.zeros(size, np.uint32)
    total, rng = np.zeros(size, np.uint32), np.random.default_rng(7)
    for index in list(parties)[gone:]:
        lanes = rng.integers(0, 2**20, size, np.uint32)
        true += lanes
        envelope = timed(ran, "upload_s", partial(parties[index].upload, header.encode(), lanes))
        state = opening.take(state, index, envelope, vector_digest(lanes, os.cpu_count() or 1))
        total += lanes
    state = opening.close(state)
    state = timed(ran, "confirm_s", lambda: confirm_and_reveal(state, parties))
    opened = timed(ran, "recover_s", lambda: opening.open_sum(state))
    tracemalloc.start()
    timed(ran, "unmask_s", lambda: masks.apply(total, opened.streams))
    ran.vectors = 2 + tracemalloc.get_traced_memory()[1] / total.nbytes  # the sum, an upload that comes, and the rest
    tracemalloc.stop()
    ran.masks, ran.is_exact = len(opened.streams), bool((total == true).all())
    return ran


def set_up(terms: Parameters, parties: dict[int, Party], keys: list[bytes]) -> Agreed:
    """All phases of the set-up, everybody's."""
    state: Convening | Agreed = convening.convene(terms, dict(enumerate(keys, 1)))
    while isinstance(state, Convening):
        for index, request in convening.requests(state).items():
            state = convening.take(state, index, parties[index].ask(request))
        state = convening.proceed(state)
    return state


def confirm_and_reveal(state: opening.Opening, parties: dict[int, Party]) -> opening.Opening:
    """Everybody's signatures and shares; the gone ones give none."""
    alive = state.survivors or ()
    asked = opening.confirm_request(state)
    for index in alive:
        state = opening.confirm(state, index, parties[index].ask(asked))
    asked = opening.reveal_request(state)
    for index in alive:
        state = opening.reveal(state, index, parties[index].ask(asked))
    return state


def timed(ran: Ran, name: str, work: Callable[[], Result]) -> Result:
    """What `work` returns; its seconds are added to a field of `ran`."""
    began = time.perf_counter()
    result = work()
    setattr(ran, name, getattr(ran, name) + time.perf_counter() - began)
    return result
