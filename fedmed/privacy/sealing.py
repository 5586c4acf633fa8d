"""Files encrypted at rest: AES-256-GCM in chunks, so that a file of any size takes constant memory.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizar: Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance, CRYPTO 2015), with a key of its own for every file. Of a sealed file

    header   magic 7 bytes, version 1, log2 of the chunk's bytes 1, salt 32
    chunks   each encrypted with nonce = prefix 7 | number 4 | last 1 and a tag of 16 bytes; all but the last are full

Key and prefix are HKDF-SHA256 of the store's key with the salt, and header and name are authenticated with every chunk.
A chunk that is changed, moved, left out, or taken from another file or another name is refused, and so is a file that
ends early.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedmed.errors import StoreError
from fedmed.privacy.keys import derived

MAGIC, VERSION = b"fedmed\x1a", 1
SALT, TAG, KEY, PREFIX = 32, 16, 32, 7
HEADER = len(MAGIC) + 2 + SALT
CHUNK_LOG2 = 16
"""Chunks of 64 KiB: a tag costs 0.02 % and a reader waits for little."""
CHUNK_LOG2_ALLOWED = range(8, 26)
MOST_CHUNKS = 2**32


class Source(Protocol):
    """What is sealed: a file, or anything that is read like one."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; fewer at the end alone."""


class Target(Protocol):
    """Where it goes: a file, or anything that is written like one."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""


class Pieces:
    """Pieces of bytes, read like a file: what is sealed needs no copy of the whole."""

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces, self._rest = iter(pieces), memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; fewer at the end alone."""
        taken = []
        while size:
            if not self._rest:
                following = next(self._pieces, None)
                if following is None:
                    break
                self._rest = memoryview(following)
                continue
            taken.append(self._rest[:size])
            size, self._rest = size - len(taken[-1]), self._rest[len(taken[-1]) :]
        return b"".join(taken)


class Parts:
    """What was written, in the pieces in which it was: a buffer that grows would be copied as often as it does."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes, /) -> None:
        """Keep a piece."""
        self.written.append(data)


class SealBroken(StoreError):
    """A sealed file is not, byte for byte and under its name, what was sealed with this key."""


def seal(
    key: bytes,
    name: str,
    source: Source,
    target: Target,
    chunk_log2: int = CHUNK_LOG2,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> None:
    """Encrypt what `source` has left into `target`; it is read again only with the same key under the same `name`.

    Raises StoreError for what is longer than 2^32 chunks.
    """
    for piece in sealed(key, name, source, chunk_log2, random_bytes):
        target.write(piece)


def sealed(
    key: bytes,
    name: str,
    source: Source,
    chunk_log2: int = CHUNK_LOG2,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Iterator[bytes]:
    """As `seal`, for who takes the sealed file piece by piece: no more than two chunks are held at a time."""
    salt = random_bytes(SALT)
    header = MAGIC + bytes((VERSION, chunk_log2)) + salt
    cipher, prefix = _cipher(key, salt)
    bound = _bound(header, name)
    yield header
    size = 1 << chunk_log2
    chunk, number = source.read(size), 0
    while True:
        following = source.read(size)
        yield cipher.encrypt(_nonce(prefix, number, not following), chunk, bound)
        if not following:
            return
        chunk, number = following, number + 1
        if number == MOST_CHUNKS:
            raise StoreError(f"{name}: longer than {MOST_CHUNKS} chunks of {size} bytes, which is all that can be sealed")


def sealed_size(size: int, chunk_log2: int = CHUNK_LOG2) -> int:
    """Bytes of the sealed file of a content of `size` bytes."""
    return HEADER + size + TAG * max(1, -(-size >> chunk_log2))


def unsealed(key: bytes, name: str, source: Source) -> Iterator[bytes]:
    """The chunks that were sealed, each once it is proven whole; who stops before the last has proof of a beginning only.

    Raises SealBroken.
    """
    header = bytes(source.read(HEADER))
    if len(header) != HEADER or not header.startswith(MAGIC):
        raise SealBroken(f"{name}: is no sealed file")
    version, chunk_log2 = header[len(MAGIC)], header[len(MAGIC) + 1]
    if version != VERSION or chunk_log2 not in CHUNK_LOG2_ALLOWED:
        raise SealBroken(
            f"{name}: sealed in version {version} with chunks of 2^{chunk_log2} bytes; this is version {VERSION}"
        )
    cipher, prefix = _cipher(key, header[-SALT:])
    bound = _bound(header, name)
    size = (1 << chunk_log2) + TAG
    chunk, number = source.read(size), 0
    while True:
        following = source.read(size)
        try:
            yield cipher.decrypt(_nonce(prefix, number, not following), chunk, bound)
        except (InvalidTag, ValueError) as error:
            raise SealBroken(
                f"{name}: chunk {number} is not what was sealed with this key under this name; "
                "take the file from a backup, or look for the key it was sealed with"
            ) from error
        if not following:
            return
        chunk, number = following, number + 1
        if number == MOST_CHUNKS:
            raise SealBroken(f"{name}: longer than {MOST_CHUNKS} chunks")


def _cipher(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    if len(key) != KEY:
        raise StoreError(f"a key of {len(key)} bytes; a store is sealed with {KEY}")
    material = derived(key, "sealed file", salt, KEY + PREFIX)
    return AESGCM(material[:KEY]), material[KEY:]


def _bound(header: bytes, name: str) -> bytes:
    return header + name.encode()


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", number, last)
