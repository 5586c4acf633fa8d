from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
from blake3 import blake3

from fedmed.privacy.secagg.schedule import vector_digest
from tests.privacy.secagg.vectors import PATH, made

KNOWN = json.loads(PATH.read_text())


@pytest.mark.parametrize("what", KNOWN)
def test_known_answers(what):
    """What is sent and derived does not change under version 1; a change needs another version."""
    assert made()[what] == KNOWN[what]


def test_the_sum():
    assert KNOWN["sum"] == [6 * lane for lane in range(1, 9)]


def test_the_context_by_hand():
    """SHA-256 over length-prefixed parts, written out."""
    parts = (b"fedmed/sa/v1", bytes.fromhex(KNOWN["terms"]))
    whole = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    assert hashlib.sha256(whole).hexdigest() == KNOWN["context"]


def test_the_digest_of_a_vector_by_hand():
    vector = struct.pack("<8I", *range(1, 9))
    assert (
        vector_digest(np.arange(1, 9, dtype=np.uint32)) == blake3(vector, derive_key_context="fedmed/sa/v1/vector").digest()
    )


def test_the_round_digest_by_hand():
    parts = (b"round", bytes.fromhex(KNOWN["transcript"]), bytes.fromhex(KNOWN["header"]))
    whole = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    assert hashlib.sha256(whole).hexdigest() == KNOWN["round_digest"]
