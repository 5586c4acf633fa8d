"""A secret from its shares, also where some of them are wrong: those are found and named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations, islice

import numpy as np

from fedmed.privacy.secagg import shamir
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.locating import suspects

DECODINGS = 8  # a wrong share hides from one of them once in 256
MOST_SUBSETS = 5_000
Fits = Callable[[bytes], bool]
"""Whether a secret is the one that was committed to."""


@dataclass(frozen=True)
class Dealt:
    """Shares of one member's secret, by their point."""

    dealer: int
    shares: Mapping[int, bytes]


def recover(
    dealt: Dealt, threshold: int, fits: Fits, colluders: int, doubted: Collection[int] = ()
) -> tuple[bytes, tuple[int, ...]]:
    """The secret and the points whose shares are wrong. Raises Refused where the shares tried do not give the secret.

    Shares of `doubted` points, which were wrong elsewhere, are used last. With n shares up to (n - threshold) / 2 wrong ones
    are always found; more are where few are left out, as what was committed to tells the right secret.

    Two who lie together can have their errors cancel in the secret, on a polynomial that honest shares lie beside. So a
    share is called wrong only where `threshold + colluders` others agree: as many honest ones as fix the polynomial.
    """
    points = sorted(dealt.shares, key=lambda point: (point in doubted, point))
    if len(points) < threshold:
        raise Refused(Attack.BAD_SHARE, f"{len(points)} shares of member {dealt.dealer}, {threshold} are needed")
    for tried, chosen in enumerate(_choices(dealt, points, threshold)):
        secret = _combine(dealt, chosen)
        if fits(secret):
            wrong = _wrong(dealt, chosen) if tried else ()
            return secret, wrong if len(points) - len(wrong) >= threshold + colluders else ()
    raise Refused(
        Attack.BAD_SHARE,
        f"the {len(points)} shares of member {dealt.dealer} do not open what it committed to; it dealt wrong shares, or "
        "too many of their holders lie",
    )


def _choices(dealt: Dealt, points: list[int], threshold: int) -> Iterator[tuple[int, ...]]:
    """The first shares; those that decoding finds right; then, as few may be wrong, all but few."""
    yield tuple(points[:threshold])
    for attempt in range(DECODINGS):
        located = suspects(dealt.shares, threshold, attempt)
        if located:
            yield tuple(point for point in points if point not in located)[:threshold]
    left_out = range(1, len(points) - threshold + 1)
    for gone in islice(chain.from_iterable(combinations(points, count) for count in left_out), MOST_SUBSETS):
        yield tuple(point for point in points if point not in gone)[:threshold]


def _combine(dealt: Dealt, chosen: tuple[int, ...]) -> bytes:
    return shamir.combine(chosen, np.stack([np.frombuffer(dealt.shares[each], np.uint8) for each in chosen])).tobytes()


def _wrong(dealt: Dealt, right: tuple[int, ...]) -> tuple[int, ...]:
    """Points off the polynomial that the right ones lie on: exchanged for one of those, they give another secret."""
    secret = _combine(dealt, right)
    others = [point for point in sorted(dealt.shares) if point not in right]
    return tuple(point for point in others if _combine(dealt, (*right[1:], point)) != secret)
