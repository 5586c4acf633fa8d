"""One masked round at the center: uploads into one sum, survivors, shares, and what the sum says.

The rules are in `fedmed.privacy.secagg.opening`, which is pure; this sends, adds and takes masks off.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fedmed.errors import ProtocolRefused, UpdateRefused
from fedmed.federation.epochs import Current
from fedmed.federation.journal import Voice
from fedmed.federation.patience import Opened, Patience
from fedmed.federation.phase import Member
from fedmed.flower.keys import BYTES, ENVELOPE, PROTOCOL, VECTOR
from fedmed.flower.ours import MaskedPart
from fedmed.flower.transport import Reply, Transport
from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.layout import Layout, Sum
from fedmed.privacy.secagg.opening import Opening
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.schedule import vector_digest


@dataclass
class Uploads:
    """The vectors of one round as one sum, and the state of its opening."""

    current: Current
    header: Header
    layout: Layout
    state: Opening = field(init=False)
    total: Lanes = field(init=False)

    def __post_init__(self) -> None:
        self.state = opening.begin(self.current.agreed, self.header)
        self.total = self.layout.zeros()

    def take(self, member: Member, reply: Reply) -> None:
        """Check an upload and add it. Raises UpdateRefused."""
        vector, envelope = reply.tensors.get(VECTOR), reply.config.get(ENVELOPE)
        if vector is None or not isinstance(envelope, bytes) or len(reply.tensors) != 1 or reply.metrics:
            raise UpdateRefused("an answer that is no masked vector with its envelope; allowed is nothing else")
        if vector.shape != self.total.shape or vector.dtype != self.total.dtype:
            raise UpdateRefused(
                f"a vector of {vector.dtype} {list(vector.shape)}; allowed: {self.total.dtype} {list(self.total.shape)}"
            )
        index = self.current.index[member.node]
        try:
            self.state = opening.take(self.state, index, envelope, vector_digest(vector, os.cpu_count() or 1))
        except ProtocolRefused as error:
            raise UpdateRefused(str(error)) from error
        np.add(self.total, vector, out=self.total, casting="same_kind")

    def take_part(self, part: MaskedPart) -> None:
        """A process's part: its nodes' vectors come as one sum. Raises ProtocolRefused where one of them does not hold."""
        if part.total.shape != self.total.shape or part.total.dtype != self.total.dtype:
            raise ProtocolRefused(
                f"a sum of {part.total.dtype} {list(part.total.shape)}; allowed: {self.total.dtype} {list(self.total.shape)}"
            )
        state = self.state
        for node, (envelope, vector) in part.uploads.items():
            state = opening.take(state, self.current.index[node], envelope, vector)
        self.state = state
        np.add(self.total, part.total, out=self.total, casting="same_kind")


class Opener:
    """Opens the sum of a round that is closed."""

    def __init__(self, transport: Transport, patience: Patience, journal: Voice) -> None:
        self._transport, self._patience, self._journal = transport, patience, journal

    def open(self, uploads: Uploads) -> Sum:
        """What the sum says. Raises ProtocolRefused where it cannot be opened: the round is lost, nothing is learned."""
        state = opening.close(uploads.state)
        header = state.header
        self._journal.say(
            "survivors", number=header.number, survivors=list(state.survivors or ())
        )  # before anybody is asked
        if state.agreed.terms.mode == "malicious":
            state = self._ask(uploads, state, opening.confirm_request(state), opening.confirm, _is_confirmed)
        if not state.is_confirmed:  # nobody would reveal anything
            raise ProtocolRefused(
                f"{len(state.confirmed)} sites confirmed who is in it, {state.agreed.terms.quorum} are needed"
            )
        state = self._ask(uploads, state, opening.reveal_request(state), opening.reveal, opening.can_open)
        if not opening.can_open(state):
            raise ProtocolRefused(f"{len(state.revealed)} sites revealed their shares; too few to open the sum")
        opened = opening.open_sum(state)
        if opened.accused:
            names = [uploads.current.names[each] for each in opened.accused]
            self._journal.say("accused", number=header.number, members=list(opened.accused), sites=names)
        masks.apply(uploads.total, opened.streams)
        return uploads.layout.read(uploads.total, len(state.survivors or ()))

    def _ask(
        self,
        uploads: Uploads,
        state: Opening,
        request: bytes,
        take: Callable[[Opening, int, bytes], Opening],
        is_enough: Callable[[Opening], bool],
    ) -> Opening:
        """The state with the whole roster's answers, as far as they come; those that do not hold are left out."""
        index, heard = uploads.current.index, [state]
        requests = dict.fromkeys(index, request)
        opened = Opened(self._patience, PROTOCOL)
        for reply in self._transport.exchange(PROTOCOL, requests, opened, lambda: is_enough(heard[-1])):
            try:
                if reply.error is not None:
                    raise ProtocolRefused(reply.error)
                heard.append(take(heard[-1], index[reply.node], bytes(reply.config.get(BYTES, b""))))
            except ProtocolRefused as error:
                member = index[reply.node]
                self._journal.say("unheard", member=member, site=uploads.current.names[member], reason=str(error))
        return heard[-1]


def _is_confirmed(state: Opening) -> bool:
    return state.is_confirmed
