"""What lies between a content and its file on the disk: a seal, or, where the caller has no key to keep, nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class AtRest(Protocol):
    """See `fedmed.privacy.atrest.AtRest`."""

    def closed(self, name: str, pieces: Iterable[bytes | memoryview]) -> Iterable[bytes | memoryview]:
        """The file's bytes, for the content under this name."""

    def opened(self, name: str, content: bytes) -> bytes:
        """What was closed. Raises StoreError for what was not closed so."""

    def read(self, name: str, path: Path) -> bytes:
        """What was closed, and lies in this file. Raises StoreError as `opened`, OSError."""


class InClear:
    """As it is: for what lives no longer than the process that wrote it, and in simulations."""

    def closed(self, name: str, pieces: Iterable[bytes | memoryview]) -> Iterable[bytes | memoryview]:
        """The pieces."""
        return pieces

    def opened(self, name: str, content: bytes) -> bytes:
        """The content."""
        return content

    def read(self, name: str, path: Path) -> bytes:
        """The content."""
        return path.read_bytes()


IN_CLEAR = InClear()
