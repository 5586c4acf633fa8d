from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedmed.errors import ConfigError
from fedmed.privacy import keystream
from fedmed.privacy.keystream import SEGMENT_BYTES, SPARE_BYTES, WAYS, Way

SEED = bytes(range(100, 124))
VECTORS = json.loads((Path(__file__).parent / "keystream_vectors.json").read_text())


def made(seed: bytes, number: int, way: Way, sizes: list[int]) -> bytes:
    fill, found = keystream.segment(seed, number, way), b""
    for size in sizes:
        target = bytearray(size + SPARE_BYTES)
        fill(bytes(size), memoryview(target))
        found += bytes(target[:size])
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: f"segment {each['segment']}")
def test_known_answers(way, vector):
    assert made(bytes.fromhex(vector["seed"]), vector["segment"], way, [64]).hex() == vector["first_64_bytes"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [0, 1, 2**32 - 1])
def test_it_is_the_block_cipher_over_counters(way, number):
    """SP 800-38D, 6.5 and 7.1: block j is AES(nonce || 2 + j)."""
    block = Cipher(algorithms.AES(SEED[:16]), modes.ECB()).encryptor()  # the bare permutation, one block each
    nonce = SEED[16:] + number.to_bytes(4, "big")
    expected = b"".join(block.update(nonce + (2 + j).to_bytes(4, "big")) for j in range(5))
    assert made(SEED, number, way, [80]) == expected


@pytest.mark.parametrize("way", WAYS)
def test_calls_go_on_where_the_last_one_ended(way):
    assert made(SEED, 3, way, [32, 1024, 16]) == made(SEED, 3, way, [1072])


def test_both_ways_give_a_whole_segment_alike():
    assert made(SEED, 0, "gcm", [SEGMENT_BYTES]) == made(SEED, 0, "ctr", [SEGMENT_BYTES])


def test_another_key_prefix_or_segment_is_another_stream():
    first = made(SEED, 0, "gcm", [32])
    changed = [b"x" + SEED[1:], SEED[:16] + b"x" + SEED[17:]]
    assert first not in {made(seed, 0, "gcm", [32]) for seed in changed}
    assert first != made(SEED, 1, "gcm", [32])


@pytest.mark.parametrize("size", [0, 16, 23, 25])
def test_a_seed_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match="24 bytes"):
        keystream.segment(bytes(size), 0, "gcm")


@pytest.fixture
def unprobed():
    keystream.fastest.cache_clear()
    yield
    keystream.fastest.cache_clear()


@pytest.mark.usefixtures("unprobed")
def test_the_faster_way_is_tried_once(monkeypatch):
    monkeypatch.delenv("FEDMED_KEYSTREAM", raising=False)
    tried: list[Way] = []
    monkeypatch.setattr(keystream, "_chunks_in_time", lambda way: tried.append(way) or {"gcm": 1, "ctr": 2}[way])
    assert (keystream.fastest(), keystream.fastest()) == ("ctr", "ctr")
    assert sorted(tried) == ["ctr", "gcm"]


@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize("way", WAYS)
def test_a_wish_decides(monkeypatch, way):
    monkeypatch.setenv("FEDMED_KEYSTREAM", way)
    assert keystream.fastest() == way


@pytest.mark.usefixtures("unprobed")
def test_another_wish_is_refused(monkeypatch):
    monkeypatch.setenv("FEDMED_KEYSTREAM", "philox")
    with pytest.raises(ConfigError, match=r"got 'philox', allowed: gcm, ctr"):
        keystream.fastest()


@pytest.mark.usefixtures("unprobed")
def test_the_probe_makes_chunks(monkeypatch):
    monkeypatch.delenv("FEDMED_KEYSTREAM", raising=False)
    assert keystream.fastest() in WAYS
