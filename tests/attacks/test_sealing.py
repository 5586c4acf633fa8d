"""Somebody who can write to the disk of a clinic, but has no key, tries to have another content read."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.privacy.sealing import HEADER, TAG, SealBroken, seal, unsealed

KEY, OTHER = b"k" * 32, b"K" * 32
CONTENT = bytes(range(256)) * 3 + b"the last chunk is short"
CHUNK = 256 + TAG


def sealed(content: bytes = CONTENT, name: str = "a", key: bytes = KEY) -> bytes:
    target = BytesIO()
    seal(key, name, BytesIO(content), target, 8)
    return target.getvalue()


def refused(data: bytes, name: str = "a", key: bytes = KEY) -> None:
    """What is read before the refusal is a true beginning, never anything else."""
    read: list[bytes] = []
    with pytest.raises(SealBroken):
        read.extend(unsealed(key, name, BytesIO(data)))
    assert CONTENT.startswith(b"".join(read))


SEALED = sealed()
BOUNDARIES = [HEADER + number * CHUNK for number in range(4)]


@pytest.mark.parametrize("place", range(HEADER))
def test_a_bit_of_the_header_turned(place):
    data = bytearray(SEALED)
    data[place] ^= 1
    refused(bytes(data))


@pytest.mark.parametrize(
    "place", [*BOUNDARIES, *(b + 100 for b in BOUNDARIES[:3]), *(b - 1 for b in BOUNDARIES[1:]), len(SEALED) - 1]
)
def test_a_bit_of_each_region_turned(place):
    for bit in (1, 128):
        data = bytearray(SEALED)
        data[place] ^= bit
        refused(bytes(data))


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_any_byte_changed(place, difference):
    data = bytearray(SEALED)
    data[place] ^= difference
    refused(bytes(data))


@given(st.integers(0, len(SEALED) - 1))
def test_cut_anywhere(length):
    refused(SEALED[:length])


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_cut_between_chunks(boundary):
    refused(SEALED[:boundary])


@given(st.binary(min_size=1, max_size=600))
def test_something_appended(more):
    refused(SEALED + more)


def chunks() -> list[bytes]:
    return [SEALED[begin:end] for begin, end in zip(BOUNDARIES, [*BOUNDARIES[1:], len(SEALED)], strict=True)]


@given(st.permutations(range(4)).filter(lambda order: order != [0, 1, 2, 3]))
def test_chunks_in_another_order(order):
    refused(SEALED[:HEADER] + b"".join(chunks()[number] for number in order))


@pytest.mark.parametrize("number", range(4))
def test_a_chunk_left_out_or_twice(number):
    one = chunks()
    refused(SEALED[:HEADER] + b"".join(one[:number] + one[number + 1 :]))
    refused(SEALED[:HEADER] + b"".join(one[: number + 1] + one[number:]))


@pytest.mark.parametrize("number", range(4))
def test_a_chunk_of_another_file_sealed_with_the_same_key(number):
    other = sealed()
    begin, end = BOUNDARIES[number], [*BOUNDARIES[1:], len(SEALED)][number]
    refused(SEALED[:begin] + other[begin:end] + SEALED[end:])
    refused(other[:HEADER] + SEALED[HEADER:])


def test_a_whole_file_under_another_name():
    refused(SEALED, name="b")


def test_another_key():
    refused(SEALED, key=OTHER)
    refused(sealed(key=OTHER))
