from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.privacy.secagg import shamir
from fedmed.privacy.secagg.recovery import Dealt, recover

SECRET = b"sixteen bytes ok"


def dealt(holders: int, threshold: int, seed: int = 0) -> dict[int, bytes]:
    shares = shamir.split(np.frombuffer(SECRET, np.uint8), holders, threshold, random.Random(seed).randbytes)
    return {point: shares[point - 1].tobytes() for point in range(1, holders + 1)}


def is_it(secret: bytes) -> bool:
    return secret == SECRET


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_wrong_shares_are_found_and_named(data):
    holders = data.draw(st.integers(3, 12))
    threshold = data.draw(st.integers(1, holders - 2))
    wrong = set(data.draw(st.lists(st.integers(1, holders), unique=True, max_size=min(2, holders - threshold))))
    shares = dealt(holders, threshold)
    noise = random.Random(5)
    shares |= {point: noise.randbytes(16) for point in wrong}
    secret, named = recover(Dealt(9, shares), threshold, is_it, 0)
    assert secret == SECRET
    # one that is not among the first shares is not needed, and not looked at unless something is wrong
    assert set(named) == (wrong if wrong & set(range(1, threshold + 1)) else set())


def test_too_few_shares():
    shares = dealt(5, 4)
    del shares[1], shares[2]
    with pytest.raises(ProtocolRefused, match="3 shares of member 9, 4 are needed"):
        recover(Dealt(9, shares), 4, is_it, 1)


def test_a_dealer_that_dealt_another_secret_is_named():
    with pytest.raises(ProtocolRefused, match="shares of member 9 do not open what it committed to"):
        recover(Dealt(9, dealt(5, 3)), 3, lambda secret: False, 1)


def test_two_that_lie_together_get_no_honest_one_accused():
    """Their errors cancel in the secret of the points 1, 2, 4, 5, 6, on a polynomial that the honest shares lie beside."""
    shares, chosen = dealt(8, 5), (1, 2, 4, 5, 6)
    unit = np.zeros((5, 1), np.uint8)
    weights = []
    for place in (0, 1):
        unit[:], unit[place] = 0, 1
        weights.append(int(shamir.combine(chosen, unit)[0]))
    for point, error in ((1, weights[1]), (2, weights[0])):
        shares[point] = bytes(byte ^ error for byte in shares[point])
    assert recover(Dealt(9, shares), 5, is_it, 2) == (SECRET, ())
    assert recover(Dealt(9, shares), 5, is_it, 0) != (SECRET, ())  # the attack itself, where nobody is reckoned with
