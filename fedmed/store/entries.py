"""One finished set of tensors as a file, in either of two forms.

Sealed      safetensors, sealed under the cache's key (`privacy.atrest`); the name is a keyed digest, so that who has an
            image does not see that it is here
Plain       a head with key and digest, then safetensors, read by mapping:

            0   8  magic            40  32  SHA-256 of all that follows the head
            8  32  key              72   8  bytes that follow the head, little-endian
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import BinaryIO, Protocol

from fedmed.errors import DataError, StoreError
from fedmed.privacy.atrest import AtRest
from fedmed.privacy.keys import derived
from fedmed.wire import tensors as wire

MAGIC, HEAD = b"fedmed\x00\x01", 80


class Form(Protocol):
    """How entries lie on the disk."""

    mark: str
    """Tells the form from another, and a key from another key."""

    def name(self, key: str) -> str:
        """The file's name for a key of 64 hex digits: 64 hex digits."""

    def write(self, tensors: wire.Tensors, key: str, file: BinaryIO) -> int:
        """Write an entry to an empty file; returns its bytes. Raises DataError for a dtype that is not carried."""

    def read(self, path: Path, key: str) -> wire.Tensors:
        """The entry's tensors, read-only, every byte checked first.

        Raises FileNotFoundError where there is no entry, StoreError where a byte of it is not what was written.
        """


class Sealed:
    """Under a key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._rest, self._naming = AtRest(key, "finished tensors"), derived(key, "names of finished tensors")
        self.mark = f"sealed {self.name('')[:16]}"

    def name(self, key: str) -> str:
        """A keyed BLAKE2b (RFC 7693)."""
        return hashlib.blake2b(key.encode(), digest_size=32, key=self._naming).hexdigest()

    def write(self, tensors: wire.Tensors, key: str, file: BinaryIO) -> int:
        """See `Form`."""
        file.writelines(self._rest.closed(key, [wire.header_of(tensors), *map(wire.raw, tensors.values())]))
        file.flush()
        return file.tell()

    def read(self, path: Path, key: str) -> wire.Tensors:
        """See `Form`."""
        return _viewed(memoryview(self._rest.read(key, path)), path)


class Plain:
    """As they are."""

    mark = "plain"

    def name(self, key: str) -> str:
        """The key."""
        return key

    def write(self, tensors: wire.Tensors, key: str, file: BinaryIO) -> int:
        """See `Form`."""
        file.seek(HEAD)
        sha256 = wire.write(tensors, file)
        size = file.tell() - HEAD
        file.seek(0)
        file.write(MAGIC + bytes.fromhex(key) + bytes.fromhex(sha256) + size.to_bytes(8, "little"))
        file.flush()
        return HEAD + size

    def read(self, path: Path, key: str) -> wire.Tensors:
        """See `Form`. The tensors are views of the mapped file.

        They stay good when it is unlinked: POSIX keeps a mapped file's bytes until the last mapping is gone.
        """
        with path.open("rb") as file:
            try:
                mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except ValueError as error:  # an empty file
                raise StoreError(f"{path} is empty") from error
        body = mapped[HEAD:]
        if mapped[:8] != MAGIC or mapped[8:40] != bytes.fromhex(key):
            raise StoreError(f"{path} is not the entry that its name says")
        if len(body) != int.from_bytes(mapped[72:HEAD], "little") or hashlib.sha256(body).digest() != mapped[40:72]:
            raise StoreError(f"{path} does not have the digest it was written with")
        return _viewed(body, path)


def _viewed(body: memoryview, path: Path) -> wire.Tensors:
    try:
        return wire.view(body, str(path))
    except DataError as error:
        raise StoreError(str(error)) from error
