from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedmed.privacy.secagg import rounding, rounding_compiled

BOTH = [rounding.rounded, rounding_compiled.rounded]
EVERY = np.arange(1 << 16, dtype=np.uint16)


def lanes(rounder, x, multiplier, limit, dither, dtype=np.uint32):
    out = np.full(len(x), 77, dtype)
    return rounder(x, multiplier, limit, dither[: len(x)], out), out


@st.composite
def blocks(draw):
    width = draw(st.sampled_from([16, 32, 64]))
    x = draw(hnp.arrays(f"f{width // 8}", st.integers(0, 40), elements=st.floats(width=width)))
    limit = draw(st.floats(1e-6, 1e6))
    numbers = draw(hnp.arrays(np.uint16, 40))
    return x, draw(st.floats(0, 2147483000.0 / limit)), limit, numbers


@given(blocks(), st.sampled_from([np.uint16, np.uint32]))
@settings(max_examples=300, deadline=None)  # the first calls compile
def test_both_back_ends_give_the_same_lanes(block, dtype):
    count, out = lanes(rounding.rounded, *block, dtype)
    compiled_count, compiled = lanes(rounding_compiled.rounded, *block, dtype)
    assert count == compiled_count == np.count_nonzero(~(np.abs(block[0].astype(np.float64)) <= block[2]))
    assert out.tobytes() == compiled.tobytes()


@pytest.mark.parametrize("rounder", BOTH)
def test_a_lane_changes_where_value_and_dither_reach_a_whole_number(rounder):
    reached = 3 - (EVERY + 0.5) / 65536
    for x, wanted in ((reached, 3), (np.nextafter(reached, 0), 2), (-3 - (EVERY + 0.5) / 65536, -3)):
        assert (lanes(rounder, x, 1.0, 9.0, EVERY)[1].view(np.int32) == wanted).all()


def products_just_below(target: float) -> list[tuple[float, float]]:
    """Pairs whose product is less than `target`, and `target` once rounded."""
    found = []
    for multiplier in np.random.default_rng(1).uniform(1, 2, 500).tolist():
        x = target / multiplier
        if x * multiplier == target and Fraction(x) * Fraction(multiplier) < Fraction(target):
            found.append((x, multiplier))
    return found


@pytest.mark.parametrize("rounder", BOTH)
def test_products_are_rounded_before_the_dither_is_added(rounder):
    """The rounded product and the dither lie half-way to 1 and are rounded to it; a fused multiply-add would stay below."""
    number = np.array([40000], np.uint16)
    pairs = products_just_below(1 - 40000.5 / 65536 - 2.0**-54)
    assert len(pairs) > 50
    for x, multiplier in pairs:
        assert lanes(rounder, np.array([x]), multiplier, 1.0, number)[1].tolist() == [1]


@given(st.floats(-1, 1), st.floats(0, 2.1e9))
@settings(max_examples=50, deadline=None)
def test_over_every_dither_the_mean_is_right_within_the_stated_bias(x, multiplier):
    exact = x * multiplier
    _, out = lanes(rounding.rounded, np.full(1 << 16, x), multiplier, 1.0, EVERY)
    found = out.view(np.int32).astype(np.float64)
    rounding_of_float64 = abs(exact) * 2.0**-52
    assert np.abs(found - exact).max() < 1
    assert abs((found - exact).mean()) <= 2.0**-17 + rounding_of_float64


@given(st.integers(-(2**31) + 1, 2**31 - 1))
@settings(max_examples=50, deadline=None)
def test_whole_numbers_stay_what_they_are(number):
    _, out = lanes(rounding.rounded, np.full(1 << 16, float(number)), 1.0, 2.0**31, EVERY)
    assert (out.view(np.int32) == number).all()


def test_arrays_in_files_and_of_other_byte_orders():
    x = np.linspace(-1, 1, 99, dtype=np.float32)
    kept = np.frombuffer(x.tobytes(), np.float32)
    for other in (kept, x.astype(">f4"), x.astype(np.float64)):
        for rounder in (rounding.rounded, rounding_compiled.rounded):
            assert (lanes(rounder, other, 1e6, 1.0, EVERY)[1] == lanes(rounding.rounded, x, 1e6, 1.0, EVERY)[1]).all()
    assert x.flags.writeable


@pytest.fixture
def without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "fedmed.privacy.secagg.rounding_compiled", None)
    monkeypatch.delattr("fedmed.privacy.secagg.rounding_compiled", raising=False)
    rounding._compiled.cache_clear()
    yield
    monkeypatch.undo()
    rounding._compiled.cache_clear()


def test_long_vectors_are_rounded_by_machine_code():
    assert rounding.rounder(rounding.COMPILED_FROM) is rounding_compiled.rounded
    assert rounding.rounder(rounding.COMPILED_FROM - 1) is rounding.rounded


@pytest.mark.usefixtures("without_numba")
def test_without_numba_numpy_rounds():
    assert rounding.rounder(rounding.COMPILED_FROM) is rounding.rounded
