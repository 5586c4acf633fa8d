"""A secret from its shares, also where some of them are wrong: those are found and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from fedmed.privacy.secagg import shamir
from fedmed.privacy.secagg.attacks import Attack, Refused

MOST_TRIES = 5_000
Fits = Callable[[bytes], bool]
"""Whether a secret is the one that was committed to."""


@dataclass(frozen=True)
class Dealt:
    """Shares of one member's secret, by their point."""

    dealer: int
    shares: Mapping[int, bytes]


def recover(dealt: Dealt, threshold: int, fits: Fits, colluders: int) -> tuple[bytes, tuple[int, ...]]:
    """The secret and the points whose shares are wrong. Raises Refused where no subset tried gives the secret.

    Two who lie together can have their errors cancel in the secret, on a polynomial that honest shares lie beside. So a
    share is called wrong only where `threshold + colluders` others agree: as many honest ones as fix the polynomial.
    """
    points = sorted(dealt.shares)
    if len(points) < threshold:
        raise Refused(Attack.BAD_SHARE, f"{len(points)} shares of member {dealt.dealer}, {threshold} are needed")
    for tried, chosen in enumerate(islice(_subsets(points, threshold), MOST_TRIES)):
        secret = _combine(dealt, chosen)
        if fits(secret):
            wrong = _wrong(dealt, chosen) if tried else ()
            return secret, wrong if len(points) - len(wrong) >= threshold + colluders else ()
    raise Refused(
        Attack.BAD_SHARE,
        f"the {len(points)} shares of member {dealt.dealer} do not open what it committed to; it dealt wrong shares, or "
        "too many of their holders lie",
    )


def _subsets(points: list[int], threshold: int) -> Iterator[tuple[int, ...]]:
    """Subsets of the threshold's size: first all points but few are tried, as few are wrong."""
    for left_out in range(len(points) - threshold + 1):
        for gone in combinations(points, left_out):
            kept = [point for point in points if point not in gone]
            yield tuple(kept[:threshold])


def _combine(dealt: Dealt, chosen: tuple[int, ...]) -> bytes:
    return shamir.combine(chosen, np.stack([np.frombuffer(dealt.shares[each], np.uint8) for each in chosen])).tobytes()


def _wrong(dealt: Dealt, right: tuple[int, ...]) -> tuple[int, ...]:
    """Points off the polynomial that the right ones lie on: exchanged for one of those, they give another secret."""
    secret = _combine(dealt, right)
    others = [point for point in sorted(dealt.shares) if point not in right]
    return tuple(point for point in others if _combine(dealt, (*right[1:], point)) != secret)
