"""What lies between a content and its file on the disk: a seal, or, where the caller has no key to keep, nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol


class AtRest(Protocol):
    """See `fedmed.privacy.atrest.AtRest`."""

    def closed(self, name: str, pieces: Iterable[bytes | memoryview]) -> Iterable[bytes | memoryview]:
        """The file's bytes, for the content under this name."""

    def opened(self, name: str, source: BinaryIO) -> bytes:
        """The content of the file. Raises StoreError for one that was not closed so."""


class InClear:
    """As it is: for what lives no longer than the process that wrote it, and in simulations."""

    def closed(self, name: str, pieces: Iterable[bytes | memoryview]) -> Iterable[bytes | memoryview]:
        """The pieces."""
        return pieces

    def opened(self, name: str, source: BinaryIO) -> bytes:
        """The content."""
        return source.read()


IN_CLEAR = InClear()
