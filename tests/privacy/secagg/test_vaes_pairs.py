"""A keystream made once for two vectors leaves them as they are when each is masked by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.keystream import SEGMENT_BYTES
from fedmed.privacy.secagg import masks
from fedmed.privacy.secagg.masks import Stream
from tests.privacy.secagg.federation import random_lanes

seeds = st.integers(0, 7).map(lambda number: bytes([number]) * 24)  # few, so that vectors share them in every way
streams = st.lists(st.builds(Stream, seeds, st.sampled_from([1, -1])), max_size=7)


def masked_alone(vectors: list[np.ndarray], some: list[list[Stream]]) -> list[np.ndarray]:
    found = [each.copy() for each in vectors]
    for lanes, own in zip(found, some, strict=True):
        masks._add(own, "ctr", lanes, 0)
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(streams, max_size=6), st.integers(0, 700), st.sampled_from([np.uint16, np.uint32]))
def test_masks_are_those_of_each_vector_alone(some, size, dtype):
    vectors = [random_lanes(number, size, dtype) for number in range(len(some))]
    expected = masked_alone(vectors, some)
    masks.apply_all(vectors, some)
    assert all(map(np.array_equal, vectors, expected))


def test_vectors_over_the_border_of_segments():
    shared, size = bytes(range(24)), SEGMENT_BYTES // 4 + 1003
    some = [[Stream(shared, -1)], [Stream(shared, 1), Stream(b"o" * 24, 1)]]
    vectors = [random_lanes(number, size) for number in range(2)]
    expected = [each.copy() for each in vectors]
    for lanes, own in zip(expected, some, strict=True):
        masks.apply(lanes, own, 1)
    masks.apply_all(vectors, some)
    assert all(map(np.array_equal, vectors, expected))
    assert np.array_equal(vectors[0] + vectors[1] - random_lanes(0, size) - random_lanes(1, size), only(b"o" * 24, size))


def only(seed: bytes, size: int) -> np.ndarray:
    return masks.expand(size, np.uint32, [Stream(seed, 1)])


@pytest.mark.parametrize("wish", ["ctr", "gcm"])
def test_where_the_librarys_cipher_is_wished_it_serves(monkeypatch, wish):
    some = [[Stream(b"s" * 24, 1)], [Stream(b"s" * 24, -1)]]
    vectors = [random_lanes(number, 300) for number in range(2)]
    expected = masked_alone(vectors, some)
    monkeypatch.setenv("FEDMED_KEYSTREAM", wish)
    monkeypatch.setattr(masks, "_vector_adder", lambda: pytest.fail("asked for"))
    masks.apply_all(vectors, some)
    assert all(map(np.array_equal, vectors, expected))


def test_vectors_of_different_lengths_or_scattered_ones_are_masked_one_by_one():
    some = [[Stream(b"s" * 24, 1)], [Stream(b"s" * 24, -1)]]
    for vectors in ([random_lanes(1, 300), random_lanes(2, 301)], [random_lanes(3, 300)[::2] for _ in range(2)]):
        expected = masked_alone(vectors, some)
        masks.apply_all(vectors, some)
        assert all(map(np.array_equal, vectors, expected))


def test_seeds_of_another_length_are_refused():
    with pytest.raises(ValueError, match="a seed has 24 bytes"):
        masks.apply_all([random_lanes(1, 8)] * 2, [[Stream(b"s" * 23, 1)], []])


def test_as_many_lists_of_streams_as_vectors():
    with pytest.raises(ValueError, match="zip"):
        masks.apply_all([random_lanes(1, 8)], [])
