from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedmed.config.attackers import Attacker
from fedmed.learning.attacks import scaled, sign_flip

VALUES = arrays.arrays(np.float32, 5, elements=st.floats(-100, 100, width=32))


@given(VALUES, VALUES)
def test_an_attacker_with_factor_1_is_honest_to_the_last_bit(before, after):
    sent = scaled.changed({"w": before}, {"w": after}, Attacker(who="a", kind="scaled", factor=1.0))
    assert sent["w"].tobytes() == after.tobytes()


@given(VALUES, VALUES, st.floats(0.1, 100))
def test_the_change_is_so_many_times_as_large_or_its_opposite(before, after, factor):
    change = after.astype(np.float64) - before
    many = scaled.changed({"w": before}, {"w": after}, Attacker(who="a", kind="scaled", factor=factor))["w"]
    other = sign_flip.changed({"w": before}, {"w": after}, Attacker(who="a", kind="sign-flip", factor=factor))["w"]
    np.testing.assert_allclose(many, before + factor * change, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(other, before - factor * change, rtol=1e-6, atol=1e-6)
    assert many.dtype == other.dtype == np.float32


def test_the_sign_is_flipped_once_where_no_factor_is_given():
    sent = sign_flip.changed({"w": np.ones(2)}, {"w": np.full(2, 3.0)}, Attacker(who="a", kind="sign-flip"))
    assert sent["w"].tolist() == [-1.0, -1.0]


def test_counters_are_sent_as_trained_and_scalars_stay_scalars():
    given_, trained = ({"n": np.array(n), "s": np.array(float(n), np.float32)} for n in (4, 6))
    sent = scaled.changed(given_, trained, Attacker(who="a", kind="scaled", factor=10.0))
    assert (sent["n"], sent["s"], sent["s"].shape) == (6, 24.0, ())


@pytest.mark.parametrize("factor", [1e6])
def test_what_no_float_can_hold_becomes_infinite_for_the_federation_to_refuse(factor):
    sent = scaled.changed(
        {"w": np.zeros(1, np.float32)}, {"w": np.full(1, 3e38, np.float32)}, Attacker(who="a", kind="scaled", factor=factor)
    )
    assert np.isinf(sent["w"]).all()
