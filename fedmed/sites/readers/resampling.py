"""Train/test splits that equal scikit-learn's row by row, so that published splits need no scikit-learn.

The steps and the order of random draws are those of `StratifiedShuffleSplit` and `ShuffleSplit` (scikit-learn,
sklearn/model_selection/_split.py, unchanged since 0.18); the tests compare them with the original.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def train_test_rows(
    labels: NDArray[np.int64], train_share: float, seed: int, *, stratify: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of train and test as of `train_test_split(train_size=share, test_size=1 - share, random_state=seed)`."""
    total = len(labels)
    train_count = math.floor(train_share * total)
    test_count = math.ceil((1.0 - train_share) * total)
    # The legacy generator is scikit-learn's; a published split can be had from no other.
    rng = np.random.RandomState(seed)
    if not stratify:
        order = rng.permutation(total)
        return order[test_count : test_count + train_count], order[:test_count]
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(index, kind="stable"), np.cumsum(counts)[:-1])
    to_train = _per_class(counts, train_count, rng)
    to_test = _per_class(counts - to_train, test_count, rng)
    train: list[NDArray[np.int64]] = []
    test: list[NDArray[np.int64]] = []
    for rows, for_train, for_test in zip(members, to_train, to_test, strict=True):
        shuffled = rows[rng.permutation(len(rows))]
        train.append(shuffled[:for_train])
        test.append(shuffled[for_train : for_train + for_test])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def _per_class(
    counts: NDArray[np.int64],
    draws: int,
    rng: np.random.RandomState,
) -> NDArray[np.int64]:
    """`draws` shared out over the classes by largest remainder, ties broken at random (`_approximate_mode`)."""
    exact = counts / counts.sum() * draws
    shares = np.floor(exact)
    left = int(draws - shares.sum())
    remainder = exact - shares
    for value in np.sort(np.unique(remainder))[::-1]:
        if left <= 0:
            break
        (tied,) = np.where(remainder == value)
        chosen = rng.choice(tied, size=min(len(tied), left), replace=False)
        shares[chosen] += 1
        left -= len(chosen)
    return np.asarray(shares, dtype=np.int64)
