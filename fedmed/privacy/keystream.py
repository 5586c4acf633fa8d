"""Keystreams from 24-byte seeds: the only source of masks and of dither.

A seed is an AES-128 key (16 bytes) and a nonce prefix (8 bytes). The stream is cut into segments of 4 MiB; segment i is the
AES-128-GCM keystream (NIST SP 800-38D, section 6.5) under the nonce `prefix || be32(i)`, whose tag is never made. That is
AES-128-CTR from the counter block `nonce || 00000002`: which of the two a machine computes faster is tried once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedmed.errors import ConfigError

Way = Literal["gcm", "ctr"]
WAYS: tuple[Way, ...] = ("gcm", "ctr")
KEY_BYTES, SEED_BYTES = 16, 24
SEGMENT_BYTES = 4 * 2**20
CHUNK_BYTES = 256 * 2**10  # keystream made at once: it stays in the second-level cache until it is added
PROBE_S = 0.0025  # for each way
SPARE_BYTES = 16  # older versions of cryptography want room for one block of the cipher more
ZEROS = bytes(CHUNK_BYTES)
Fill = Callable[[bytes | memoryview, memoryview], int]
"""Encrypt the first into the second: of zeros, the keystream itself."""


def segment(seed: bytes, number: int, way: Way) -> Fill:
    """The keystream of a segment from its start; each call goes on where the last one ended."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, got {len(seed)}")
    nonce = seed[KEY_BYTES:] + number.to_bytes(4, "big")
    mode = modes.GCM(nonce) if way == "gcm" else modes.CTR(nonce + b"\0\0\0\2")
    return Cipher(algorithms.AES(seed[:KEY_BYTES]), mode).encryptor().update_into


@lru_cache(maxsize=1)
def fastest() -> Way:
    """The faster way on this machine, or the wish. Raises ConfigError."""
    said = wish()
    return max(WAYS, key=_chunks_in_time) if said is None else said


def wish() -> Way | None:
    """What FEDMED_KEYSTREAM says, which nothing but the library's cipher is used for. Raises ConfigError for other words."""
    said = os.environ.get("FEDMED_KEYSTREAM")
    for way in WAYS:
        if said == way:
            return way
    if said is None:
        return None
    raise ConfigError(f"FEDMED_KEYSTREAM: got {said!r}, allowed: {', '.join(WAYS)}, or leave it out to take the fastest")


def _chunks_in_time(way: Way) -> int:
    fill, target, count = segment(bytes(SEED_BYTES), 0, way), memoryview(bytearray(CHUNK_BYTES + SPARE_BYTES)), 0
    end = time.perf_counter() + PROBE_S  # it measures this machine, which a simulated clock cannot stand for
    while time.perf_counter() < end:
        fill(ZEROS, target)
        count += 1
    return count
