from __future__ import annotations

import hmac
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.secagg import many, schedule

sixteen = pytest.importorskip("fedmed.privacy.secagg.hmac_sixteen", reason="numba is not installed")


def octets(seed: int, rows: int, size: int) -> np.ndarray:
    return np.frombuffer(random.Random(seed).randbytes(rows * size), np.uint8).reshape(rows, size)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 50), st.integers(0, 55), st.integers(0, 99))
def test_it_is_the_librarys(rows, size, seed):
    keys, messages = octets(seed, rows, 32), octets(seed + 1, rows, size)
    found = sixteen.digests(keys, messages)
    assert np.array_equal(found, many._one_by_one(keys, messages).reshape(rows, 32))
    assert [each.tobytes() for each in found] == [
        hmac.digest(key.tobytes(), message.tobytes(), "sha256") for key, message in zip(keys, messages, strict=True)
    ]


def test_rfc_4231_test_case_2_with_its_key_padded():
    key = np.frombuffer(b"Jefe".ljust(32, b"\0"), np.uint8)  # HMAC pads keys with zeros itself
    message = np.frombuffer(b"what do ya want for nothing?", np.uint8)
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sixteen.digests(key[None], message[None])[0].tobytes().hex() == expected


def test_constants_are_those_of_fips_180_4():
    assert f"{sixteen.START[0]:08x} {sixteen.START[7]:08x}" == "6a09e667 5be0cd19"
    assert f"{sixteen.ROUNDS[0]:08x} {sixteen.ROUNDS[63]:08x}" == "428a2f98 c67178f2"


@pytest.mark.parametrize(("keys", "messages"), [((2, 32), (2, 56)), ((2, 31), (2, 8)), ((1, 32), (2, 8))])
def test_other_shapes_are_refused(keys, messages):
    with pytest.raises(ValueError, match="allowed: 55 bytes at most"):
        sixteen.digests(np.zeros(keys, np.uint8), np.zeros(messages, np.uint8))


@pytest.mark.parametrize("is_compiled", [True, False])
def test_both_halves_are_hkdf(monkeypatch, is_compiled):
    if not is_compiled:
        monkeypatch.setattr(many, "_hmacs", lambda: many._one_by_one)
    secrets = [random.Random(number).randbytes(32) for number in range(19)]
    found = many.expanded(many.extracted(secrets), b"share" + bytes(32), 500, range(490, 509))
    expected = [
        schedule.mail_key_of(secret, bytes(32), 500, other) for secret, other in zip(secrets, range(490, 509), strict=True)
    ]
    assert found == expected
