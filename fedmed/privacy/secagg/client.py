"""A clinic's side of the protocol as a pure state machine: events in, a new state and instructions out, no I/O.

The shell carries the instructions out in their order: what has to be on the disk is there before anything is answered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedmed.privacy.secagg import epoch_messages, joining, round_messages, taking_part
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.joining import Joining
from fedmed.privacy.secagg.member import Epoch, Instruction, Member, Reply, Save
from fedmed.privacy.secagg.taking_part import Given

KIND_AT = 5  # of the byte that tells a message's kind


@dataclass(frozen=True)
class State:
    """What a clinic knows of the protocol."""

    last_epoch: int = 0
    """The newest epoch it has given keys for."""
    joining: Joining | None = None
    epoch: Epoch | None = None


@dataclass(frozen=True)
class Asked:
    """The center asks; `head` is that of the clinic's own audit log, which its confirmations are bound to."""

    request: bytes
    head: bytes = bytes(32)


@dataclass(frozen=True)
class Began:
    """A round's work came."""

    given: Given


@dataclass(frozen=True)
class Masked:
    """The vector has its masks."""

    vector: bytes
    """Its digest."""


Event = Asked | Began | Masked
Outcome = tuple[State, tuple[Instruction, ...]]


def step(member: Member, state: State, event: Event) -> Outcome:
    """The state after `event` and what is to be done about it. Raises Refused, which changes nothing."""
    if isinstance(event, Asked):
        return _asked(member, state, event)
    if state.epoch is None:
        raise Refused(Attack.OUT_OF_TURN, "a round begins before an epoch was set up")
    match event:
        case Began(given):
            epoch, instructions = taking_part.begin(member, state.epoch, given)
        case Masked(vector):
            epoch, instructions = taking_part.finish(member, state.epoch, vector)
    return replace(state, epoch=epoch), instructions


def _asked(member: Member, state: State, event: Asked) -> Outcome:
    request = event.request
    match request[KIND_AT] if len(request) > KIND_AT else None:
        case epoch_messages.COMMIT:
            begun, answer = joining.commit(member, state.last_epoch, request)
            return replace(state, joining=begun), (Save(), Reply(answer))
        case epoch_messages.ADVERT:
            begun, answer = joining.advertise(member, state.last_epoch, state.joining, request)
            return State(begun.terms.epoch, begun, state.epoch), (Save(), Reply(answer))
        case epoch_messages.SHARES:
            begun, answer = joining.share(member, state.joining, request)
            return replace(state, joining=begun), (Save(), Reply(answer))
        case epoch_messages.STORE:
            epoch, answer = joining.store(member, state.joining, request)
            return State(state.last_epoch, None, epoch), (Save(), Reply(answer))
    if state.epoch is None:
        raise Refused(Attack.OUT_OF_TURN, "asked for a round before an epoch was set up")
    match request[KIND_AT] if len(request) > KIND_AT else None:
        case round_messages.CONFIRM:
            after, instructions = taking_part.confirm(member, state.epoch, request, event.head)
        case round_messages.REVEAL:
            after, instructions = taking_part.reveal(member, state.epoch, request)
        case _:
            raise Refused(Attack.MALFORMED, "it is none of the protocol's requests")
    return replace(state, epoch=after), instructions
