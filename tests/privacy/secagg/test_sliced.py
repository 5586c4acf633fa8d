from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.privacy.keystream import SEGMENT_BYTES
from fedmed.privacy.secagg import sliced

# FIPS 197, appendix A.1: the key, and round keys 1, 2, 9, 10 (words 4 to 11 and 36 to 43).
FIPS_KEY = "2b7e151628aed2a6abf7158809cf4f3c"
FIPS_ROUND_KEYS = {
    0: FIPS_KEY,
    1: "a0fafe1788542cb123a339392a6c7605",
    2: "f2c295f27a96b9435935807a7359f67f",
    9: "ac7766f319fadc2128d12941575c006e",
    10: "d014f9a8c9ee2589e13f0cc8b6630ca6",
}


def octets(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), np.uint8)


def test_round_keys_of_the_standard():
    both = np.stack([np.zeros(16, np.uint8), octets(FIPS_KEY)])
    found = sliced.round_keys(both)
    assert found.shape == (2, 11, 16)
    assert {number: bytes(found[1, number]).hex() for number in FIPS_ROUND_KEYS} == FIPS_ROUND_KEYS
    assert bytes(found[0, 1]).hex() == "62636363" * 4


def test_the_s_box_is_a_permutation_with_the_standards_example():
    """FIPS 197, 5.1.1: S(53) = ed."""
    assert sorted(sliced.s_box()) == list(range(256))
    assert (sliced.s_box()[0x53], sliced.s_box()[0]) == (0xED, 0x63)


@given(st.binary(min_size=16, max_size=16))
def test_planes_hold_each_bit_where_they_say(key):
    found = sliced.planes(np.frombuffer(key, np.uint8))
    for at, byte in enumerate(key):
        column, row = divmod(at, 4)
        for block in range(2):
            assert sum((int(plane) >> (8 * row + 2 * column + block) & 1) << b for b, plane in enumerate(found)) == byte


def test_a_row_holds_keys_prefix_and_sign():
    seed = bytes(range(16)) + b"\x01\x02\x03\x04\x05\x06\x07\x08"
    added, off = sliced.rows_of([(seed, 1), (seed, -1)])
    assert (added[:90] == off[:90]).all()
    assert [hex(word) for word in added[88:]] == ["0x4030201", "0x8070605", "0x0"]
    assert off[90] == 2**32 - 1


@pytest.mark.parametrize("size", [0, 16, 23, 25])
def test_a_seed_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match="24 bytes"):
        sliced.rows_of([(bytes(24), 1), (bytes(size), 1)])


@given(st.integers(1, 3 * sliced.PART_BYTES), st.integers(1, 3 * sliced.TOGETHER), st.sampled_from([2, 4]))
def test_parts_and_launches_cover_all_lanes_and_streams_once(nbytes, count, itemsize):
    rows = np.arange(count, dtype=np.uint32)[:, None]
    end = 0
    for part in sliced.parts(nbytes):
        assert part.start == end
        assert part.start % SEGMENT_BYTES == 0
        end = part.stop
        calls = list(sliced.launches(part, itemsize, rows))
        assert np.concatenate([call.inputs[0] for call in calls]).tolist() == rows.tolist()
        for call in calls:
            streams, pieces, first = call.scalars
            assert 0 <= sliced.PIECE_BYTES * pieces - (part.stop - part.start) < sliced.PIECE_BYTES
            assert (streams, first * SEGMENT_BYTES) == (len(call.inputs[0]), part.start)
            assert call.entry == f"masked_{8 * itemsize}"
            assert 1 <= call.blocks <= sliced.MOST_BLOCKS
    assert end == nbytes
