"""Who takes part in a step: coins from a keystream, one a unit, which nobody but the clinic can foresee."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import ConfigError
from fedmed.privacy.dp.words import RUN, runs

_WORDS = 2.0**64


def poisson(groups: Sequence[NDArray[np.int64]], rate: float, seed: bytes) -> NDArray[np.int64]:
    """Rows of one Poisson sample, in the groups' order: each takes part with probability `rate`, by one row of its own.

    `groups` are the rows of each patient (`sites.cases.patient_rows`), or of each record where ids are missing. A patient
    of many records shows one of them, drawn evenly, in each step it takes part in: so no patient adds more to a step than
    one clipped gradient. `seed` is 24 bytes from a CSPRNG for this sample alone. The rate is met but for 2^-53, and never
    exceeded. Raises ConfigError for a rate that is not above 0 and at most 1.
    """
    if not 0 < rate <= 1:
        raise ConfigError(f"sampling rate {rate}; it must be above 0 and at most 1")
    words = _words(2 * len(groups), seed)
    coins, picks = words[::2], words[1::2]
    chosen = np.flatnonzero(coins < np.uint64(rate * _WORDS)) if rate < 1 else np.arange(len(groups))
    return np.array([groups[at][int(picks[at]) % len(groups[at])] for at in chosen.tolist()], np.int64)


def _words(count: int, seed: bytes) -> NDArray[np.uint64]:
    parts = [run.copy() for run in islice(runs(seed), -(-count // RUN))]
    return np.concatenate([*parts, np.zeros(0, np.uint64)])[:count]
