from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedmed.outbound import subtraction, subtraction_compiled
from fedmed.privacy.secagg.rounding import COMPILED_FROM

BOTH = [subtraction.subtract, subtraction_compiled.subtract]
floats = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize("subtract", BOTH)
@settings(deadline=None)
@given(arrays(np.float32, st.integers(0, 200), elements=floats), st.sampled_from(["f2", "f4", "f8", ">f4"]))
def test_differences_and_the_sum_of_their_squares(subtract, values, dtype):
    with np.errstate(over="ignore", invalid="ignore"):
        made = values.astype(dtype)
        given = made[::-1].copy()
        expected = made - given
    out = np.empty_like(made)
    found = subtract(made, given, out)
    assert np.array_equal(out, expected, equal_nan=True)
    assert found == pytest.approx(np.square(expected.astype(np.float64)).sum(), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("subtract", BOTH)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_seen_in_the_sum(subtract, bad):
    made = np.zeros(100_001, np.float32)
    made[77_777] = bad
    assert not math.isfinite(subtract(made, np.zeros_like(made), np.empty_like(made)))


@pytest.mark.parametrize("subtract", BOTH)
def test_models_over_a_files_bytes_are_only_read(subtract):
    made = np.frombuffer(np.arange(5, dtype=np.float32).tobytes(), np.float32)
    out = np.empty(5, np.float32)
    assert subtract(made, made, out) == 0
    assert not out.any()


def test_long_models_are_subtracted_by_machine_code():
    assert subtraction.subtracter(COMPILED_FROM) is subtraction_compiled.subtract
    assert subtraction.subtracter(COMPILED_FROM - 1) is subtraction.subtract


def test_without_numba_numpy_subtracts(monkeypatch):
    subtraction._compiled.cache_clear()
    with monkeypatch.context() as hidden:
        hidden.setitem(sys.modules, "fedmed.outbound.subtraction_compiled", None)
        hidden.delattr("fedmed.outbound.subtraction_compiled")
        assert subtraction.subtracter(COMPILED_FROM) is subtraction.subtract
    subtraction._compiled.cache_clear()
