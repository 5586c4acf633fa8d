"""Discrete Gaussian noise from a CSPRNG, added to the lanes of a masked vector, in shares of which the sum is accounted.

What is exact and what is bounded stands in `tables`: a draw of width up to 1024 lattice units is within 2^-113 of the
discrete Gaussian in statistical distance (127-bit inversion; the tail cut, 13 widths out, is in it), and what the sums for
wider noise deviate by is below 2^-112 of every probability. Over 2^27 lanes, four levels and 2^16 rounds the distances add
up to at most 2^-68: nothing beside any delta in use. No generator is trusted but AES: `add_noise` takes a seed, for NumPy's
and torch's generators can be predicted from their output.

[KLS21] is Kairouz, Liu, Steinke: The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
Aggregation, ICML 2021, arXiv 2102.06387.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import ConfigError
from fedmed.privacy.dp.searching import Search, search_for, undecided
from fedmed.privacy.dp.tables import ALL, Table, levels
from fedmed.privacy.dp.words import RUN, runs, second_half

LEAST_SHARE = 3.0
"""Lattice units: from here on the sum of shares is a discrete Gaussian but for less than 10^-37 a coordinate."""
SMOOTHING_VARIANCE = 4.0
"""Lattice units squared by which the continuous Gaussian is narrower whose rounding the discrete one is (`smoothed`)."""
MOST_DIVERGENCE = 1e-9
"""Of epsilon, a round: below it the sum of shares is accounted as one Gaussian."""
_HALF_BITS = 64


def add_noise(lanes: NDArray[np.uint32] | NDArray[np.uint16], sigma: float, seed: bytes) -> None:
    """Add an independent discrete Gaussian of width `sigma` (lattice units) to every lane, in place, mod 2^16 or 2^32.

    `seed`: 24 bytes from a CSPRNG (or a key derivation), used for this vector and never again: two vectors under one seed
    have the same noise, and their difference none. The noise depends on seed, sigma and length alone: not on the lanes'
    width, nor on whether numba is here. Raises ValueError for lanes of another kind, for a sigma that is not between 0.5
    and 2^40, and for a seed that is not 24 bytes.
    """
    if lanes.dtype not in (np.uint16, np.uint32) or lanes.ndim != 1:
        raise ValueError(f"lanes {lanes.dtype} of shape {lanes.shape}; noise is added to uint16 or uint32 in one dimension")
    for start, noise in _chunks(lanes.size, sigma, seed):
        lanes[start : start + RUN] += noise.astype(lanes.dtype)


def noise(count: int, sigma: float, seed: bytes) -> NDArray[np.int64]:
    """What `add_noise` adds to `count` lanes, (count,) int64, before it is reduced mod 2^16 or 2^32. Raises ValueError."""
    drawn = np.empty(count, np.int64)
    for start, chunk in _chunks(count, sigma, seed):
        drawn[start : start + RUN] = chunk
    return drawn


def _chunks(count: int, sigma: float, seed: bytes) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Chunk c of 2^15 lanes takes runs c*L to c*L+L-1 of the stream, one for each of the L levels, the top first."""
    terms, stream, search, run = levels(sigma), runs(seed), search_for(count), 0
    for start in range(0, count, RUN):
        length = min(RUN, count - start)
        drawn = np.zeros(length, np.int64)
        for term in terms:
            drawn *= term.step
            drawn += _draw(next(stream)[:length], term.table, search, seed, run)
            run += 1
        yield start, drawn


def _draw(words: NDArray[np.uint64], table: Table, search: Search, seed: bytes, run: int) -> NDArray[np.int64]:
    """One draw a word; where 63 bits lie on a bound (once in 2^49 draws), 64 more decide."""
    draws, ties = search(words, table)
    if ties:
        places = undecided(words, table)
        for place, low in zip(places, second_half(seed, run, places), strict=True):
            draws[place] = decided(int(words[place]), low, table)
    return draws


def decided(word: int, low: int, table: Table) -> int:
    """The draw of all 127 bits and the sign: the definition, of which the search among upper bits is the fast path."""
    number = (word >> 1) << _HALF_BITS | low
    assert number < ALL
    magnitude = bisect_right(table.bounds, number)
    return -magnitude if word & 1 else magnitude


def share_sigma(sigma_total: float, least_honest: int) -> float:
    """Width of one clinic's share (lattice units): sigma_u^2 = sigma_total^2 / least_honest.

    `least_honest` is t_min - c: the fewest clinics whose sum is ever opened, less those who may collude and add no noise.
    With everybody there the opened sum has `clinics / least_honest` times the variance that is accounted for.
    Raises ConfigError where a share would be narrower than 3 lattice units, for [KLS21]'s theorem then says too little.
    """
    if least_honest < 1:
        raise ConfigError(
            f"{least_honest} honest clinics in the smallest sum that is opened; at least 1 must add noise: "
            "lose fewer clinics, reckon with fewer colluders, or invite more clinics"
        )
    share = sigma_total / math.sqrt(least_honest)
    if not LEAST_SHARE <= share < math.inf:
        raise ConfigError(
            f"a noise share of {share:.3g} lattice units a clinic; at least {LEAST_SHARE:g} is allowed: "
            "take a finer lattice (a larger scale, or lanes of 32 bits), more noise (a smaller epsilon), or a larger clip"
        )
    return share


def sum_divergence(share: float, shares: int, dimensions: int) -> float:
    """What it costs of epsilon, once a release, that a sum of discrete Gaussians is not quite one: tau * d.

    tau = 10 sum_{k=1}^{n-1} exp(-2 pi^2 sigma^2 k / (k + 1)) ([KLS21], theorem 1 and proposition 14: tau * d is added to
    the Renyi divergence of every order). Raises ConfigError where it is more than 10^-9, instead of leaving it out.
    """
    tau = 10 * sum(math.exp(-2 * (math.pi * share) ** 2 * k / (k + 1)) for k in range(1, shares))
    if tau * dimensions > MOST_DIVERGENCE:
        raise ConfigError(
            f"the sum of {shares} noise shares of {share:.3g} lattice units is off by {tau * dimensions:.1e} of epsilon; "
            f"at most {MOST_DIVERGENCE:g} is left out of account: take a finer lattice"
        )
    return tau * dimensions


def rounded_sensitivity(bound: float, dimensions: int, beta: float) -> float:
    """L2 norm (lattice units) that a vector of norm `bound` has at most after stochastic rounding, but for `beta`.

    [KLS21], theorem 1 and proposition 22, with gamma = 1: the squared norm is at most the smaller of (c + sqrt d)^2,
    always, and c^2 + d/4 + sqrt(2 ln(1/beta)) (c + sqrt(d)/2) with probability 1 - beta. The paper rounds again until it
    holds; we round once and add `beta` to delta instead: the dither is independent of the data, and with one dither two
    neighbours' sums differ by their difference stochastically rounded, also where a clinic rounds a sum over many
    patients, whose norm nobody could check. `beta` = 0 takes the bound that always holds. Raises ValueError.
    """
    if not (0 <= beta < 1 and bound >= 0 and dimensions >= 1):
        raise ValueError(f"bound {bound}, {dimensions} dimensions, beta {beta}: not a vector's norm and a probability")
    always = bound + math.sqrt(dimensions)
    if beta == 0:
        return always
    tail = math.sqrt(2 * math.log(1 / beta)) * (bound + math.sqrt(dimensions) / 2)
    return min(always, math.sqrt(bound * bound + dimensions / 4 + tail))


def smoothed(sigma: float) -> float:
    """Width a discrete Gaussian must have to hide what a continuous one of width `sigma` hides: sqrt(sigma^2 + 4).

    Adding continuous noise of variance s^2 and then rounding by a discrete Gaussian of variance 4 around the result gives
    the discrete Gaussian of variance s^2 + 4, every probability within a factor 1 + 2^-111 (Poisson summation, as in
    `tables`, with t >= 2). Rounding is post-processing: the Gaussian's whole privacy curve, sampling included, holds.
    """
    return math.sqrt(sigma * sigma + SMOOTHING_VARIANCE)
