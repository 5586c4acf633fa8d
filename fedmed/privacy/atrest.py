"""Files of a service that are read whole, sealed: under a key for their use, each bound to its own name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import Pieces, Source, sealed, unsealed

CHUNK_LOG2 = 20
"""Chunks of 1 MiB: what a processor's cache holds, so that one chunk's memory serves for the next, and is not had anew."""


class AtRest:
    """Closes and opens contents; where they lie is the caller's."""

    def __init__(self, key: bytes, use: str) -> None:
        """`key`: a store's, 32 bytes. Another `use` is another key."""
        self._key = derived(key, f"at rest: {use}")

    def closed(self, name: str, pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
        """The content of the file `name`, sealed piece by piece as they are taken."""
        return sealed(self._key, name, Pieces(pieces), CHUNK_LOG2)

    def opened(self, name: str, content: bytes) -> bytes:
        """What was closed under this name. Raises SealBroken."""
        return self._whole(name, BytesIO(content), len(content))

    def read(self, name: str, path: Path) -> bytes:
        """What was closed under this name and lies at `path`, opened as it is read. Raises SealBroken, OSError."""
        with path.open("rb", buffering=0) as file:
            return self._whole(name, file, os.fstat(file.fileno()).st_size)

    def _whole(self, name: str, source: Source, size: int) -> bytes:
        """`size`: of what was sealed, a little more than what comes out."""
        content = BytesIO()
        content.seek(size)
        content.write(b"\0")  # all its memory at once: what grows is copied on its way
        content.seek(0)
        for chunk in unsealed(self._key, name, source):
            content.write(chunk)
        content.truncate()
        return content.getvalue()  # its own memory, not a copy
