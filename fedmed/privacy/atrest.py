"""Files of a service that are read whole, sealed: under a key for their use, each bound to its own name."""

from __future__ import annotations

from collections.abc import Iterable

from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import Pieces, Slices, sealed, unsealed

CHUNK_LOG2, ONE_LOG2 = 20, 25
"""Chunks of 1 MiB; what is one piece in memory has chunks of 32 MiB: most such files are one, and are never copied."""


class AtRest:
    """Closes and opens contents; where they lie is the caller's."""

    def __init__(self, key: bytes, use: str) -> None:
        """`key`: a store's, 32 bytes. Another `use` is another key."""
        self._key = derived(key, f"at rest: {use}")

    def closed(self, name: str, pieces: Iterable[bytes | memoryview]) -> list[bytes]:
        """The content of the file `name`, sealed, in pieces."""
        given = list(pieces)
        if len(given) == 1:
            return list(sealed(self._key, name, Slices(given[0]), ONE_LOG2))
        return list(sealed(self._key, name, Pieces(given), CHUNK_LOG2))

    def opened(self, name: str, content: bytes) -> bytes:
        """What was closed under this name. Raises SealBroken."""
        chunks = list(unsealed(self._key, name, Slices(content)))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
