"""Files of a service that are read whole, sealed: under a key for their use, each bound to its own name."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import Pieces, sealed, unsealed

CHUNK_LOG2 = 20
"""Chunks of 1 MiB: whoever reads the whole waits for no first chunk, and larger ones take less time."""


class AtRest:
    """Closes and opens contents; where they lie is the caller's."""

    def __init__(self, key: bytes, use: str) -> None:
        """`key`: a store's, 32 bytes. Another `use` is another key."""
        self._key = derived(key, f"at rest: {use}")

    def closed(self, name: str, pieces: Iterable[bytes | memoryview]) -> list[bytes]:
        """The content of the file `name`, sealed, in pieces."""
        return list(sealed(self._key, name, Pieces(pieces), CHUNK_LOG2))

    def opened(self, name: str, content: bytes) -> bytes:
        """What was closed under this name. Raises SealBroken."""
        return b"".join(unsealed(self._key, name, BytesIO(content)))
