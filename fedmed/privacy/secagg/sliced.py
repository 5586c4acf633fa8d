"""How kernels/aes_ctr.cu is called: round keys as bit planes, entry, arguments and grid, worked out without CUDA."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.config.catalogue import shipped
from fedmed.privacy.keystream import KEY_BYTES, SEED_BYTES, SEGMENT_BYTES

BLOCK = (32, 8)
MOST_BLOCKS = 2**16
"""Beyond this many a block takes several pieces a thread (grid-stride)."""
PIECE_BYTES = 32
"""What a thread makes at once: two blocks of the cipher."""
PART_BYTES = 16 * SEGMENT_BYTES
"""Of the vector on the card at once: training may have left little memory there."""
TOGETHER = 64
"""Streams a launch: it ends within a second, before a display's watchdog stops it, on the smallest card."""
ROUNDS, ROW_WORDS = 10, 91


@dataclass(frozen=True)
class Launch:
    """One kernel call: entry, grid, and what comes before and after the lanes among the arguments."""

    entry: str
    blocks: int
    inputs: tuple[NDArray[np.uint32], ...]
    scalars: tuple[np.generic, ...]


def source() -> str:
    """CUDA C of the kernel."""
    return (shipped("kernels") / "aes_ctr.cu").read_text(encoding="utf-8")


def parts(nbytes: int) -> Iterator[slice]:
    """The bytes of the vector that lie on the card together."""
    return (slice(start, min(start + PART_BYTES, nbytes)) for start in range(0, nbytes, PART_BYTES))


def pieces(nbytes: int) -> int:
    """Pieces that cover so many bytes; the lanes on the card are padded to whole ones."""
    return -(-nbytes // PIECE_BYTES)


def launches(part: slice, itemsize: int, rows: NDArray[np.uint32]) -> Iterator[Launch]:
    """The calls that add all streams (`rows`, on the host or on the card) to one of the `parts` of a vector."""
    count = pieces(part.stop - part.start)
    blocks = min(-(-count // (BLOCK[0] * BLOCK[1])), MOST_BLOCKS)
    for low in range(0, len(rows), TOGETHER):
        some = rows[low : low + TOGETHER]
        scalars = (np.int32(len(some)), np.int64(count), np.int32(part.start // SEGMENT_BYTES))
        yield Launch(f"masked_{8 * itemsize}", blocks, (some,), scalars)


def rows_of(streams: Sequence[tuple[bytes, int]]) -> NDArray[np.uint32]:
    """`(n, 91)` of seeds and signs: a stream's 11 round keys of 8 planes, its nonce's prefix, and 0 to add, ~0 to take off.

    Raises ValueError for a seed that has not 24 bytes.
    """
    seeds = seeds_of(streams)
    found = np.empty((len(seeds), ROW_WORDS), np.uint32)
    found[:, :88] = planes(round_keys(seeds[:, :KEY_BYTES])).reshape(-1, 88)
    found[:, 88:90] = np.ascontiguousarray(seeds[:, KEY_BYTES:]).view("<u4")
    found[:, 90] = [0 if sign > 0 else 0xFFFFFFFF for _, sign in streams]
    return found


def seeds_of(streams: Sequence[tuple[bytes, int]]) -> NDArray[np.uint8]:
    """`(n, 24)`. Raises ValueError for a seed that has not 24 bytes."""
    for seed, _ in streams:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, got {len(seed)}")
    return np.frombuffer(b"".join(seed for seed, _ in streams), np.uint8).reshape(-1, SEED_BYTES)


def round_keys(keys: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(n, 16)` keys to `(n, 11, 16)` round keys (FIPS 197, 5.2)."""
    words = np.empty((len(keys), 4 * (ROUNDS + 1), 4), np.uint8)
    words[:, :4] = keys.reshape(-1, 4, 4)
    constant = 1
    for at in range(4, words.shape[1]):
        last = words[:, at - 1]
        if at % 4 == 0:
            last = _substituted(np.roll(last, -1, axis=1))
            last[:, 0] ^= np.uint8(constant)
            constant = _doubled(constant)
        words[:, at] = words[:, at - 4] ^ last
    return words.reshape(-1, ROUNDS + 1, 16)


def planes(keys: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """`(..., 16)` bytes to `(..., 8)` planes: bit 8 r + 2 c + k of plane b is bit b of row r, column c, block k."""
    bits = (keys[..., None] >> np.arange(8, dtype=np.uint8)) & 1
    column, row = np.divmod(np.arange(16, dtype=np.uint32), np.uint32(4))
    both: NDArray[np.uint32] = np.uint32(3) << (8 * row + 2 * column)  # two blocks under the same keys
    found: NDArray[np.uint32] = np.sum(bits * both[:, None], axis=-2, dtype=np.uint32)
    return found


def _substituted(octets: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """SubBytes; the whole table is read for each byte, so that no address tells of a key."""
    is_it = octets[..., None] == np.arange(256, dtype=np.uint8)
    found: NDArray[np.uint8] = np.sum(is_it * s_box(), axis=-1, dtype=np.uint8)
    return found


@functools.cache
def s_box() -> NDArray[np.uint8]:
    """FIPS 197, 5.1.1: the inverse, then the affine map. 3 generates all bytes but 0."""
    powers = [1]
    while len(powers) < 255:
        powers.append(powers[-1] ^ _doubled(powers[-1]))
    table = np.empty(256, np.uint8)
    for exponent, each in enumerate(powers):
        twice = powers[-exponent % 255] * 0x101  # two copies: a shift turns
        table[each] = (twice ^ twice >> 4 ^ twice >> 5 ^ twice >> 6 ^ twice >> 7) & 0xFF ^ 0x63
    table[0] = 0x63
    return table


def _doubled(octet: int) -> int:
    return octet << 1 ^ (0x11B if octet & 0x80 else 0)
