from __future__ import annotations

import hashlib
import hmac

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.schedule import rounding_seed

SECRET, GIVEN = bytes(range(32)), b"\2" + bytes(range(100, 132))


def test_the_seed_of_rounding_is_by_the_definition_of_hkdf():
    key = hmac.digest(bytes(32), SECRET, "sha256")  # RFC 5869: an absent salt is zeros
    expected = hmac.digest(key, b"fedmed/sa/v1/rounding" + GIVEN + b"\1", "sha256")[:24]
    assert rounding_seed(SECRET, GIVEN) == expected


@given(
    st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.binary(min_size=33, max_size=33)), min_size=2, unique=True)
)
def test_each_clinic_purpose_and_given_thing_has_a_seed_of_its_own(cases):
    seeds = [rounding_seed(secret, what) for secret, what in cases]
    assert seeds == [rounding_seed(secret, what) for secret, what in cases]
    assert len(set(seeds)) == len(cases)
    assert {len(seed) for seed in seeds} == {24}


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32]))
def test_what_is_asked_again_is_rounded_as_before_and_differently_at_another_clinic(number, bits):
    layout = Layout((Tensor("w", (500,)),), (), bits, 3, 1.0, 10)
    update = {"w": np.random.default_rng(number).normal(0, 0.1, 500).clip(-1, 1).astype(np.float32)}

    def lanes(secret: bytes) -> bytes:
        what = b"\2" + hashlib.sha256(b"%d" % number).digest()
        return layout.write(update, 7, {}, rounding_seed(secret, what)).tobytes()

    assert lanes(SECRET) == lanes(SECRET)
    assert lanes(SECRET) != lanes(bytes(32))
