from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedmed.federation.mean import BLOCK, WeightedMean

floats = st.floats(-1e6, 1e6, width=32)
weights = st.integers(1, 100_000).map(float) | st.floats(0.001, 1000)


def mean_of(updates, weights, lanes=None):
    mean = WeightedMean(updates[0])
    for update, weight, lane in zip(updates, weights, lanes or [0] * len(updates), strict=True):
        mean.add(lane, update, weight)
    return mean.result()


@given(st.data(), st.integers(1, 6), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
def test_it_is_the_weighted_average(data, count, shape):
    updates = [{"w": data.draw(hnp.arrays(np.float32, shape, elements=floats))} for _ in range(count)]
    given_weights = [data.draw(weights) for _ in range(count)]
    lanes = [data.draw(st.integers(0, 3)) for _ in range(count)]
    found = mean_of(updates, given_weights, lanes)["w"]
    wanted = np.average([update["w"].astype(np.float64) for update in updates], axis=0, weights=given_weights)
    assert (found.dtype, found.shape) == (np.float32, shape)
    largest = max((np.abs(update["w"]).max(initial=0) for update in updates), default=0)
    # a product below float32's smallest number loses what the weights' sum then makes large again
    denormal = count * float(np.finfo(np.float32).smallest_subnormal) / sum(given_weights)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * count * largest + denormal)


@given(st.integers(1, 8), st.integers(1, 300))
def test_equal_updates_average_to_themselves(count, weight):
    value = np.linspace(-2, 2, 7, dtype=np.float32)
    found = mean_of([{"w": value}] * count, [float(weight)] * count)["w"]
    np.testing.assert_allclose(found, value, rtol=3e-7)


@given(st.lists(st.tuples(st.integers(0, 3), weights), min_size=1, max_size=10), st.randoms())
def test_the_timing_of_lanes_does_not_change_one_bit(plan, random):
    rng = np.random.default_rng(0)
    updates = [{"w": rng.normal(size=33).astype(np.float32) * 10.0 ** rng.integers(-6, 6)} for _ in plan]
    queues = {lane: [i for i, (own, _) in enumerate(plan) if own == lane] for lane, _ in plan}
    order = []
    while queues:  # any interleaving that keeps each lane's own order
        lane = random.choice(sorted(queues))
        order.append(queues[lane].pop(0))
        if not queues[lane]:
            del queues[lane]
    in_turn, raced = WeightedMean(updates[0]), WeightedMean(updates[0])
    for mean, sequence in ((in_turn, range(len(plan))), (raced, order)):
        for i in sequence:
            mean.add(plan[i][0], updates[i], plan[i][1])
    assert in_turn.result()["w"].tobytes() == raced.result()["w"].tobytes()


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int8"])
def test_integers_keep_their_type_and_are_rounded(dtype):
    updates = [{"seen": np.array(value, dtype)} for value in ([1, 4], [2, 4])]
    found = mean_of(updates, [1.0, 3.0])["seen"]
    assert found.dtype == dtype
    assert found.tolist() == [2, 4]  # 1.75 is nearer to 2


def test_negative_integers_are_rounded_too_and_not_cut():
    assert mean_of([{"n": np.array([-2])}, {"n": np.array([-1])}], [3.0, 1.0])["n"].tolist() == [-2]


def test_large_integers_do_not_pass_through_float32():
    assert mean_of([{"n": np.array([16_777_217])}] * 2, [1.0, 1.0])["n"].tolist() == [16_777_217]


def test_booleans_go_with_the_majority():
    updates = [{"mask": np.array(value)} for value in ([True, False], [True, True], [False, False])]
    found = mean_of(updates, [1.0, 1.0, 1.0])["mask"]
    assert (found.dtype, found.tolist()) == (np.bool_, [True, False])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_keep_their_type_and_are_summed_in_double(dtype):
    updates = [{"w": np.array([60_000], dtype)}] * 4  # four of them are more than float16 holds
    found = mean_of(updates, [1.0] * 4)["w"]
    assert (found.dtype, found.tolist()) == (np.dtype(dtype), [np.dtype(dtype).type(60_000)])


def test_a_tensor_of_several_blocks_is_summed_to_its_end():
    size = 2 * BLOCK + 17
    updates = [{"w": np.arange(size, dtype=np.float32)}, {"w": np.ones(size, np.float32)}]
    np.testing.assert_allclose(mean_of(updates, [1.0, 1.0])["w"], (np.arange(size) + 1) / 2)


def test_updates_may_lie_in_memory_in_any_order():
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    mean = WeightedMean({"w": value})
    mean.add(0, {"w": np.asfortranarray(value)}, 1.0)
    mean.add(0, {"w": value[:, ::-1]}, 1.0)
    assert mean.result()["w"].tolist() == ((value + value[:, ::-1]) / 2).tolist()


def test_an_update_is_neither_kept_nor_changed():
    like = {"w": np.zeros(3, np.float32)}
    borrowed = np.array([1, 2, 3], np.float32)
    mean = WeightedMean(like)
    mean.add(0, {"w": borrowed}, 2.0)
    assert borrowed.tolist() == [1, 2, 3]
    borrowed[:] = 99  # its memory is used for the next message
    assert mean.result()["w"].tolist() == [1, 2, 3]
    assert like["w"].tolist() == [0, 0, 0]


def test_nothing_added_is_an_error():
    with pytest.raises(ValueError, match="no update"):
        WeightedMean({"w": np.zeros(2, np.float32)}).result()


def peak_of(updates: int) -> int:
    update = {"w": np.ones(250_000, np.float32)}
    tracemalloc.start()
    try:
        mean = WeightedMean(update)
        for _ in range(updates):
            mean.add(0, update, 3.0)
        mean.result()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_sites():
    few, many = peak_of(2), peak_of(100)
    assert many < few + 20_000
    assert many < 2.2e6  # one megabyte of sums, one of room to work
