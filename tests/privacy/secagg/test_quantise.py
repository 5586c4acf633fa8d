from __future__ import annotations

import sys
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedmed.errors import QuorumError, UpdateRefused
from fedmed.privacy.secagg import rounding, rounding_compiled
from fedmed.privacy.secagg.dither import BLOCK, blocks
from fedmed.privacy.secagg.quantise import Scale, centred, dequantise, error_bound, error_std, quantise

SEED = bytes(range(24))
DTYPE = {16: np.uint16, 32: np.uint32}


def lanes(values, weight, scale, seed=SEED, **more):
    out = np.empty(sum(value.size for value in values), DTYPE[scale.bits])
    quantise(values, weight, scale, seed, out, **more)
    return out


@st.composite
def rosters(draw):
    """A scale, and for each clinic in the sum its weight, its values and its seed."""
    bits = draw(st.sampled_from([16, 32]))
    clients = draw(st.integers(1, 40))
    most_weight = draw(st.sampled_from([1, 7, 65535, 1 << 32]))
    scale = Scale(bits, clients, draw(st.sampled_from([1e-6, 0.03, 0.1, 1.0, 77.7])), most_weight)
    size = draw(st.integers(1, 6))
    value = st.sampled_from([-1.0, 1.0, 0.0]) | st.floats(-1, 1)
    taking_part = []
    for _ in range(draw(st.integers(1, clients))):
        unit = draw(hnp.arrays(np.float64, size, elements=value))
        dtype = draw(st.sampled_from([np.float32, np.float64]))
        values = np.clip((unit * scale.bound).astype(dtype), -scale.limit, scale.limit)
        taking_part.append((draw(st.integers(1, most_weight)), values, draw(st.binary(min_size=24, max_size=24))))
    return scale, taking_part


@given(rosters())
@settings(max_examples=200, deadline=None)
def test_sums_are_exact_and_means_within_the_stated_bound(roster):
    scale, taking_part = roster
    sent = [lanes([values], weight, scale, seed) for weight, values, seed in taking_part]
    total = sum(sent[1:], sent[0].copy())
    whole = [sum(int(centred(each)[i]) for each in sent) for i in range(len(total))]
    assert centred(total).tolist() == whole  # what the lanes sum up to modulo 2^bits is the sum itself

    weight = sum(weight for weight, _, _ in taking_part)
    mean, bound = dequantise(total, scale, weight), error_bound(scale, len(sent), weight)
    for i, number in enumerate(whole):
        exact = sum(Fraction(float(values[i])) * weight for weight, values, _ in taking_part) / weight
        before = Fraction(scale.most_weight * number, int(scale.factor) * weight)
        assert abs(before - exact) < bound
        assert abs(Fraction(float(mean[i])) - before) <= abs(before) * Fraction(1, 2**24) + Fraction(1, 2**149)


def test_the_error_is_no_wider_than_stated_and_centred():
    random = np.random.default_rng(2)
    scale, weights = Scale(16, 8, 1.0, 65535), [65535, 40000, 1, 77, 65535, 3]
    values = random.uniform(-1, 1, (len(weights), 200_000))
    total = sum(lanes([each], weight, scale, random.bytes(24)) for each, weight in zip(values, weights, strict=True))
    error = dequantise(total, scale, sum(weights)) - np.average(values, axis=0, weights=weights)
    stated = error_std(scale, len(weights), sum(weights))
    assert error.std() < stated
    assert error.std() > 0.6 * stated  # it is not far too careful either
    assert abs(error.mean()) < 6 * stated / np.sqrt(error.size)


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 2**32))
def test_tensors_are_one_vector_however_they_are_cut(sizes, seed):
    flat = np.random.default_rng(seed).uniform(-1, 1, sum(sizes)).astype(np.float32)
    scale = Scale(32, 3, 1.0, 10)
    parts = np.split(flat, np.cumsum(sizes)[:-1]) if sizes else []
    assert lanes(parts, 3, scale).tobytes() == lanes([flat], 3, scale).tobytes()


def test_each_value_takes_its_own_number_of_the_stream_across_blocks_and_tensors():
    scale, sizes = Scale(32, 3, 1.0, 1), (5, BLOCK - 3, 2 * BLOCK, 1)
    x = np.random.default_rng(1).uniform(-1, 1, sum(sizes)).astype(np.float32)
    stream = blocks(SEED)
    numbers = np.concatenate([next(stream).copy() for _ in range(4)])[: len(x)]
    wanted = np.floor(x.astype(np.float64) * scale.factor + (numbers + 0.5) / 2**16).astype(np.int64)
    found = lanes(np.split(x, np.cumsum(sizes)[:-1]), 1, scale)
    assert (centred(found) == wanted).all()


def test_other_memory_layouts_are_read_in_c_order():
    x = np.random.default_rng(1).uniform(-1, 1, (70, 3, 800)).astype(np.float32)
    scale = Scale(32, 3, 1.0, 1)
    wanted = lanes([x], 1, scale).tobytes()
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=2)[:, :, ::2], x[:, ::-1].copy()[:, ::-1], x.astype(">f4")):
        assert lanes([other], 1, scale).tobytes() == wanted


def test_half_precision_and_tensors_without_sides():
    scale = Scale(16, 3, 1.0, 1)
    half = np.array([1, -0.5, 2**-14], np.float16)
    assert lanes([half, np.array(0.25)], 1, scale).tobytes() == lanes([np.append(half, 0.25)], 1, scale).tobytes()


@pytest.mark.parametrize("bits", [16, 32])
def test_with_and_without_numba_a_long_vector_is_the_same(bits, monkeypatch):
    x = np.random.default_rng(1).uniform(-1, 1, rounding.COMPILED_FROM + 777).astype(np.float32)
    scale = Scale(bits, 10, 1.0, 65535)
    assert rounding.rounder(len(x)) is rounding_compiled.rounded
    compiled = lanes([x], 12345, scale)
    with monkeypatch.context() as hidden:
        hidden.setitem(sys.modules, "fedmed.privacy.secagg.rounding_compiled", None)
        hidden.delattr("fedmed.privacy.secagg.rounding_compiled")
        rounding._compiled.cache_clear()
        assert rounding.rounder(len(x)) is rounding.rounded
        plain = lanes([x], 12345, scale)
    rounding._compiled.cache_clear()
    assert compiled.tobytes() == plain.tobytes()


def test_the_vector_is_never_held_as_real_numbers():
    x, scale = np.full(4_000_000, 0.5, np.float32), Scale(32, 3, 1.0, 1)
    for tensor in (x, x.reshape(1000, 4000).T):
        out = np.empty(x.size, np.uint32)
        quantise([tensor[:9]], 1, scale, SEED, out[: tensor[:9].size])  # what is loaded once
        tracemalloc.start()
        try:
            quantise([tensor], 1, scale, SEED, out)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3e6  # bytes; the vector takes 16 million


@pytest.mark.parametrize("size", [10, rounding.COMPILED_FROM])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.0000001, -3e38])
def test_one_bad_value_refuses_all_and_is_found(bad, size):
    x = np.zeros(size, np.float32)
    x[size - 2] = bad
    kinds = "0 not finite, 1 beyond ±1" if np.isfinite(bad) else "1 not finite, 0 beyond ±1"
    with pytest.raises(UpdateRefused, match=f"tensor 'b': {kinds}, the first at {size - 2}; clip it"):
        lanes([np.ones(3, np.float32), x], 1, Scale(32, 3, 1.0, 1), names=["a", "b"])


def test_a_refusal_counts_every_bad_value():
    x = np.zeros((5, 2 * BLOCK), np.float32)
    x[:4, 7] = np.nan
    x[:4, BLOCK + 9 :] = 2
    with pytest.raises(
        UpdateRefused, match=f"tensor 0: 1 not finite, {BLOCK - 9} beyond ±1, .* 7; .*tensor 2: .* and 1 more"
    ):
        lanes(list(x), 1, Scale(32, 3, 1.0, 1))


def test_a_value_beyond_the_range_of_float32_is_refused_as_too_large():
    with pytest.raises(UpdateRefused, match="0 not finite, 1 beyond"):
        lanes([np.array([1e300])], 1, Scale(32, 3, 1.0, 1))


@pytest.mark.parametrize("weight", [-1, 11])
def test_weights_out_of_range_are_refused(weight):
    with pytest.raises(UpdateRefused, match=f"weight {weight}; allowed is 0 to 10"):
        lanes([np.ones(3)], weight, Scale(32, 3, 1.0, 10))


def test_without_weight_a_clinic_adds_nothing():
    assert not lanes([np.ones(30, np.float32), -np.ones(30)], 0, Scale(32, 3, 1.0, 10)).any()


def test_whole_numbers_as_a_tensor_are_refused():
    with pytest.raises(UpdateRefused, match="tensor 'batches' holds int64; only floating point"):
        lanes([np.array([3])], 1, Scale(32, 3, 1.0, 1), names=["batches"])


@pytest.mark.parametrize(
    "out", [np.empty(3, np.uint16), np.empty(2, np.uint32), np.empty((3, 1), np.uint32), np.empty(3, "i4")]
)
def test_a_target_that_does_not_fit_is_an_error(out):
    with pytest.raises(ValueError, match="do not fit"):
        quantise([np.ones(3)], 1, Scale(32, 3, 1.0, 1), SEED, out)


def test_a_mean_needs_weight_and_lanes_as_agreed():
    scale = Scale(32, 3, 1.0, 10)
    with pytest.raises(QuorumError, match="sum up to 0"):
        dequantise(np.zeros(3, np.uint32), scale, 0)
    with pytest.raises(ValueError, match="weights that sum up to 31"):
        dequantise(np.zeros(3, np.uint32), scale, 31)
    with pytest.raises(ValueError, match="uint16 lanes where 32 bits"):
        dequantise(np.zeros(3, np.uint16), scale, 3)
