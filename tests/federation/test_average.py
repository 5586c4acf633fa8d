from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.federation.average import Average


def model(number: int):
    return {"w": np.array([number, number**2], np.float32), "seen": np.array(number, np.int64)}


@given(st.integers(1, 12), st.integers(1, 12))
def test_it_is_the_mean_of_the_last_models(rounds, last):
    average = Average(last, rounds)
    for number in range(1, rounds + 1):
        average.add(number, model(number))
    final = average.final(model(rounds), rounds)
    taken = [model(number) for number in range(max(1, rounds - last + 1), rounds + 1)]
    wanted = np.mean([each["w"].astype(np.float64) for each in taken], axis=0).astype(np.float32)
    assert final["w"].tolist() == wanted.tolist()
    assert (final["w"].dtype, final["seen"].dtype) == (np.float32, np.int64)
    assert final["seen"] == round(float(np.mean([each["seen"] for each in taken])))


@given(st.integers(1, 9), st.integers(1, 12))
def test_a_resumed_sum_is_the_same_to_the_last_bit(stop, last):
    through, first = Average(last, 10), Average(last, 10)
    rng = np.random.default_rng(0)
    models = [{"w": rng.normal(size=5).astype(np.float32)} for _ in range(10)]
    for number, each in enumerate(models, 1):
        through.add(number, each)
        if number <= stop:
            first.add(number, each)
    second = Average(last, 10, {name: value.copy() for name, value in first.sums.items()})
    for number, each in enumerate(models[stop:], stop + 1):
        second.add(number, each)
    assert second.final(models[-1], 10)["w"].tobytes() == through.final(models[-1], 10)["w"].tobytes()


def test_nothing_is_kept_for_one_round():
    average = Average(1, 5)
    average.add(5, model(5))
    assert average.sums == {}
    assert average.final(model(5), 5)["w"].tolist() == [5, 25]


def test_saved_sums_are_copied_not_borrowed():
    saved = {"w": np.zeros(2)}
    saved["w"].flags.writeable = False  # as read back from a commit
    average = Average(2, 2, saved)
    average.add(1, {"w": np.ones(2, np.float32)})
    assert saved["w"].tolist() == [0, 0]
    assert average.sums["w"].tolist() == [1, 1]


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_whole_numbers_are_rounded_and_not_cut(dtype):
    average = Average(3, 3)
    for number, value in enumerate((1, 2, 2), 1):
        average.add(number, {"n": np.array([value], dtype)})
    assert average.final({"n": np.array([2], dtype)}, 3)["n"].tolist() == [2]
