"""The center's side: an epoch and its rounds with workers that play many members each. It sees what a real center sees.

A worker's vectors come as one sum, hence a vector that does not hold takes the worker's whole part with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from fedmed.errors import ProtocolRefused
from fedmed.identity.member import CheckAll
from fedmed.privacy.secagg import convening, masks, opening
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.layout import Layout, Sum
from fedmed.privacy.secagg.many import signatures
from fedmed.privacy.secagg.opening import Opening
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import Header
from fedmed.twin.masked.players import Answers, Handed

Ask = Callable[[Mapping[int, bytes]], Iterable[Answers]]
"""Puts requests to all those members, wherever they are played, and tells answers as they come, of who is not away. A center
that has heard enough stops reading; the others have been asked all the same."""


def convene(terms: Parameters, keys: Mapping[int, bytes], ask: Ask) -> Agreed:
    """The epoch under these terms; `keys` are the members' signing keys. Raises ProtocolRefused: it has all or is none."""
    state: Convening | Agreed = convening.convene(terms, keys)
    while isinstance(state, Convening):
        for answers in ask(convening.requests(state)):
            if answers.refused:
                member, reason = min(answers.refused.items())
                raise ProtocolRefused(f"member {member} refuses the epoch: {reason}")
            state = convening.take_all(state, answers.said, signatures())
        state = convening.proceed(state)
    return state


class Gathered:
    """One masked round: workers' parts in, the one sum out."""

    def __init__(self, agreed: Agreed, header: Header, layout: Layout) -> None:
        """Raises ProtocolRefused for a cohort that no honest clinic would sum in."""
        self._state: Opening = opening.begin(agreed, header)
        self._layout, self._total = layout, layout.zeros()

    def take(self, handed: Handed) -> None:
        """A worker's part. Raises ProtocolRefused where one envelope does not hold: nothing of the part is added."""
        if handed.total.shape != self._total.shape or handed.total.dtype != self._total.dtype:
            raise ProtocolRefused(
                f"a sum of {handed.total.dtype} {list(handed.total.shape)}; allowed: {self._total.dtype} "
                f"{list(self._total.shape)}"
            )
        uploads = {member: (each.envelope, each.vector) for member, each in handed.uploads.items()}
        self._state = opening.take_all(self._state, uploads, signatures())
        np.add(self._total, handed.total, out=self._total, casting="same_kind")

    def open(self, ask: Ask) -> Sum:
        """What the sum says. Raises ProtocolRefused where it cannot be opened: the round is lost, nothing is learned."""
        state = opening.close(self._state)
        if state.agreed.terms.mode == "malicious":
            state = _asked(state, ask, opening.confirm_request(state), opening.confirm_all, _is_confirmed)
        if not state.is_confirmed:  # nobody would reveal anything
            raise ProtocolRefused(
                f"{len(state.confirmed)} members confirmed who is in it, {state.agreed.terms.quorum} are needed"
            )
        state = _asked(state, ask, opening.reveal_request(state), opening.reveal_all, opening.can_open)
        if not opening.can_open(state):
            raise ProtocolRefused(f"{len(state.revealed)} members revealed their shares; too few to open the sum")
        masks.apply(self._total, opening.open_sum(state).streams, 1, is_warm=True)
        return self._layout.read(self._total, len(state.survivors or ()))


def _asked(
    state: Opening,
    ask: Ask,
    request: bytes,
    take: Callable[[Opening, Mapping[int, bytes], CheckAll], Opening],
    is_enough: Callable[[Opening], bool],
) -> Opening:
    """The state with the roster's answers, as many as are needed; those that do not hold are left out."""
    for answers in ask(dict.fromkeys(range(1, state.agreed.terms.members + 1), request)):
        state = take(state, answers.said, signatures())
        if is_enough(state):
            break
    return state


def _is_confirmed(state: Opening) -> bool:
    return state.is_confirmed
