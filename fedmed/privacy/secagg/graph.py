"""Who shares secrets and masks with whom: everybody up to 128 members, neighbours on a drawn ring above.

Above 128 the members stand on a ring in an order drawn from nonces that all had committed to, and each is joined with the
`degree / 2` next ones on both sides (a Harary graph, as in Bell et al. 2020, section 3). Such a ring falls apart only where
two whole windows of `degree / 2` places hold no honest survivor. The center may choose who "dropped out" once it has seen
the order; so a clinic counts, in the survivor set that it signs, every window's survivors, and refuses a window with no more
of them than colluders could be in it (but for a chance of 2^-40 over all windows). Then all honest survivors are joined, and
only the one sum over all of them opens: the bound is on the drawn order alone and holds for any choice of dropouts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy.secagg.attacks import Attack, Refused

COMPLETE = 128  # members up to which everybody shares with everybody
MOST_HOLDERS = 255  # of one secret: points of GF(2^8) but zero
PRIVACY_BITS, FAILURE_BITS = 40, 20


@dataclass(frozen=True)
class Design:
    """A graph's numbers, from those of the roster."""

    members: int
    degree: int
    """Neighbours of each member."""
    threshold: int
    """Shares that open a secret; more than colluders among its holders."""
    window: int
    """Survivors that any `degree / 2` places in a row must have; 0 in a complete graph."""

    @property
    def is_complete(self) -> bool:
        """Whether everybody is joined with everybody."""
        return self.degree == self.members - 1


@lru_cache(maxsize=64)
def design(members: int, colluders: int, dropouts: int, quorum: int) -> Design:
    """The least degree that is private but for 2^-40 and, with random dropouts, fails in less than 2^-20 of the rounds.

    Raises Refused where there is none.
    """
    if members > COMPLETE:
        for half in range(2, (min(members, MOST_HOLDERS) - 1) // 2):
            worst = _most(members, colluders, half, PRIVACY_BITS)
            gone = _most(members, dropouts, half, FAILURE_BITS)
            threshold = _most(members, colluders, 2 * half + 1, PRIVACY_BITS) + 1
            holders = 2 * half + 1 - _most(members, dropouts, 2 * half + 1, FAILURE_BITS)
            if half - gone > worst and holders >= threshold:
                return Design(members, 2 * half, threshold, worst + 1)
        if members > MOST_HOLDERS:
            raise Refused(
                Attack.STRANGE_TERMS,
                f"no graph of at most {MOST_HOLDERS} holders is private for {members} members with {colluders} colluders "
                f"and {dropouts} dropouts; allow for fewer of them",
            )
    return Design(members, members - 1, quorum, 0)


def _most(members: int, marked: int, drawn: int, bits: int) -> int:
    """Marked ones among `drawn` of `members`: no more than this, in any of `members` places, but for 2^-bits."""
    total, allowed, tail = math.comb(members, drawn), 2.0**-bits / members, 0.0
    for count in range(min(marked, drawn), 0, -1):
        ways = math.comb(marked, count) * math.comb(members - marked, drawn - count)
        tail += math.exp(math.log(ways) - math.log(total)) if ways else 0.0
        if tail > allowed:
            return count
    return 0


@dataclass(frozen=True)
class Graph:
    """The graph of one epoch."""

    design: Design
    order: tuple[int, ...]
    """Members around the ring; ascending in a complete graph."""

    def neighbours(self, member: int) -> tuple[int, ...]:
        """Those that a member is joined with, ascending."""
        found = self._neighbours.get(member)
        if found is None:
            found = self._neighbours[member] = tuple(each for each in self.holders(member) if each != member)
        return found

    def holders(self, member: int) -> tuple[int, ...]:
        """Those that hold a share of a member's secrets, ascending: its neighbours and itself."""
        if self.design.is_complete:
            return self.order
        found = self._holders.get(member)
        if found is None:
            count, place, half = len(self.order), self._places[member], self.design.degree // 2
            around = (self.order[(place + step) % count] for step in range(-half, half + 1))
            found = self._holders[member] = tuple(sorted(around))
        return found

    @cached_property
    def _holders(self) -> dict[int, tuple[int, ...]]:
        return {}

    @cached_property
    def _neighbours(self) -> dict[int, tuple[int, ...]]:
        return {}

    def weakest_window(self, survivors: Sequence[int]) -> int:
        """Survivors in the window that has fewest; of a complete graph, all of them."""
        if self.design.is_complete:
            return len(survivors)
        there = np.zeros(len(self.order) + 1, np.int64)
        there[list(survivors)] = 1
        ring = there[self._ring]
        sums = np.concatenate([[0], np.cumsum(np.concatenate([ring, ring]))])
        half = self.design.degree // 2
        return int((sums[half : half + len(ring)] - sums[: len(ring)]).min())

    @cached_property
    def _places(self) -> dict[int, int]:
        return {member: place for place, member in enumerate(self.order)}

    @cached_property
    def _ring(self) -> NDArray[np.int64]:
        return np.array(self.order, np.int64)


def drawn(chosen: Design, seed: bytes) -> Graph:
    """The graph that a seed draws: Fisher and Yates' shuffle with SHA-256 in counter mode, rejecting for evenness."""
    order = list(range(1, chosen.members + 1))
    if not chosen.is_complete:
        words = _Words(seed)
        for last in range(len(order) - 1, 0, -1):
            other = words.below(last + 1)
            order[last], order[other] = order[other], order[last]
    return Graph(chosen, tuple(order))


class _Words:
    def __init__(self, seed: bytes) -> None:
        self._seed, self._count = seed, 0

    def below(self, bound: int) -> int:
        """An even draw from 0 to bound - 1."""
        limit = 2**64 - 2**64 % bound
        while True:
            block = hashlib.sha256(b"fedmed/sa/v1/graph" + self._seed + self._count.to_bytes(8, "big")).digest()
            self._count += 1
            if (value := int.from_bytes(block[:8], "big")) < limit:
                return value % bound
