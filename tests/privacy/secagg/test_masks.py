from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, FederationError, MissingPart
from fedmed.privacy import keystream
from fedmed.privacy.keystream import SEGMENT_BYTES
from fedmed.privacy.secagg import cuda, masks, sliced
from fedmed.privacy.secagg.masks import Stream
from tests.privacy.secagg.federation import random_lanes

SIZES = [0, 1, 3, 65_535, 65_537, SEGMENT_BYTES // 4, SEGMENT_BYTES // 4 + 5]


def reference(lanes: np.ndarray, streams: list[Stream]) -> np.ndarray:
    """Counter mode over each segment whole, added as 64-bit numbers."""
    total = lanes.astype(np.int64)
    for each in streams:
        mask = b""
        for number in range(-(-lanes.nbytes // SEGMENT_BYTES)):
            start = each.seed[16:] + number.to_bytes(4, "big") + (2).to_bytes(4, "big")
            mask += Cipher(algorithms.AES(each.seed[:16]), modes.CTR(start)).encryptor().update(bytes(SEGMENT_BYTES))
        words = np.frombuffer(mask[: lanes.nbytes], lanes.dtype.newbyteorder("<"))
        total += each.sign * words.astype(np.int64)
    return (total % 2 ** (8 * lanes.itemsize)).astype(lanes.dtype)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_masks_are_keystreams(dtype, size, threads):
    streams = [Stream(bytes([i]) * 24, 1 if i % 2 else -1) for i in range(3)]
    lanes = random_lanes(size, size, dtype)
    expected = reference(lanes, streams)
    masks.apply(lanes, streams, threads)
    assert np.array_equal(lanes, expected)


@pytest.mark.parametrize("way", keystream.WAYS)
def test_either_way_is_the_same_mask(way, monkeypatch):
    monkeypatch.setattr(keystream, "fastest", lambda: way)
    lanes = np.zeros(100_000, np.uint32)
    streams = [Stream(b"s" * 24, 1)]
    masks.apply(lanes, streams)
    assert np.array_equal(lanes, reference(np.zeros(100_000, np.uint32), streams))


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 130), size=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_what_is_added_comes_off(count, size, seed):
    """More streams than are open at once, too."""
    streams = [Stream(bytes([i, seed % 251]) * 12, 1) for i in range(count)]
    lanes = random_lanes(seed, size)
    before = lanes.copy()
    masks.apply(lanes, streams)
    assert count == 0 or size < 8 or not np.array_equal(lanes, before)
    masks.apply(lanes, [Stream(each.seed, -1) for each in reversed(streams)])
    assert np.array_equal(lanes, before)


def test_masks_made_ahead_are_the_same():
    streams = [Stream(b"a" * 24, 1), Stream(b"b" * 24, -1)]
    lanes = random_lanes(1, 1000)
    ahead = lanes + masks.expand(1000, np.uint32, streams)
    masks.apply(lanes, streams)
    assert np.array_equal(lanes, ahead)


@pytest.mark.parametrize("lanes", [np.zeros(4, np.int32), np.zeros(4, np.uint64), np.zeros((2, 2), np.uint32)])
def test_other_lanes_are_refused(lanes):
    with pytest.raises(ValueError, match="allowed: uint16 or uint32, one axis"):
        masks.apply(lanes, [])


def test_a_seed_is_not_shown():
    assert "s" * 4 not in repr(Stream(b"s" * 24, 1))


def asks(monkeypatch) -> list[int]:
    """A GPU that is found, and always full; how many masks it was asked for, each time."""
    asked: list[int] = []
    monkeypatch.setattr(cuda, "why_not", lambda: None)
    monkeypatch.setattr(cuda, "apply", lambda lanes, streams: asked.append(len(streams)))
    return asked


@pytest.mark.parametrize(
    ("count", "size", "threads", "expected"), [(4, 256, None, [4]), (3, 256, None, []), (4, 255, None, []), (4, 256, 1, [])]
)
def test_a_gpu_is_asked_where_it_pays(monkeypatch, count, size, threads, expected):
    monkeypatch.delenv("FEDMED_MASKS", raising=False)
    monkeypatch.setattr(masks, "WORTH_BYTES", 4096)
    asked, lanes = asks(monkeypatch), np.zeros(size, np.uint32)
    streams = [Stream(bytes([number]) * 24, 1) for number in range(count)]
    masks.apply(lanes, streams, threads)
    assert asked == expected
    assert np.array_equal(lanes, reference(np.zeros(size, np.uint32), streams))  # full: the CPU's turn


@pytest.mark.parametrize(("wish", "expected"), [("cpu", []), ("gpu", [1])])
def test_a_wish_decides(monkeypatch, wish, expected):
    monkeypatch.setenv("FEDMED_MASKS", wish)
    asked = asks(monkeypatch)
    masks.apply(np.zeros(9, np.uint32), [Stream(bytes(24), 1)], 1)
    masks.apply(np.zeros(9, np.uint32), [], 1)
    assert asked == expected


def test_another_wish_is_refused(monkeypatch):
    monkeypatch.setenv("FEDMED_MASKS", "tpu")
    with pytest.raises(ConfigError, match="FEDMED_MASKS: got 'tpu', allowed: cpu, gpu"):
        masks.expand(9, np.uint32, [])


def test_a_gpu_that_is_wished_and_not_there_is_an_error(monkeypatch):
    monkeypatch.setenv("FEDMED_MASKS", "gpu")
    monkeypatch.setattr(cuda, "why_not", lambda: "no GPU here")
    with pytest.raises(MissingPart, match="no GPU here"):
        masks.expand(9, np.uint32, [Stream(bytes(24), 1)])


@pytest.mark.parametrize("right", [[0], [1], [0, 1]])
def test_a_gpu_that_leaves_a_part_as_it_was_is_found_out(monkeypatch, right):
    monkeypatch.setenv("FEDMED_MASKS", "gpu")
    monkeypatch.setattr(sliced, "PART_BYTES", SEGMENT_BYTES)
    each = SEGMENT_BYTES // 4
    streams = [Stream(bytes([number]) * 24, 1) for number in range(2)]
    mask = reference(np.zeros(each + 9, np.uint32), streams)

    def card(lanes: np.ndarray, _: object) -> bool:
        for part in right:
            here = slice(part * each, (part + 1) * each)
            lanes[here] += mask[here]
        return True

    monkeypatch.setattr(cuda, "apply", card)
    if right == [0, 1]:
        assert np.array_equal(masks.expand(each + 9, np.uint32, streams), mask)
        return
    with pytest.raises(FederationError, match=f"masks from lane {(1 - right[0]) * each} on are not the CPU's"):
        masks.expand(each + 9, np.uint32, streams)
