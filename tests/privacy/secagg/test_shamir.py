from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.secagg import shamir


def secret_of(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def times(a: int, b: int) -> int:
    """Multiplication in GF(2^8) mod x^8+x^4+x^3+x^2+1, bit by bit."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def test_a_share_is_the_polynomials_value():
    """The coefficients are the entropy's, highest first, the secret last."""
    shares = shamir.split(secret_of(b"\x53"), 5, 3, lambda size: bytes([7, 200])[:size])
    for point in range(1, 6):
        assert shares[point - 1, 0] == times(7, times(point, point)) ^ times(200, point) ^ 0x53


@settings(max_examples=60)
@given(data=st.data())
def test_any_threshold_of_shares_gives_the_secret(data):
    holders = data.draw(st.integers(1, 255))
    threshold = data.draw(st.integers(1, min(holders, 40)))
    secret = data.draw(st.binary(min_size=1, max_size=64))
    shares = shamir.split(secret_of(secret), holders, threshold, random.Random(data.draw(st.integers())).randbytes)
    points = data.draw(st.permutations(range(1, holders + 1)))[:threshold]
    assert shamir.combine(points, shares[[point - 1 for point in points]]).tobytes() == secret


def test_fewer_shares_tell_nothing():
    """Threshold 3: over all coefficients, two shares of any secret are every pair of bytes equally often."""
    points = np.arange(256, dtype=np.uint8)
    first, second = np.meshgrid(points, points)
    entropy = np.stack([first.ravel(), second.ravel()]).tobytes()
    seen = []
    for secret in (0, 0x53):
        shares = shamir.split(np.full(65_536, secret, np.uint8), 5, 3, lambda size: entropy[:size])
        for one, other in combinations(range(5), 2):
            counts = Counter(zip(shares[one].tolist(), shares[other].tolist(), strict=True))
            assert len(counts) == 65_536
            seen.append(set(counts.values()))
    assert seen == [{1}] * 20


@pytest.mark.parametrize(("holders", "threshold"), [(3, 0), (3, 4), (256, 2), (0, 0)])
def test_impossible_numbers_are_refused(holders, threshold):
    with pytest.raises(ValueError, match="allowed: 1 to holders, 255 holders at most"):
        shamir.split(secret_of(b"s"), holders, threshold, random.Random(1).randbytes)


@pytest.mark.parametrize("points", [(1, 1), (0, 1), (1, 256), (1,), (1, 2, 3)])
def test_impossible_points_are_refused(points):
    with pytest.raises(ValueError, match="allowed: different ones from 1 to 255"):
        shamir.combine(points, np.zeros((2, 4), np.uint8))
