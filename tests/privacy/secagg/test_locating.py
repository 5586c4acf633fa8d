from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.secagg import shamir
from fedmed.privacy.secagg.locating import suspects

SECRET = bytes(range(16))


def dealt(count: int, threshold: int, seed: int = 0) -> dict[int, bytes]:
    shares = shamir.split(np.frombuffer(SECRET, np.uint8), count, threshold, random.Random(seed).randbytes)
    return {point: shares[point - 1].tobytes() for point in range(1, count + 1)}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_wrong_share_is_suspected_and_enough_others_are_not(data):
    count = data.draw(st.integers(3, 60))
    threshold = data.draw(st.integers(1, count - 2))
    most = (count - threshold) // 2
    wrong = set(data.draw(st.lists(st.integers(1, count), unique=True, max_size=most)))
    shares, noise = dealt(count, threshold), random.Random(data.draw(st.integers(0, 2**32)))
    for point in wrong:
        shares[point] = bytes(byte ^ (1 + noise.randrange(255)) for byte in shares[point])
    # a wrong share hides from one decoding with a chance of 1/256; of eight, one shows them all but for once in 10^7
    found = [set(suspects(shares, threshold, attempt)) for attempt in range(8)]
    assert any(wrong <= each for each in found)
    assert all(len(each) <= most for each in found)


def test_more_wrong_shares_than_can_be_found_suspect_nobody_or_too_few():
    shares = dealt(10, 6) | {point: bytes([point]) * 16 for point in (1, 2, 3)}
    assert len(suspects(shares, 6, 0)) <= 2


def test_errors_that_hide_in_one_byte_do_not_hide():
    """Wrong in a single byte each, in different ones: the weights bring them together."""
    shares = dealt(12, 6)
    for point, place in ((2, 0), (5, 7), (9, 15)):
        changed = bytearray(shares[point])
        changed[place] ^= 1
        shares[point] = bytes(changed)
    assert any({2, 5, 9} <= set(suspects(shares, 6, attempt)) for attempt in range(8))
