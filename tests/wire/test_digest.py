from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.wire.digest import digest_of

MODEL = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(4, np.int64)}


def test_it_is_of_32_bytes_and_of_values_not_of_memory():
    first = digest_of("text", MODEL)
    assert len(first) == 32
    assert digest_of("text", {name: value.copy() for name, value in MODEL.items()}) == first
    assert digest_of("text", {**MODEL, "w": np.asfortranarray(MODEL["w"])}) == first
    assert digest_of("text", {**MODEL, "w": MODEL["w"].astype(">f4")}) == first


@pytest.mark.parametrize(
    "other",
    [
        {**MODEL, "w": MODEL["w"] + 1e-7 * np.eye(2, 3, dtype=np.float32)},
        {**MODEL, "w": MODEL["w"].reshape(3, 2)},
        {**MODEL, "w": MODEL["w"].view(np.int32)},
        {"v": MODEL["w"], "n": MODEL["n"]},
        {"n": MODEL["n"], "w": MODEL["w"]},
        {"w": MODEL["w"]},
        {**MODEL, "n": MODEL["n"].reshape(1)},
    ],
    ids=["value", "shape", "dtype", "name", "order", "fewer", "axis"],
)
def test_whatever_differs_shows(other):
    assert digest_of("text", other) != digest_of("text", MODEL)


@given(st.text(max_size=20), st.text(max_size=20))
def test_texts_that_differ_show(one, other):
    assert (digest_of(one, MODEL) == digest_of(other, MODEL)) == (one == other)


def test_half_a_surrogate_pair_is_digested_too():
    assert digest_of("\udcff", {}) != digest_of("\udcfe", {})
