from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedmed.errors import ConfigError, UpdateRefused
from fedmed.privacy.dp.accountant import Release, epsilon
from fedmed.privacy.dp.gaussian import noise
from fedmed.privacy.dp.mechanisms import (
    BETA,
    CLINIC,
    RECORD_DISTRIBUTED,
    RECORD_LOCAL,
    Mechanism,
    Opened,
    clip_l2,
    histogram_sensitivity,
    largest_scale,
)

UPDATE = Opened("update", 1.5, 1000, 4.0, 0.1)
COUNTS = Opened("histogram", 3.0, 64, 2.0, whole=True)


def values(kind, width):
    return hnp.arrays(kind, hnp.array_shapes(max_dims=2, max_side=20), elements=st.floats(-1e6, 1e6, width=width))


@given(
    st.lists(st.one_of(values(np.float32, 32), values(np.float64, 64)), min_size=1, max_size=4),
    st.sampled_from([1e-3, 0.5, 1.0, 77.7, 1e9]),
)
@settings(max_examples=150, deadline=None)
def test_a_clipped_update_has_at_most_the_bounds_norm_and_its_direction(tensors, bound):
    named = {f"layer {at}": tensor for at, tensor in enumerate(tensors)}
    whole = np.concatenate([tensor.reshape(-1).astype(np.float64) for tensor in tensors])
    clipped, norm, was = clip_l2(named, bound)
    assert norm == pytest.approx(np.linalg.norm(whole))
    assert was == (norm > bound)
    flat = np.concatenate([clipped[name].reshape(-1).astype(np.float64) for name in named])
    assert [clipped[name].dtype for name in named] == [tensor.dtype for tensor in tensors]
    if not was:
        assert (flat == whole).all()
        return
    assert bound * (1 - 1e-5) <= np.linalg.norm(flat) <= bound
    np.testing.assert_allclose(flat, whole * bound / norm, rtol=1e-5, atol=1e-6 * bound)


def test_a_long_tensor_is_clipped_as_one():
    tensor = np.ones(3 * 2**20 + 7, np.float32)
    clipped, norm, was = clip_l2({"weight": tensor}, 2.0)
    assert norm == pytest.approx(len(tensor) ** 0.5, rel=1e-12)
    assert was
    assert np.linalg.norm(clipped["weight"].astype(np.float64)) == pytest.approx(2.0, rel=1e-6)
    assert (tensor == 1).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_has_no_norm_is_refused(value):
    with pytest.raises(UpdateRefused, match="not finite"):
        clip_l2({"weight": np.array([1, value], np.float32)}, 1.0)
    with pytest.raises(UpdateRefused, match="'steps' is int64; only floats"):
        clip_l2({"steps": np.arange(3)}, 1.0)
    with pytest.raises(ConfigError, match="above 0 and finite"):
        clip_l2({}, value)


@pytest.mark.parametrize("mode", [RECORD_DISTRIBUTED, CLINIC])
def test_the_shares_of_the_honest_make_the_noise_that_is_accounted_for(mode):
    made = Mechanism(mode, 5, (UPDATE,))
    scale = 1e6
    reach, share = made.sensitivity("update", scale), made.share("update", scale)
    assert 1.5 * scale < reach < 1.5 * scale * 1.0001
    assert 5 * share**2 == pytest.approx((4.0 * reach) ** 2 + 4)
    opened = sum(noise(50_000, share, bytes([clinic]) * 24) for clinic in range(5)) / scale
    assert opened.std() == pytest.approx(4.0 * 1.5, rel=0.02)


def test_on_a_coarse_lattice_rounding_adds_to_the_noise_or_the_lattice_is_refused():
    made = Mechanism(RECORD_DISTRIBUTED, 4, (UPDATE,))
    assert made.sensitivity("update", 20.0) / 20 > 1.7
    with pytest.raises(ConfigError, match="finer lattice"):
        Mechanism(RECORD_DISTRIBUTED, 4, (Opened("update", 1.5, 10, 0.01),)).share("update", 20.0)
    with pytest.raises(ConfigError, match="0 honest clinics"):
        Mechanism(RECORD_DISTRIBUTED, 0, (UPDATE,)).share("update", 1e6)


def test_local_noise_is_in_the_update_already_and_counts_get_their_own():
    made = Mechanism(RECORD_LOCAL, 3, (Opened("update", 1.0, 1000, 1.1, 0.01, count=50), COUNTS))
    assert made.share("update", 1e6) == 0
    assert 3 * made.share("histogram", 100) ** 2 == pytest.approx((2.0 * 3.0 * 100) ** 2 + 4)
    assert made.releases() == (
        Release("update", "gaussian", 1.1, 0.01, 50),
        Release("histogram", "discrete gaussian", 2.0),
    )


def test_what_is_not_listed_is_not_sent():
    made = Mechanism(RECORD_DISTRIBUTED, 3, (UPDATE,))
    assert made.share("loss", 1e6) is None
    assert made.sensitivity("loss", 1e6) is None
    assert [release.what for release in made.releases()] == ["update"]


def test_every_opened_number_is_charged():
    made = Mechanism(RECORD_DISTRIBUTED, 3, (UPDATE, COUNTS))
    update, counts = made.releases()
    assert update == Release("update", "discrete gaussian", 4.0, 0.1, 1, BETA)
    assert counts == Release("histogram", "discrete gaussian", 2.0)
    assert epsilon(made.releases(), 1e-5) > epsilon([counts], 1e-5)


def test_a_patient_changes_a_clinics_update_by_two_clips_and_a_clinic_by_one():
    made = Mechanism(CLINIC, 3, (Opened("update", 1.0, 10, 8.0),))
    assert [release.noise_multiplier for release in made.releases("clinic")] == [8.0]
    assert [release.noise_multiplier for release in made.releases("patient")] == [4.0]
    assert [release.noise_multiplier for release in made.releases("record")] == [4.0]


def test_all_that_is_wrong_with_a_mechanism_is_said_at_once():
    with pytest.raises(ConfigError, match=r"mode 'central'.*one name.*histogram: sensitivity 0"):
        Mechanism("central", 3, (UPDATE, UPDATE, Opened("histogram", 0.0, 3, 1.0)))
    with pytest.raises(ConfigError, match="histogram: counts are not opened at clinic level"):
        Mechanism(CLINIC, 3, (COUNTS,))
    with pytest.raises(ConfigError, match=r"noise multiplier -0\.5"):
        Mechanism(CLINIC, 3, (Opened("update", 1.0, 10, -1.0),))
    with pytest.raises(ConfigError, match="a whole number"):
        Mechanism(RECORD_DISTRIBUTED, 3, (COUNTS,)).sensitivity("histogram", 1.5)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_no_patient_changes_counts_by_more_than_their_sensitivity(entries, records, number):
    random = np.random.default_rng(number)
    change = np.zeros(8)
    for _ in range(records):
        change[random.choice(8, entries, replace=False)] += 1
    assert np.linalg.norm(change) <= histogram_sensitivity(entries, records) + 1e-12
    same = np.zeros(8)
    same[:entries] = records
    assert np.linalg.norm(same) == pytest.approx(histogram_sensitivity(entries, records))


def test_counts_of_nothing_are_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        histogram_sensitivity(0, 3)


@pytest.mark.parametrize("bits", [16, 32])
def test_the_largest_scale_leaves_room_for_all_clinics_and_the_noise(bits):
    clinics, reach, share, dimensions = 10, 1.0, 0.4, 20_000
    scale = largest_scale(bits, clinics, reach, share, dimensions)
    noises = sum(np.abs(noise(dimensions, share * scale, bytes([clinic]) * 24)).max() for clinic in range(3))
    assert clinics * (reach * scale + 1) + noises < 2 ** (bits - 1)
    assert clinics * reach * scale * 2 > 2 ** (bits - 1) * 0.6
    assert largest_scale(bits, clinics, reach, 0.0, dimensions) == (2 ** (bits - 1) - 1 - clinics) / (clinics * reach)
    with pytest.raises(ConfigError, match="do not fit into lanes"):
        largest_scale(bits, 2**bits, reach, share, dimensions)


@pytest.mark.parametrize("bits", [16, 32])
def test_a_fitted_lattice_holds_the_sum_and_is_the_finest(bits):
    made = Mechanism(CLINIC, 8, (Opened("update", 1.0, 500, 0.8),))
    scale, share = made.fitted("update", bits, 10, 1.0)
    assert share == made.share("update", scale)
    assert largest_scale(bits, 10, 1.0, share / scale, 500) == pytest.approx(scale, rel=1e-3)
    assert scale <= largest_scale(bits, 10, 1.0, share / scale, 500)


def test_counts_are_fitted_to_whole_steps_and_unknown_numbers_refused():
    made = Mechanism(RECORD_DISTRIBUTED, 8, (COUNTS,))
    scale, share = made.fitted("histogram", 32, 10, 1e5)
    assert scale == int(scale) > 1000
    assert share == made.share("histogram", scale)
    with pytest.raises(ConfigError, match=r"loss is not sent .* \(sent: histogram\)"):
        made.fitted("loss", 32, 10, 1.0)
    with pytest.raises(ConfigError, match="does not fit into lanes of 16 bits"):
        made.fitted("histogram", 16, 10, 1e5)
