"""The clinics' side: the members that one worker plays, each with its own state machine, keys and counters.

Worker and center share nothing but messages. What goes to the center of a round is one vector, the sum of the masked
vectors of the worker's members, and the envelope that each member signed over its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.privacy.secagg import client, masks
from fedmed.privacy.secagg.client import Asked, Began, Event, Masked, State
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.many import Many, Pair
from fedmed.privacy.secagg.member import Commit, Entropy, Epoch, Erase, Instruction, Mask, Member, Reply, Signer
from fedmed.privacy.secagg.parameters import Policy
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given

NO_HEAD = bytes(32)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Upload:
    """What a member signed of its vector, and the vector's digest."""

    envelope: bytes
    vector: bytes


@dataclass(frozen=True)
class Handed:
    """What a worker hands to the center of a round."""

    total: Lanes
    """The masked vectors of its members, summed."""
    uploads: Mapping[int, Upload]
    """By member."""


@dataclass(frozen=True)
class Answers:
    """What members say to a request of the center."""

    said: Mapping[int, bytes] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)


class Player:
    """One member: the real state machine, and a keystore in memory that counts as one on a disk does."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self._state, self._last = State(), -1

    @property
    def epoch(self) -> Epoch | None:
        """The epoch that it is in."""
        return self._state.epoch

    def tell(self, event: Event) -> tuple[Instruction, ...]:
        """What the machine says; its state is kept first. Raises ProtocolRefused, StoreError: nothing changed then."""
        state, said = client.step(self.member, self._state, event)
        last = self._last
        for each in said:
            if isinstance(each, Commit | Erase):
                serial = _serial(state, each.number)
                if isinstance(each, Commit) and serial <= last:
                    raise StoreError(f"round {each.number} was committed or erased before; its masks serve once")
                last = max(last, serial)
        self._state, self._last = state, last
        return said

    def answer(self, request: bytes) -> bytes:
        """The answer to a request. Raises ProtocolRefused, StoreError."""
        return _reply(self.tell(Asked(request, NO_HEAD)))


class Players:
    """Members of one roster that one worker plays."""

    def __init__(self, signers: Mapping[int, Signer], policy: Policy, entropy: Callable[[int], Entropy]) -> None:
        """`signers` by any number of the worker's own, `policy` the one that all their clinics have; `entropy` of each."""
        self._many = Many()
        self._players = {
            index: Player(Member(signer, policy, entropy(index), self._many)) for index, signer in signers.items()
        }

    def __contains__(self, member: int) -> bool:
        return member in self._players

    def answer(self, requests: Mapping[int, bytes]) -> Answers:
        """What those say who are asked; a member that refuses has not changed."""
        said, refused = {}, {}
        for index, request in requests.items():
            try:
                said[index] = self._players[index].answer(request)
            except (ProtocolRefused, StoreError) as error:
                refused[index] = str(error)
        return Answers(said, refused)

    def prepare(self, numbers: Iterable[int], cohort: Iterable[int] | None = None) -> None:
        """Agree on the keys of these rounds, of the members of `cohort` or of all, before they are asked for.

        The two ends of a pair that both are here are agreed on once. 32 bytes a pair and round until `forget`.
        """
        cohort = None if cohort is None else frozenset(cohort)
        epochs = [each.epoch for each in self._players.values() if each.epoch is not None]
        here = {epoch.index: epoch for epoch in epochs if cohort is None or epoch.index in cohort}
        alone: list[Pair] = []
        both: list[tuple[Pair, Pair]] = []
        for number in numbers:
            for index, epoch in here.items():
                if number not in epoch.secrets:
                    continue
                for other in epoch.graph.neighbours(index):
                    pair = epoch.secrets[number].key, epoch.key_for(other, number)
                    theirs = here.get(other)
                    if theirs is not None and number in theirs.secrets:
                        if index < other:
                            both.append((pair, (theirs.secrets[number].key, theirs.key_for(index, number))))
                    elif cohort is None or other in cohort:
                        alone.append(pair)
        self._many.prepare(alone, both)

    def forget(self) -> None:
        """Drop what was prepared; members whose round is over could not derive it again."""
        self._many.forget()

    def round(self, given: Given, layout: Layout) -> Part:
        """A round that has begun for these members. Raises ProtocolRefused where the layout is not the one given."""
        if (given.layout, given.lanes, given.bits) != (layout.digest(), layout.size, layout.bits):
            raise ProtocolRefused("the layout is not the one that this worker was given")
        return Part(self._players, given, layout)


class Part:
    """A worker's part of a round: members' updates in, one at a time, one masked sum out."""

    def __init__(self, players: Mapping[int, Player], given: Given, layout: Layout) -> None:
        self._players, self._given, self._layout = players, given, layout
        self._total, self._uploads = layout.zeros(), dict[int, Upload]()

    def add(self, member: int, flat: Floats, weight: int, fields: Mapping[str, ArrayLike], dither: bytes) -> None:
        """A member's update `flat (parameters,)` as lanes, masked and added; only the masked vector is ever summed.

        `fields` as in Layout.write, `dither` the seed (24 bytes) of this vector's rounding. Raises UpdateRefused,
        ProtocolRefused, StoreError: the member is not in the sum then.
        """
        player = self._players[member]
        (said,) = player.tell(Began(self._given))
        if not isinstance(said, Mask):
            raise StoreError(f"member {member} has sent its vector of this round, which is no longer kept")
        lanes = self._layout.write(self._tensors(flat), weight, fields, dither, is_warm=True)
        masks.apply(lanes, said.streams, 1, is_warm=True)
        vector = vector_digest(lanes)
        envelope = _reply(player.tell(Masked(vector)))
        np.add(self._total, lanes, out=self._total, casting="same_kind")
        self._uploads[member] = Upload(envelope, vector)

    def _tensors(self, flat: Floats) -> dict[str, Floats]:
        start, found = 0, {}
        for tensor in self._layout.tensors:
            found[tensor.name] = flat[start : start + tensor.size].reshape(tensor.shape)
            start += tensor.size
        return found

    def handed(self) -> Handed:
        """The sum so far, and whose vectors are in it."""
        return Handed(self._total, dict(self._uploads))


def _reply(said: tuple[Instruction, ...]) -> bytes:
    return next(each.message for each in said if isinstance(each, Reply))


def _serial(state: State, number: int) -> int:
    """Rounds are numbered anew in each epoch, a keystore's messages never."""
    assert state.epoch is not None
    return state.epoch.terms.epoch << 8 | number


def given_for(header: Header) -> Given:
    """What an honest worker is given for a round: what its header says."""
    return Given(header.encode(), header.purpose, header.model, header.layout, header.lanes, header.bits)
