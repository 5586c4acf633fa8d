from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedmed.privacy.keystream import SEGMENT_BYTES as SEGMENT
from fedmed.privacy.secagg.dither import BLOCK, blocks

SEED = bytes(range(24))


def test_it_is_the_counter_mode_of_aes_under_one_nonce_a_segment():
    """GCM's keystream is CTR from nonce || 2, SP 800-38D 7.1."""
    whole = b"".join(block.astype("<u2").tobytes() for block in islice(blocks(SEED), SEGMENT // (2 * BLOCK) + 1))
    for segment in range(2):
        start = SEED[16:] + segment.to_bytes(4, "big") + (2).to_bytes(4, "big")
        stream = Cipher(algorithms.AES(SEED[:16]), modes.CTR(start)).encryptor().update(bytes(SEGMENT))
        piece = whole[segment * SEGMENT : (segment + 1) * SEGMENT]
        assert len(piece) > 0
        assert piece == stream[: len(piece)]


def test_known_numbers():
    assert next(blocks(SEED))[:4].tolist() == [15128, 63384, 2008, 59595]


def test_another_key_or_prefix_gives_other_numbers():
    first = next(blocks(SEED)).copy()
    for other in (bytes(1) + SEED[1:-1] + b"x", b"x" + SEED[1:]):
        assert np.mean(next(blocks(other)) == first) < 1e-3


def test_nobody_writes_into_a_block():
    with pytest.raises(ValueError, match="read-only"):
        next(blocks(SEED))[0] = 1


def test_a_seed_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a seed has 24 bytes, got 16"):
        next(blocks(bytes(16)))
