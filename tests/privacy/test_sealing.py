from __future__ import annotations

import hashlib
import json
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.privacy import sealing
from fedmed.privacy.sealing import HEADER, TAG, SealBroken, seal, sealed_size, unsealed

KEY = bytes(range(32))
VECTORS = json.loads((Path(__file__).parent / "sealed_vectors.json").read_text())


def sealed(content: bytes, name: str = "a", chunk_log2: int = 8, key: bytes = KEY) -> bytes:
    target = BytesIO()
    seal(key, name, BytesIO(content), target, chunk_log2)
    return target.getvalue()


def opened(data: bytes, name: str = "a", key: bytes = KEY) -> bytes:
    return b"".join(unsealed(key, name, BytesIO(data)))


@given(st.binary(max_size=2000), st.text(st.characters(codec="utf-8"), max_size=20), st.integers(8, 12))
def test_what_was_sealed_is_read_back(content, name, chunk_log2):
    data = sealed(content, name, chunk_log2)
    assert opened(data, name) == content
    chunks = max(1, -(-len(content) // (1 << chunk_log2)))
    assert len(data) == HEADER + len(content) + TAG * chunks == sealed_size(len(content), chunk_log2)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 513])
def test_lengths_around_a_chunk(size):
    assert opened(sealed(bytes(size))) == bytes(size)


def test_the_same_content_never_looks_the_same():
    assert sealed(b"x" * 300) != sealed(b"x" * 300)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_files_sealed_by_earlier_versions_are_read(vector):
    content = bytes.fromhex(vector["content"]) * vector["times"]
    salt = bytes.fromhex(vector["salt"])
    target = BytesIO()
    seal(bytes.fromhex(vector["key"]), vector["name"], BytesIO(content), target, vector["chunk_log2"], lambda _: salt)
    assert hashlib.sha256(target.getvalue()).hexdigest() == vector["sha256"]
    assert opened(target.getvalue(), vector["name"], bytes.fromhex(vector["key"])) == content


def test_the_construction_is_as_its_docstring_says():
    """Every byte again, from the primitives."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from fedmed.privacy.keys import derived

    data, name = sealed(b"a" * 256 + b"b", "name"), "name"
    header, first, last = data[:HEADER], data[HEADER : HEADER + 272], data[HEADER + 272 :]
    assert header[:9] == b"fedmed\x1a\x01\x08"
    material = derived(KEY, "sealed file", header[9:], 39)
    cipher, prefix = AESGCM(material[:32]), material[32:]
    assert cipher.decrypt(prefix + b"\0\0\0\0" + b"\0", first, header + b"name") == b"a" * 256
    assert cipher.decrypt(prefix + b"\0\0\0\1" + b"\1", last, header + name.encode()) == b"b"


def test_memory_is_constant(tmp_path):
    class Nothing(BytesIO):
        def write(self, data):
            return len(data)

    class Zeros(BytesIO):
        left = 32 * 2**20

        def read(self, size=-1):
            given = min(size, self.left)
            self.left -= given
            return bytes(given)

    tracemalloc.start()
    seal(KEY, "a", Zeros(), Nothing())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_short_key_and_an_endless_file_are_refused(monkeypatch):
    with pytest.raises(StoreError, match="32"):
        sealed(b"", key=b"short")
    monkeypatch.setattr(sealing, "MOST_CHUNKS", 2)
    assert opened(sealed(bytes(512))) == bytes(512)
    with pytest.raises(StoreError, match="chunks"):
        sealed(bytes(513))


@pytest.mark.parametrize(
    "data", [b"", b"fedmed", b"x" * 100, b"fedmed\x1a\x02\x10" + bytes(32), b"fedmed\x1a\x01\x07" + bytes(99)]
)
def test_what_is_no_sealed_file_is_refused(data):
    with pytest.raises(SealBroken):
        opened(data)
