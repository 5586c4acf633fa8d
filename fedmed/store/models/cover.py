"""How a registry's blobs are named and sealed: AES-256-GCM under names that tell nothing, or, written off, as they are."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import Source, Target, seal, unsealed

BLOCK = 1 << 20


class Cover(Protocol):
    """What lies between a file of a model and the blob of it."""

    @property
    def is_sealed(self) -> bool:
        """Whether somebody who has the blobs can read them only with a key."""

    def name(self, sha256: str) -> str:
        """The blob's name for a content (SHA-256, hex): the same for the same, 64 hex digits."""

    def write(self, name: str, source: Source, target: Target) -> None:
        """Write the blob of what `source` has. Raises OSError."""

    def read(self, name: str, blob: BinaryIO) -> Iterator[bytes]:
        """What was written. Raises SealBroken where it is sealed and was altered."""


class Sealed:
    """Under a key of 32 bytes."""

    is_sealed = True

    def __init__(self, key: bytes) -> None:
        self._naming, self._sealing = derived(key, "names of models"), derived(key, "models")

    def name(self, sha256: str) -> str:
        """A keyed digest: who has the model itself does not see that it is here."""
        return hmac.new(self._naming, bytes.fromhex(sha256), hashlib.sha256).hexdigest()

    def write(self, name: str, source: Source, target: Target) -> None:
        """Seal it under its name."""
        seal(self._sealing, name, source, target)

    def read(self, name: str, blob: BinaryIO) -> Iterator[bytes]:
        """Chunks, each proven."""
        return unsealed(self._sealing, name, blob)


class Bare:
    """As they are, under their digest."""

    is_sealed = False

    def name(self, sha256: str) -> str:
        """The digest."""
        return sha256

    def write(self, name: str, source: Source, target: Target) -> None:
        """Copy it."""
        while block := source.read(BLOCK):
            target.write(block)

    def read(self, name: str, blob: BinaryIO) -> Iterator[bytes]:
        """Blocks; nothing is proven."""
        while block := blob.read(BLOCK):
            yield block
