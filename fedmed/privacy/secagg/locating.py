"""Which shares of a secret are wrong: Reed-Solomon decoding of Shamir's shares (McEliece and Sarwate 1981).

The shares at n points lie on a polynomial of degree below t. With e wrong ones, n >= t + 2e, the key equation of Welch and
Berlekamp (1986), Q(x) = y E(x) at every point with deg E = e and deg Q < t + e, has a solution, and each wrong point is a
root of every solution's E: the other points, at least t, are all right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedmed.privacy.secagg.shamir import EXP, LOG, MUL, Bytes


def suspects(shares: Mapping[int, bytes], threshold: int, attempt: int) -> tuple[int, ...]:
    """Points that hold all wrong shares, (n - t) / 2 of them at most; none where there are more wrong ones than that.

    All bytes of a share are wrong together: one byte is made of them, by weights that are a digest of all shares, so that
    whoever lies cannot make it right. It is by chance, once in 256; another `attempt` has other weights.
    """
    points = sorted(shares)
    most = (len(points) - threshold) // 2
    values = np.stack([np.frombuffer(shares[point], np.uint8) for point in points])
    weights = _weights(values, attempt)
    word = np.bitwise_xor.reduce(MUL[weights[None, :], values], axis=1)
    locator = _locator(np.array(points), word, threshold, most)
    if locator is None:
        return ()
    return tuple(point for point, at in zip(points, _at(locator, np.array(points)), strict=True) if at == 0)


def _weights(values: Bytes, attempt: int) -> Bytes:
    seed = hashlib.shake_256(attempt.to_bytes(2, "big") + values.tobytes())
    return np.frombuffer(seed.digest(values.shape[1]), np.uint8)


def _locator(points: NDArray[np.int64], word: Bytes, threshold: int, wrong: int) -> Bytes | None:
    """Coefficients of E, lowest first, the highest one 1; None where the equation has no solution."""
    powers = _powers(points, threshold + wrong)
    with_word = MUL[word[:, None], powers[:, : wrong + 1]]
    solution = _solve(np.concatenate([powers, with_word[:, :wrong]], axis=1), with_word[:, wrong])
    return None if solution is None else np.concatenate([solution[threshold + wrong :], [1]]).astype(np.uint8)


def _powers(points: NDArray[np.int64], count: int) -> Bytes:
    """`points` to the powers 0 to count - 1, `(n, count)`."""
    powers: Bytes = EXP[np.outer(LOG[points], np.arange(count)) % 255]
    return powers


def _at(coefficients: Bytes, points: NDArray[np.int64]) -> Bytes:
    values: Bytes = np.bitwise_xor.reduce(MUL[coefficients[None, :], _powers(points, len(coefficients))], axis=1)
    return values


def _solve(matrix: Bytes, right: Bytes) -> Bytes | None:
    """A solution over GF(2^8) by Gauss and Jordan, free unknowns zero; None where there is none."""
    rows = np.concatenate([matrix, right[:, None]], axis=1)
    pivots: list[int] = []
    for column in range(matrix.shape[1]):
        below = np.flatnonzero(rows[len(pivots) :, column])
        if below.size == 0:
            continue
        row = len(pivots)
        rows[[row, row + below[0]]] = rows[[row + below[0], row]]
        rows[row] = MUL[EXP[-LOG[rows[row, column]] % 255], rows[row]]
        factors = rows[:, column].copy()
        factors[row] = 0
        rows ^= MUL[factors[:, None], rows[row][None, :]]
        pivots.append(column)
        if len(pivots) == len(rows):
            break
    if rows[len(pivots) :, -1].any():
        return None
    solution = np.zeros(matrix.shape[1], np.uint8)
    solution[pivots] = rows[: len(pivots), -1]
    return solution
