"""What releases cost: epsilon at a delta, for neighbours that differ by one unit added or removed.

The unit is whatever the noise was made for: a patient, a record, or a clinic. Two data sets that differ in a unit's
*content* are two steps apart; who wants that relation halves the noise multiplier. Sampling is Poisson sampling: every
unit takes part in a release by a coin of its own; shuffled batches are not that, and not accounted for here.

Accounting is by privacy loss distributions (dp-accounting's PLDAccountant, an upper bound that is tight to its grid of
1e-4). Where a release has so little noise that its loss does not fit that grid, Renyi accounting takes over, a looser upper
bound. Only maths is here; what was spent is in `history`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fedmed.errors import ConfigError, MissingPart

RELATION = "add or remove one"
MECHANISMS = ("gaussian", "discrete gaussian")
"""Both are accounted as the Gaussian; `gaussian.smoothed` says what makes that true of the discrete one."""
MOST_RELEASES = 10**9
MOST_NAME = 256
LEAST_PLD = 0.25
"""Noise multiplier below which a loss distribution takes minutes and gigabytes, at an epsilon that protects nobody."""
MOST_NOISE = 2.0**20
_ORDERS = [*range(2, 65), 80, 96, 128, 192, 256, 512, 1024]  # whole: the library's sums for others need not converge
PRECISION = 1e-3
"""Relative: `noise_for` is at most this much above the least noise that does."""


@dataclass(frozen=True)
class Release:
    """`count` releases of one kind. Raises ConfigError, naming all faults, for what cannot be a release."""

    what: str
    """What is opened: weights, a histogram, a count."""
    mechanism: str
    noise_multiplier: float
    """Standard deviation of the noise over the L2 sensitivity; 0 is no noise, and infinite epsilon."""
    sampling_rate: float = 1.0
    """Probability that a unit takes part, by Poisson sampling; 1 where all do."""
    count: int = 1
    beta: float = 0.0
    """Added to delta, once a release: the probability that stochastic rounding exceeds the sensitivity."""

    def __post_init__(self) -> None:
        rules = {
            f"a name of {len(self.what)} characters (1 to {MOST_NAME})": 0 < len(self.what) <= MOST_NAME,
            f"mechanism {self.mechanism!r} (known: {', '.join(MECHANISMS)})": self.mechanism in MECHANISMS,
            f"noise multiplier {self.noise_multiplier} (0 or more)": 0 <= self.noise_multiplier < math.inf,
            f"sampling rate {self.sampling_rate} (above 0, at most 1)": 0 < self.sampling_rate <= 1,
            f"count {self.count} (1 to {MOST_RELEASES:,})": 1 <= self.count <= MOST_RELEASES,
            f"beta {self.beta} (0 or more, below 1)": 0 <= self.beta < 1,
        }
        if faults := [text for text, kept in rules.items() if not kept]:
            raise ConfigError(f"a release of {self.what[:80]!r} cannot be accounted for: {'; '.join(faults)}")


def epsilon(events: Iterable[Release], delta: float) -> float:
    """Epsilon of all `events` together at `delta`; infinite where one had no noise.

    Raises ConfigError for a delta that is not between 0 and 1, or not above what the events' roundings take of it, and
    MissingPart without dp-accounting.
    """
    known = list(events)
    left = delta - math.fsum(event.beta * event.count for event in known)
    if not 0 < delta < 1 or left <= 0:
        raise ConfigError(
            f"delta {delta} with {delta - left:.1e} of it taken by stochastic rounding; it must be below 1 and above that: "
            "take a larger delta or round with a smaller beta"
        )
    return _epsilon(_merged(known), left)


def noise_for(
    epsilon_target: float, delta: float, rate: float, count: int, tried: Callable[[], None] | None = None
) -> float:
    """The least noise multiplier, to 0.1 % and never below, with which `count` releases cost at most `epsilon_target`.

    `tried` is called after every evaluation that takes time. Raises ConfigError for what cannot be accounted for, or not
    with a multiplier of at most 2^20.
    """
    if not 0 < epsilon_target < math.inf:
        raise ConfigError(f"epsilon {epsilon_target}; it must be above 0 and finite")
    epsilon([Release("plan", "gaussian", 0, rate, count)], delta)  # refuses what cannot be accounted for

    def excess(noise: float, renyi: bool = False) -> float:
        """log of what it costs over what it may: 0 or less is enough."""
        cost = _epsilon(_merged([Release("plan", "gaussian", noise, rate, count)]), delta, renyi)
        if tried is not None and not renyi:
            tried()
        return math.log(max(cost, 1e-12) / epsilon_target)

    # Renyi accounting is quick and near: whatever it finds, the search in loss distributions begins there.
    near = _bracket(1.0, 2.0, lambda noise: excess(noise, True))
    found = _bracket(near[1][0], 1.25, excess) if near else _bracket(1.0, 2.0, excess)
    if found is None:
        raise ConfigError(
            f"epsilon {epsilon_target} at delta {delta} over {count} releases at rate {rate} needs a noise multiplier above "
            f"{MOST_NOISE:g}: plan fewer rounds, or a larger epsilon or delta"
        )
    return _narrowed(*found, excess)


Point = tuple[float, float]


def _bracket(start: float, factor: float, excess: Callable[[float], float]) -> tuple[Point, Point] | None:
    """(noise, excess) of one noise that is not enough and of a larger one that is; None where 2^20 is not enough."""
    here = (start, excess(start))
    while here[1] > 0:
        if here[0] >= MOST_NOISE:
            return None
        noise = min(here[0] * factor, MOST_NOISE)
        below, here = here, (noise, excess(noise))
        if here[1] <= 0:
            return below, here
        factor *= factor
    while True:
        above, here = here, (here[0] / factor, excess(here[0] / factor))
        if here[1] > 0:
            return here, above
        factor *= factor


def _narrowed(low: Point, high: Point, excess: Callable[[float], float]) -> float:
    """Narrows the two to a ratio of 1 + PRECISION, by the straight line between them on logarithmic paper; the larger."""
    margin = 1 + PRECISION / 3
    while high[0] > low[0] * (1 + PRECISION):
        slope = math.log(high[0] / low[0]) / (high[1] - low[1])
        crossing = low[0] * math.exp(-low[1] * slope) if math.isfinite(slope) else low[0]
        for guess in (crossing * margin, crossing / margin, math.sqrt(low[0] * high[0])):
            if low[0] < guess < high[0] and high[0] > low[0] * (1 + PRECISION):
                found = (guess, excess(guess))
                low, high = (low, found) if found[1] <= 0 else (found, high)
    return high[0]


def _merged(events: list[Release]) -> tuple[tuple[float, float, int], ...]:
    """(rate, multiplier, count) of what differs; unsampled Gaussians compose to one of 1/z^2 = sum 1/z_i^2, exactly."""
    counts: defaultdict[tuple[float, float], int] = defaultdict(int)
    for event in events:
        counts[event.sampling_rate, event.noise_multiplier] += event.count
    whole = [(noise, count) for (rate, noise), count in counts.items() if rate == 1]
    merged = [(rate, noise, count) for (rate, noise), count in counts.items() if rate < 1]
    if whole:
        noises = math.fsum(count / noise**2 if noise else math.inf for noise, count in whole)
        merged.append((1.0, 1 / math.sqrt(noises), 1))
    return tuple(sorted(merged))


@lru_cache(maxsize=256)
def _epsilon(merged: tuple[tuple[float, float, int], ...], delta: float, renyi: bool = False) -> float:
    if not merged:
        return 0.0
    least = min(noise for _, noise, _ in merged)
    if least == 0:
        return math.inf
    accountant = _accountant(renyi or least < LEAST_PLD)
    library = _library()
    for rate, noise, count in merged:
        event = library.GaussianDpEvent(noise)
        if rate < 1:
            event = library.PoissonSampledDpEvent(rate, event)
        accountant.compose(event, count)
    return float(accountant.get_epsilon(delta))


def _accountant(renyi: bool) -> Any:
    relation = _library().NeighboringRelation.ADD_OR_REMOVE_ONE
    if renyi:
        from dp_accounting.rdp import RdpAccountant

        return RdpAccountant(_ORDERS, relation)
    from dp_accounting.pld import PLDAccountant

    return PLDAccountant(relation)


def _library() -> Any:
    try:
        import dp_accounting
    except ImportError as error:
        raise MissingPart("privacy accounting needs dp-accounting; install it with: pip install 'fedmed[dp]'") from error
    return dp_accounting
