"""The vector AES makes the bytes of the library's cipher, or is not used."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.keystream import SEGMENT_BYTES
from fedmed.privacy.secagg import masks
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.rounding import COMPILED_FROM
from tests.privacy.secagg.federation import random_lanes

vaes = pytest.importorskip("fedmed.privacy.secagg.vaes", reason="numba is not installed")
pytestmark = pytest.mark.skipif(vaes.why_not() is not None, reason=f"no vector AES: {vaes.why_not()}")
streams = st.lists(st.builds(Stream, st.binary(min_size=24, max_size=24), st.sampled_from([1, -1])), min_size=1, max_size=5)


def by_the_library(monkeypatch, lanes: np.ndarray, some: list[Stream]) -> np.ndarray:
    with monkeypatch.context() as wished:
        wished.setenv("FEDMED_KEYSTREAM", "ctr")
        masked = lanes.copy()
        masks.apply(masked, some, 1)
    return masked


@settings(max_examples=40, deadline=None)
@given(streams, st.integers(0, 1200), st.sampled_from([np.uint16, np.uint32]), st.integers(0, 2**32 - 1))
def test_its_bytes_are_the_librarys(some, size, dtype, number):
    lanes = random_lanes(size, size, dtype)
    expected, found = lanes.copy(), lanes.copy()
    masks._add(some, "ctr", expected, number)
    vaes.Adder([(each.seed, each.sign) for each in some])(found, number)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("threads", [1, 3])
def test_long_vectors_over_the_border_of_segments(monkeypatch, dtype, threads):
    some = [Stream(bytes([number]) * 24, 1 if number % 2 else -1) for number in range(3)]
    lanes = random_lanes(1, SEGMENT_BYTES + 13, dtype)
    expected = by_the_library(monkeypatch, lanes, some)
    asked: list[int] = []

    class Counted(vaes.Adder):  # type: ignore[misc, name-defined]
        def __call__(self, part: np.ndarray, number: int) -> None:
            asked.append(number)
            super().__call__(part, number)

    monkeypatch.setattr(masks, "_vector_adder", lambda: Counted)
    masks.apply(lanes, some, threads)
    assert sorted(asked) == list(range(-(-lanes.nbytes // SEGMENT_BYTES)))
    assert np.array_equal(lanes, expected)


def test_parts_that_start_anywhere():
    lanes = random_lanes(7, 4001)
    for start in (0, 1, 3, 16):
        expected, found = lanes.copy(), lanes.copy()
        masks._add([Stream(b"x" * 24, 1)], "gcm", expected[start:], 2)
        vaes.Adder([(b"x" * 24, 1)])(found[start:], 2)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("lanes", [np.zeros(COMPILED_FROM - 1, np.uint32), np.zeros(2 * COMPILED_FROM, np.uint32)[::2]])
def test_short_and_scattered_vectors_are_left_to_the_library(monkeypatch, lanes):
    monkeypatch.setattr(masks, "_vector_adder", lambda: pytest.fail("asked for"))
    expected = by_the_library(monkeypatch, lanes, [Stream(b"y" * 24, 1)])
    masks.apply(lanes, [Stream(b"y" * 24, 1)], 1)
    assert np.array_equal(lanes, expected)


@pytest.mark.parametrize("sizes", [[23], [25, 23], [0, 24, 24]])
def test_seeds_of_another_length_are_refused(sizes):
    with pytest.raises(ValueError, match="a seed has 24 bytes"):
        vaes.Adder([(bytes(size), 1) for size in sizes])


@pytest.fixture
def unprobed():
    for cached in (masks._vector_adder, vaes.why_not):
        cached.cache_clear()
    yield
    for cached in (masks._vector_adder, vaes.why_not):
        cached.cache_clear()


@pytest.mark.usefixtures("unprobed")
def test_a_processor_without_it(monkeypatch):
    monkeypatch.setattr(vaes.binding, "get_host_cpu_features", lambda: {"vaes": False, "avx512f": True})
    assert vaes.why_not() == "the processor has no vaes, avx512bw"
    assert masks._vector_adder() is None


@pytest.mark.usefixtures("unprobed")
def test_wrong_bytes_are_found_out(monkeypatch):
    monkeypatch.setattr(vaes.round_keys, "expanded", lambda keys: np.zeros((len(keys), 11, 16), np.uint8))
    assert vaes.why_not() == "its masks are wrong on this machine"


@pytest.mark.usefixtures("unprobed")
def test_without_numba_the_library_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "fedmed.privacy.secagg.vaes", None)
    monkeypatch.delattr("fedmed.privacy.secagg.vaes", raising=False)
    assert masks._vector_adder() is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=9))
def test_round_keys_are_those_of_the_tables(keys):
    octets = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
    assert np.array_equal(vaes.round_keys.expanded(octets), vaes.sliced.round_keys(octets))
