"""Updates added in the order in which their sites were asked, whoever comes first, and never two in memory.

Floating-point sums depend on their order, and answers come over a network in any. One that is before its turn is judged as
it comes, and read again, from where the grid keeps it, once the round is closed. So a round has one result whatever the
timing, after a crash too: that of sites that answer one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedmed.federation.mean import WeightedMean
from fedmed.flower.transport import Reply
from fedmed.wire.tensors import Tensors

Again = Callable[[str], Tensors]
"""Reads the tensors of the answer to a message once more."""


class InTurn:
    """A weighted mean of answers."""

    def __init__(self, like: Tensors, order: Sequence[str], again: Again | None) -> None:
        """`order`: the sites as they were asked. `again`: None where a grid lends each answer once, by lanes."""
        self._mean, self._again = WeightedMean(like), again
        self._order = list(dict.fromkeys(order))
        self._added = 0
        self._early: dict[str, tuple[str, float]] = {}

    def add(self, site: str, reply: Reply, weight: float) -> None:
        """Add a site's update, or note that it is there; its arrays are free again when this returns."""
        if self._again is None:
            self._mean.add(reply.lane, reply.tensors, weight)
        elif self._order[self._added] == site:
            self._mean.add(0, reply.tensors, weight)
            self._added += 1
        else:
            self._early[site] = (reply.message_id, weight)

    def result(self) -> Tensors:
        """The mean, as `WeightedMean.result`. Raises CourseLost where an answer is not kept any more."""
        if self._again is not None:
            for message_id, weight in (self._early[site] for site in self._order if site in self._early):
                self._mean.add(0, self._again(message_id), weight)
        return self._mean.result()
