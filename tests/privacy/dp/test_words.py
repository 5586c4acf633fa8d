from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedmed.privacy.dp.words import RUN, RUNS_A_SEGMENT, SEGMENTS, runs, second_half

SEED = bytes(range(24))


def counter_mode(segment: int, count: int) -> np.ndarray:
    """The same words without GCM: its keystream is counter mode from block 2 (NIST SP 800-38D, 6.5)."""
    start = SEED[16:] + segment.to_bytes(4, "big") + (2).to_bytes(4, "big")
    stream = Cipher(algorithms.AES(SEED[:16]), modes.CTR(start)).encryptor()
    return np.frombuffer(stream.update(bytes(8 * count)), "<u8")


def test_the_stream_is_the_keystream_of_its_segments():
    stream = runs(SEED)
    found = [next(stream).copy() for _ in range(RUNS_A_SEGMENT + 1)]
    assert (np.concatenate(found[:-1]) == counter_mode(0, RUN * RUNS_A_SEGMENT)).all()
    assert (found[-1] == counter_mode(1, RUN)).all()


@pytest.mark.parametrize("run", [0, 3, RUNS_A_SEGMENT + 2])
def test_second_halves_are_of_segments_of_their_own(run):
    segment, within = divmod(run, RUNS_A_SEGMENT)
    wanted = counter_mode(SEGMENTS + segment, RUN * (within + 1))[within * RUN :]
    places = np.array([0, 7, RUN - 1])
    assert second_half(SEED, run, places) == [int(word) for word in wanted[places]]


@pytest.mark.parametrize("seed", [b"", bytes(23), bytes(25)])
def test_a_seed_of_another_length_is_refused(seed):
    with pytest.raises(ValueError, match=f"a seed has 24 bytes, got {len(seed)}"):
        next(runs(seed))
