"""The keys that a clinic encrypts with: those it approved and its own, as the file says at each look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fedmed.identity.member import Identity
from fedmed.identity.pins import Pins


class PinnedKeys(Mapping[bytes, bytes]):
    """Fingerprint -> Ed25519 public key; an approval given or taken back counts from the next look on."""

    def __init__(self, path: Path, me: Identity) -> None:
        """Raises PinRefused, KeyRefused as `Pins`."""
        self._path, self._me = path, me
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[bytes, bytes] = {}
        self._now()

    def _now(self) -> dict[bytes, bytes]:
        try:
            found = self._path.stat()
            seen = found.st_ino, found.st_mtime_ns, found.st_size
        except FileNotFoundError:
            seen = (0, 0, 0)
        if seen != self._seen:
            self._keys = {**Pins(self._path).signing_keys(), self._me.fingerprint: self._me.signing_public}
            self._seen = seen
        return self._keys

    def __getitem__(self, fingerprint: bytes) -> bytes:
        return self._now()[fingerprint]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())
