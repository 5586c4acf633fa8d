"""A counter that lies elsewhere than the keystore it counts for, so that an old copy of the keystore is known for one.

The file lies beside the key, on another mount. Who restores both mounts to the same moment is not found out: that takes a
counter in hardware (a TPM's), which is not built.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

from fedmed.errors import StoreError
from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import HEADER, TAG, SealBroken, seal, unsealed
from fedmed.store.disk import Disk, write_file
from fedmed.store.keyslots import ID

_COUNT = struct.Struct(f">{ID}sQ")
_BOUND = "keystore counter 1"
_SIZE = HEADER + _COUNT.size + TAG


@dataclass(frozen=True)
class Count:
    """How often a keystore was written to."""

    keystore: bytes
    """The keystore's own 16 bytes."""
    generation: int


class Counter(Protocol):
    """Remembers one count and never goes back."""

    def read(self) -> Count | None:
        """The count; None where none was ever kept. Raises StoreError where it is damaged."""

    def advance(self, count: Count) -> None:
        """Keep a higher count, on the disk before this returns. Raises OSError."""


class CounterFile:
    """A counter in a file, sealed with the keystore's key."""

    def __init__(self, path: Path, key: bytes, disk: Disk | None = None) -> None:
        self.path, self._key, self._disk = path, derived(key, "keystore counter"), disk or Disk()

    def read(self) -> Count | None:
        """The count; None where there is no file. Raises StoreError where it is not what was written with this key."""
        try:
            with self.path.open("rb") as file:
                content = file.read(_SIZE + 1)
            opened = b"".join(unsealed(self._key, _BOUND, BytesIO(content)))
            return Count(*_COUNT.unpack(opened))
        except FileNotFoundError:
            return None
        except (OSError, SealBroken, struct.error) as error:
            raise StoreError(
                f"{self.path}: the counter cannot be read ({type(error).__name__}): it is damaged, or is of another key. "
                "Mount the right medium; where the counter is lost, begin again with another key and an empty keystore"
            ) from error

    def advance(self, count: Count) -> None:
        """Write the count beside its place, sync it and rename it. Raises OSError."""
        temporary = self.path.with_name(f".{self.path.name}.new")
        if temporary.exists():
            self._disk.remove(temporary)
        target = BytesIO()
        seal(self._key, _BOUND, BytesIO(_COUNT.pack(count.keystore, count.generation)), target)
        write_file(self._disk, temporary, lambda sink: sink.write(target.getvalue()))
        self._disk.rename(temporary, self.path)
        self._disk.sync_folder(self.path.parent)
