"""What masks take of a clinic's time where they are counted and not made (`masks: timed`)."""

from __future__ import annotations

from fedmed.privacy.secagg.graph import COMPLETE, design
from fedmed.privacy.secagg.parameters import MAX_MEMBERS, least_colluders

KEYSTREAM = 8e9
"""Bytes of mask that one core makes and adds in a second by the library's AES, half of the vector one (docs/adr/0030)."""
AGREEING_S = 60e-6
"""One X25519 agreement and the keys that follow from it, by the library, upper end of 25 to 61 us on shared cores."""


def neighbours(members: int) -> int:
    """With how many others a member shares masks: all, or as many as the ring has that a center of no wishes makes."""
    if members <= COMPLETE:
        return max(0, members - 1)
    dropouts = members // 10
    return design(members, least_colluders(members), dropouts, members - dropouts).degree


def seconds(members: int, words: float, bits: int) -> float:
    """A clinic's time for the masks of an update of `words` lanes of `bits`, in a round of `members`.

    Beyond the most members of an epoch, a round is one of that many.
    """
    return neighbours(min(members, MAX_MEMBERS)) * (words * bits / 8 / KEYSTREAM + AGREEING_S)
