from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.privacy.secagg.rounding import rounded
from fedmed.privacy.secagg.scale import LEAST_STEPS, Scale, error_bound, error_std

bits = st.sampled_from([16, 32])
bounds = st.floats(1e-6, 1e6)


@given(bits, st.integers(1, 5000), bounds, st.integers(1, 1 << 32))
@example(16, 10, 1.0, 1)
@example(32, 2, 1.0, 65535)
@example(16, 31, 1.0, 65535)
@example(32, 100, 0.1, 65535)
def test_no_sum_of_the_largest_values_overflows_a_lane(bits, clients, bound, most_weight):
    """Every clinic at its limit with full weight, rounded away from 0 by the worst dither that there is."""
    try:
        scale = Scale(bits, clients, bound, most_weight)
    except ConfigError:
        assume(False)
    x = np.array([scale.limit, -scale.limit])
    for number in (0, 65535):
        lanes = np.empty(2, np.uint32)
        assert rounded(x, scale.multiplier(most_weight), scale.limit, np.full(2, number, np.uint16), lanes) == 0
        high, low = (int(value) for value in lanes.view(np.int32))
        most = (1 << (bits - 1)) - 1
        assert -most <= clients * low < 0 < clients * high <= most
        assert -scale.most_lane <= low < 0 < high <= scale.most_lane <= most // clients


@given(bits, st.integers(1, 500), bounds)
def test_the_factor_is_the_largest_whole_one(bits, clients, bound):
    try:
        scale = Scale(bits, clients, bound, 7)
    except ConfigError:
        assume(False)
    room, wide = (1 << (bits - 1)) - 1 - clients, clients * Fraction(scale.limit)
    assert int(scale.factor) * wide <= room < (int(scale.factor) + 1) * wide
    assert scale.factor == int(scale.factor)
    assert scale.multiplier(7) == scale.factor
    assert scale.multiplier(0) == 0


def test_figures_for_equal_full_weights():
    """Computed by hand from the formulas."""
    for bits, clients, factor, most, deviation in (
        (32, 100, 2.147e7, 4.66e-8, 2.33e-9),
        (16, 10, 3275, 3.05e-4, 4.83e-5),
        (16, 100, 326, 3.07e-3, 1.53e-4),
    ):
        scale = Scale(bits, clients, 1.0, 65535)
        assert scale.factor == pytest.approx(factor, rel=1e-3)
        assert error_bound(scale, clients, clients * 65535) == pytest.approx(most, rel=1e-2)
        assert error_std(scale, clients, clients * 65535) == pytest.approx(deviation, rel=1e-2)


@given(bounds)
def test_what_was_clipped_in_float32_is_within_the_limit(bound):
    scale = Scale(32, 3, bound, 1)
    clipped = np.clip(np.array([-np.inf, np.inf], np.float32), np.float32(-bound), np.float32(bound))
    assert np.abs(clipped.astype(np.float64)).max() <= scale.limit
    assert scale.limit >= bound


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        ((24, 3, 1.0, 1), "bits of a lane: 24; allowed is 16 or 32"),
        ((32, 0, 1.0, 1), "clinics: 0; allowed is 1 to 65536"),
        ((32, 3, 1.0, 0), "most weight: 0; allowed is 1 to"),
        ((32, 3, float("nan"), 1), "bound nan"),
        ((32, 3, -1.0, 1), "bound -1.0 of the values; allowed is 1e-06 to 1e\\+06"),
        ((24, 0, 0.0, 0), "bits.*clinics.*weight.*bound"),
        ((16, 505, 1.0, 1), f"63 steps .* {LEAST_STEPS} are needed: use 32-bit lanes or fewer clinics"),
        ((16, 40000, 1.0, 1), " 0 steps"),
        ((16, 100, 1000.0, 1), "bound 1000 is more than the 326 steps .*: lower it or use 32-bit lanes"),
    ],
)
def test_what_cannot_work_is_refused(scale, text):
    with pytest.raises(ConfigError, match=text):
        Scale(*scale)


def test_an_impossible_weight_has_no_error():
    for weight in (0, -1, 31):
        with pytest.raises(ValueError, match="3 times 10 is the most"):
            error_bound(Scale(32, 3, 1.0, 10), 3, weight)
