"""The kernel of masks: on the host without a GPU, on the card with one; always the CPU's bytes."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import MissingPart
from fedmed.privacy.keystream import SEGMENT_BYTES
from fedmed.privacy.secagg import cuda, masks, sliced
from fedmed.privacy.secagg.masks import Stream
from tests.preprocess.fused import on_host, on_nvrtc
from tests.privacy.secagg.federation import random_lanes

needs_gpu = pytest.mark.skipif(cuda.why_not() is not None, reason=f"no GPU: {cuda.why_not()}")
REGISTERS = 64
"""A ceiling: four blocks of 256 fit on a multiprocessor."""
LANES = [np.uint16, np.uint32]
seeds = st.binary(min_size=24, max_size=24)
some_streams = st.lists(st.builds(Stream, seeds, st.sampled_from([1, -1])), min_size=1, max_size=5)


@pytest.mark.parametrize("card", on_nvrtc.CARDS)
def test_it_compiles_within_its_registers_and_spills_nothing(card):
    used = on_nvrtc.usage(sliced.source(), "aes_ctr", card)
    assert len(used.registers) == 2
    assert max(used.registers) <= REGISTERS
    assert set(used.memory) == {on_nvrtc.NO_STACK}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    on_host.need_compiler()
    return ctypes.CDLL(str(on_host.build("aes_ctr", tmp_path_factory.mktemp("kernels"))))


def on_the_host(library, lanes, streams, **options):
    """What cuda.apply does, with the host's memory as the card's."""
    rows = sliced.rows_of([(each.seed, each.sign) for each in streams])
    octets = lanes.view(np.uint8)
    for part in sliced.parts(len(octets)):
        room = np.zeros(sliced.PIECE_BYTES * sliced.pieces(part.stop - part.start), np.uint8)
        room[: part.stop - part.start] = octets[part]
        for call in sliced.launches(part, lanes.itemsize, rows):
            on_host.run(library, call, room, **options)
        octets[part] = room[: part.stop - part.start]


def by_cpu(lanes, streams):
    masks.apply(lanes, streams, 1)
    return lanes


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), some_streams, st.sampled_from(LANES), st.integers(1, 3), st.booleans())
def test_the_kernel_equals_the_definition(library, size, streams, dtype, blocks, backwards):
    """Any number of blocks, any order of threads."""
    lanes = random_lanes(size, size, dtype)
    wanted = by_cpu(lanes.copy(), streams)
    on_the_host(library, lanes, streams, blocks=blocks, backwards=backwards)
    assert lanes.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("tail", [-3, 0, 1, 17])
def test_segments_have_their_own_nonces(library, dtype, tail):
    size = SEGMENT_BYTES // np.dtype(dtype).itemsize + tail
    streams = [Stream(b"u" * 24, 1), Stream(b"v" * 24, -1)]
    lanes = random_lanes(1, size, dtype)
    wanted = by_cpu(lanes.copy(), streams)
    on_the_host(library, lanes, streams)
    assert np.array_equal(lanes, wanted)


def test_a_vector_that_goes_over_in_parts_by_many_launches(library, monkeypatch):
    monkeypatch.setattr(sliced, "PART_BYTES", SEGMENT_BYTES)
    monkeypatch.setattr(sliced, "TOGETHER", 2)
    lanes = random_lanes(2, 2 * SEGMENT_BYTES // 4 + 1001)
    streams = [Stream(bytes([number]) * 24, 1 - number % 2 * 2) for number in range(3)]
    wanted = by_cpu(lanes.copy(), streams)
    on_the_host(library, lanes, streams)
    assert np.array_equal(lanes, wanted)


def test_many_streams(library):
    streams = [Stream(number.to_bytes(24, "big"), 1 - number % 2 * 2) for number in range(150)]
    lanes = random_lanes(3, 999, np.uint16)
    wanted = by_cpu(lanes.copy(), streams)
    on_the_host(library, lanes, streams)
    assert np.array_equal(lanes, wanted)


SANITISED = """
import ctypes, sys
import numpy as np
from fedmed.privacy.secagg import sliced
from tests.preprocess.fused import on_host

library = ctypes.CDLL(sys.argv[1])
rows = sliced.rows_of([(bytes(range(24)), 1), (bytes(24), -1)])

def walk(nbytes, itemsize, room):
    for call in sliced.launches(slice(0, nbytes), itemsize, rows):
        on_host.run(library, call, room)

for nbytes in (4, 32, 36, 8192, 9000):
    for itemsize in (2, 4):
        walk(nbytes, itemsize, np.zeros(sliced.PIECE_BYTES * sliced.pieces(nbytes), np.uint8))
print("clean", flush=True)
walk(8192, 4, np.zeros(8190, np.uint8))
print("not found")
"""


def test_no_read_or_write_lies_outside_an_array(tmp_path):
    """Under the address and undefined-behaviour sanitisers; lanes that are too short show that they look."""
    on_host.need_compiler()
    done = on_host.checked(SANITISED, on_host.build("aes_ctr", tmp_path, on_host.CHECKED))
    assert done.stdout.strip() == "clean", done.stderr[-3000:]
    assert "heap-buffer-overflow" in done.stderr


@pytest.fixture
def asked_anew():
    cuda.why_not.cache_clear()
    yield
    cuda.why_not.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_without_cupy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "install fedmed[gpu]" in cuda.why_not()
    with pytest.raises(MissingPart, match="CuPy cannot be imported"):
        cuda.apply(np.zeros(4, np.uint32), [Stream(bytes(24), 1)])


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("outcome", ["fails", "lies", "full"])
def test_a_kernel_that_fails_or_is_wrong_or_finds_no_room_is_the_reason(monkeypatch, outcome):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 1)

    def run(lanes: object, rows: object) -> bool:
        if outcome == "fails":
            raise cupy.cuda.runtime.CUDARuntimeError(209)
        return outcome == "lies"  # and the lanes are as they were

    monkeypatch.setattr(cuda, "_run", run)
    expected = {
        "fails": "does not run on a GPU here (CUDARuntimeError",
        "lies": "its masks are wrong",
        "full": "memory is full",
    }
    assert expected[outcome] in cuda.why_not()


@pytest.mark.usefixtures("asked_anew")
def test_the_probe_trusts_a_kernel_that_is_right(library, monkeypatch):
    """The kernel itself, in the host's memory: what the probe compares is what it would compare on a card."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 1)
    streams = [Stream(seed, sign) for seed, sign in cuda.PROBED]
    monkeypatch.setattr(cuda, "_run", lambda lanes, rows: on_the_host(library, lanes, streams) or True)
    assert cuda.why_not() is None


@needs_gpu
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 200_000), some_streams, st.sampled_from(LANES))
def test_the_card_equals_the_definition(size, streams, dtype):
    lanes = random_lanes(size, size, dtype)
    wanted = by_cpu(lanes.copy(), streams)
    assert cuda.apply(lanes, streams)
    assert lanes.tobytes() == wanted.tobytes()


@needs_gpu
@pytest.mark.parametrize("dtype", LANES)
def test_the_card_takes_parts_and_many_launches(dtype):
    lanes = random_lanes(4, sliced.PART_BYTES // np.dtype(dtype).itemsize + SEGMENT_BYTES // 4 + 7, dtype)
    streams = [Stream(number.to_bytes(24, "big"), 1 - number % 2 * 2) for number in range(sliced.TOGETHER + 3)]
    wanted = by_cpu(lanes.copy(), streams)
    assert cuda.apply(lanes, streams)
    assert np.array_equal(lanes, wanted)


@needs_gpu
def test_lanes_in_several_pieces_are_left_to_the_cpu():
    lanes = np.zeros(100, np.uint32)
    assert not cuda.apply(lanes[::2], [Stream(bytes(24), 1)])
    assert not lanes.any()
