"""A clinic's shell around the protocol: what has to be on the disk is there before anything leaves.

The machine in `fedmed.privacy.secagg.client` says what to do and in which order; this carries it out on a keystore. Whoever
calls it holds the only way to the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import FedmedError, StoreError
from fedmed.outbound.late import Late
from fedmed.privacy.secagg import client, masks, state_bytes
from fedmed.privacy.secagg.client import Asked, Began, Event, Masked, State
from fedmed.privacy.secagg.masks import Masker
from fedmed.privacy.secagg.member import Commit, Erase, Instruction, Mask, Member, Reply, Resend, Save, Unmask
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given
from fedmed.store.keystore import Keystore

NO_HEAD = bytes(32)


@dataclass(frozen=True)
class Sent:
    """What leaves the clinic for a round: the same bytes however often it is asked for."""

    envelope: bytes
    vector: Lanes


class Outbox:
    """One clinic's part in secure aggregation, kept in a keystore."""

    def __init__(
        self,
        member: Member,
        keystore: Keystore,
        head: Callable[[], bytes] = lambda: NO_HEAD,
        threads: int | None = None,
    ) -> None:
        """`head` tells the 32 bytes that the clinic's confirmations are bound to: what left it (the head of its ledger) and
        which history of the center it countersigned (`identity.heads.bound`)."""
        self._member, self._keystore, self._head, self._threads = member, keystore, head, threads
        self._kept: bytes | None = None
        self._state = State()
        self._look()

    def answer(self, request: bytes, late: Late | None = None) -> bytes:
        """The answer to a request of the center. Raises ProtocolRefused, StoreError; nothing is sent then.

        `late` keeps an update that, by what is answered, nobody opens.
        """
        self._look()
        return self._reply(self._tell(Asked(request, self._head()), late=late))

    def begin(self, given: Given) -> Masker | Sent:
        """What puts the round's masks on a vector; what was sent before, where the round had been sent.

        Raises ProtocolRefused, StoreError.
        """
        self._look()
        (said,) = self._tell(Began(given))
        if isinstance(said, Resend):
            return self._again(said.number, given)
        assert isinstance(said, Mask)
        dtype = np.uint16 if given.bits == 16 else np.uint32
        return masks.ahead(given.lanes, dtype, said.streams, self._threads)

    @property
    def terms(self) -> Parameters | None:
        """The terms of the epoch that it is in."""
        return None if self._state.epoch is None else self._state.epoch.terms

    def send(self, lanes: Lanes, mask: Masker) -> Sent:
        """What leaves for the vector `lanes`, which `mask` masks in place: committed before this returns.

        Raises ProtocolRefused, StoreError; nothing is to be sent then.
        """
        mask(lanes)
        envelope = self._reply(self._tell(Masked(vector_digest(lanes, self._threads or 1)), lanes))
        return Sent(envelope, lanes)

    def _look(self) -> None:
        """Go on from what is kept, which another process may have written, or this one before a disk's fault."""
        kept = self._keystore.load()
        if kept != self._kept:
            self._state, self._kept = State() if kept is None else state_bytes.decode(kept), kept

    def _tell(self, event: Event, lanes: Lanes | None = None, late: Late | None = None) -> tuple[Instruction, ...]:
        state, said = client.step(self._member, self._state, event)
        found: Lanes | None = None
        for each in said:
            if isinstance(each, Unmask) and late is not None and late.wants(*_place(state, each.number)):
                found = self._unmasked(each, state, late)
            if isinstance(each, Save | Commit | Erase):
                self._kept = self._keep(state, each, lanes)
        self._state = state
        if found is not None and late is not None:
            late.keep(found)
        return said

    def _unmasked(self, said: Unmask, state: State, late: Late) -> Lanes | None:
        epoch = state.epoch
        assert epoch is not None
        assert epoch.current is not None
        try:
            message = self._keystore.sent(_serial(state, said.number))
            if message is None:
                raise StoreError("what was sent is no longer kept")
            lanes = _lanes(message, epoch.current.header).copy()
            masks.apply(lanes, said.streams, self._threads)
        except (FedmedError, OSError) as error:  # the others' sum does not wait for this
            late.lose(str(error))
            return None
        return lanes

    def _keep(self, state: State, how: Save | Commit | Erase, lanes: Lanes | None) -> bytes:
        encoded = state_bytes.encode(state)
        match how:
            case Save():
                self._keystore.save(encoded)
            case Commit(number):
                assert lanes is not None
                self._keystore.commit(_serial(state, number), encoded, _little_endian(lanes))
            case Erase(number):
                self._keystore.erase(encoded, _serial(state, number))
        return encoded

    def _again(self, number: int, given: Given) -> Sent:
        message, epoch = self._keystore.sent(_serial(self._state, number)), self._state.epoch
        if message is None or epoch is None or epoch.current is None or epoch.current.uploaded is None:
            raise StoreError(f"what was sent in round {number} is no longer kept: the round is over for this clinic")
        return Sent(epoch.current.uploaded, _lanes(message, given.header))

    @staticmethod
    def _reply(said: tuple[Instruction, ...]) -> bytes:
        return next(each.message for each in said if isinstance(each, Reply))


def _place(state: State, number: int) -> tuple[int, int]:
    """Epoch and number of a round."""
    assert state.epoch is not None
    return state.epoch.terms.epoch, number


def _serial(state: State, number: int) -> int:
    """Rounds are numbered anew in each epoch, a keystore's messages never."""
    epoch, _ = _place(state, number)
    return epoch << 8 | number


def _lanes(message: bytes, header: bytes) -> Lanes:
    """A kept message as lanes, read-only."""
    dtype = np.dtype("<u2" if Header.decode(header).bits == 16 else "<u4")
    return np.frombuffer(message, dtype).astype(dtype.newbyteorder("="), copy=False)


def _little_endian(lanes: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(lanes.astype(lanes.dtype.newbyteorder("<"), copy=False)).view(np.uint8).data
