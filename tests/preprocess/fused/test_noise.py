from __future__ import annotations

import numpy as np
import pytest

from fedmed.preprocess.fused.noise import normal, philox2x32

# Known answers published with Random123 (kat_vectors): counter, key, result of ten rounds.
KNOWN = [
    ((0x00000000, 0x00000000), 0x00000000, (0xFF1DAE59, 0x6CD10DF2)),
    ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
    ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    got = philox2x32(np.array(counter[:1], np.uint32), np.array(counter[1:], np.uint32), key)
    assert tuple(int(word[0]) for word in got) == answer


def test_it_is_nearly_normal():
    drawn = normal(12345 << 32 | 678, np.arange(200_000, dtype=np.uint32))
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    assert abs((drawn**4).mean() - 2.85) < 0.05
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.01


def test_all_64_bits_of_the_key_count():
    voxels = np.arange(1000, dtype=np.uint32)
    drawn = [normal(key, voxels) for key in (0, 1, 1 << 31, 1 << 32, 1 << 63)]
    for one in range(len(drawn)):
        for other in range(one):
            assert abs(np.corrcoef(drawn[one], drawn[other])[0, 1]) < 0.15
