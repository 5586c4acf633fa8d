"""The archive's own side: packs sealed on their way out, proven on their way back, in a store that is trusted with neither.

fedmed-archive    sealed: which clinic's archive this is; made once, and without it nothing moves
NAME              one pack each, 64 hexadecimal digits

Nothing is written on this machine's disk on the way, which may be all but full.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

from fedmed.clock import Clock
from fedmed.errors import ArchiveAltered, ConfigError, StoreError
from fedmed.privacy.atrest import AtRest
from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import Pieces, SealBroken, Source, sealed, sealed_size, unsealed
from fedmed.store.archive.pack import Item, Manifest, Read, contents, opened
from fedmed.store.blobs import FolderStore, Store
from fedmed.wire.canonical import canonical

MARK = "fedmed-archive"
MOST_MARK = 1 << 16
CHUNK_LOG2 = 20
BLOCK = 1 << 20
NAME = re.compile(r"[0-9a-f]{64}")


class Vault:
    """One clinic's archive in one store; for one thread at a time."""

    def __init__(
        self,
        store: Store,
        key: bytes,
        clinic: str,
        clock: Clock,
        bytes_per_s: float | None = None,
        ending: Callable[[], bool] = lambda: False,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`key`: 32 bytes, of the archive alone. What is under way ends with StoreError once `ending` says so."""
        self.store, self.clinic, self._clock = store, clinic, clock
        self._naming, self._sealing, self._marking = (
            derived(key, "names in the archive"),
            derived(key, "packs in the archive"),
            AtRest(key, "mark of the archive"),
        )
        self._bytes_per_s, self._ending, self._random_bytes = bytes_per_s, ending, random_bytes

    def mark(self) -> str | None:
        """Which archive is there; None for none. Raises ArchiveAltered for one of another clinic or key, StoreError."""
        where = self.store.where(MARK)
        try:
            with self._asking(MARK), self.store.open(MARK) as blob:
                content = blob.read(MOST_MARK)
        except FileNotFoundError:
            return None
        try:
            said = json.loads(self._marking.opened(MARK, content))
        except SealBroken as error:
            raise ArchiveAltered(
                f"{where}: the archive there was begun with another key, by another clinic or by this one; put the key "
                "back, or name another prefix or folder in archive.to"
            ) from error
        if said["clinic"] != self.clinic:
            raise ConfigError(
                f"{where}: is the archive of {said['clinic']}, and this clinic is {self.clinic}; name another place"
            )
        return str(said["mark"])

    def begin(self) -> str:
        """Begin an archive there; its mark. Raises StoreError."""
        mark = self._random_bytes(16).hex()
        content = b"".join(self._marking.closed(MARK, [canonical({"clinic": self.clinic, "mark": mark})]))
        with self._asking(MARK):
            self.store.put(MARK, BytesIO(content), len(content))
        return mark

    def sweep(self) -> None:
        """Remove what a killed process had half written; a store that speaks S3 shows none of it. Raises StoreError."""
        if isinstance(self.store, FolderStore):
            with self._asking(""):
                self.store.sweep()

    def names(self) -> dict[str, int]:
        """Bytes of what may be a pack, by name. Raises StoreError."""
        with self._asking(""):
            return {name: size for name, size in self.store.names().items() if NAME.fullmatch(name)}

    def name(self, manifest: Manifest) -> str:
        """The name of a pack: the same for the same objects."""
        return hmac.new(self._naming, bytes.fromhex(manifest.identity()), hashlib.sha256).hexdigest()

    def put(self, manifest: Manifest, read: Read) -> str:
        """Send a pack; its name. Raises StoreError, also where an object here was changed meanwhile."""
        name = self.name(manifest)
        size = sealed_size(len(manifest.head()) + manifest.size, CHUNK_LOG2)
        pieces = sealed(self._sealing, _bound(name), Pieces(contents(manifest, read)), CHUNK_LOG2, self._random_bytes)
        with self._asking(name):
            self.store.put(name, _Paced(Pieces(pieces), self._pace), size)
        return name

    def check(self, name: str) -> Manifest:
        """What a pack holds, every byte of it read back and proven. Raises ArchiveAltered, StoreError."""
        with self.open(name) as (manifest, objects):
            for _ in objects:
                pass
        return manifest

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[Manifest, Iterator[tuple[Item, bytes]]]]:
        """A pack's manifest and its objects, each proven before it is given. Raises ArchiveAltered, StoreError."""
        where = self.store.where(name)
        try:
            with self._asking(name), self.store.open(name) as blob:
                manifest, objects = opened(where, unsealed(self._sealing, _bound(name), _Paced(blob, self._pace)))
                if self.name(manifest) != name:
                    raise ArchiveAltered(f"{where}: holds other objects than its name says")
                yield manifest, objects
        except FileNotFoundError as error:
            raise ArchiveAltered(f"{where}: is missing; put a copy of it back, if there is one") from error
        except SealBroken as error:
            raise ArchiveAltered(
                f"{where}: is not what was sealed there with this clinic's key; put a copy of it back, if there is one"
            ) from error

    def _pace(self, size: int) -> None:
        if self._ending():
            raise StoreError("asked to stop; the next start goes on")
        if self._bytes_per_s is not None:
            self._clock.sleep(size / self._bytes_per_s)

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{self.store.where(name)}: {error.strerror or error}; it is tried again") from error


class _Paced:
    """A source that is read no faster than it may be."""

    def __init__(self, source: Source, pace: Callable[[int], None]) -> None:
        self._source, self._pace = source, pace

    def read(self, size: int, /) -> bytes:
        """As the source."""
        data = self._source.read(size)
        self._pace(len(data))
        return data


def _bound(name: str) -> str:
    return f"archive/{name}"
