"""What the clinic has for its devices, as files: configuration, releases, tasks. A device fetches it by digest.

down/_all/KIND/NAME      for every device
down/DEVICE/KIND/NAME    for one; in place of the file for all of the same kind and name

Whoever puts a file there writes it beside its place and renames it. Only a device of this clinic can reach any of it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.hub.messages import KIND, MOST_BODY, MOST_PARTS, NAME, Owed

ALL = "_all"
"""No device is called so."""
_Stamp = tuple[int, int, int]


class Desk(Protocol):
    """What the hub asks of whoever has something for devices."""

    def owed(self, device: str) -> Sequence[Owed]:
        """All that the device is to have, at most `MOST_PARTS`. Raises StoreError."""

    def read(self, device: str, digest: str, offset: int) -> tuple[Owed, bytes]:
        """What has this digest, and up to `MOST_BODY` bytes of it from `offset` on.

        Raises ProtocolRefused for what the device is not owed, StoreError.
        """


class FolderDesk:
    """A desk in a folder; digests are reckoned once for each state of a file. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._turn = folder, threading.Lock()
        self._digests: dict[Path, tuple[_Stamp, str]] = {}

    def owed(self, device: str) -> Sequence[Owed]:
        """As `Desk`."""
        return [owed for owed, _ in self._found(device)][:MOST_PARTS]

    def read(self, device: str, digest: str, offset: int) -> tuple[Owed, bytes]:
        """As `Desk`."""
        for owed, path in self._found(device):
            if owed.digest == digest:
                try:
                    with path.open("rb") as file:
                        file.seek(offset)
                        return owed, file.read(MOST_BODY)
                except OSError as error:
                    raise StoreError(f"{owed.kind} {owed.name} cannot be read at the hub ({error.strerror})") from error
        raise ProtocolRefused(f"{digest[:12]} is nothing that {device!r} is owed now; ask for orders again")

    def _found(self, device: str) -> list[tuple[Owed, Path]]:
        places: dict[tuple[str, str], Path] = {}
        for who in (ALL, device):
            top = self.folder / who
            for path in sorted(top.glob("*/**/*")):
                kind, _, name = path.relative_to(top).as_posix().partition("/")
                if KIND.fullmatch(kind) and NAME.fullmatch(name) and not path.name.startswith(".") and path.is_file():
                    places[kind, name] = path
        found = ((kind, name, path, self._digest(path)) for (kind, name), path in sorted(places.items()))
        return [(Owed(kind, name, known[1], known[0][2]), path) for kind, name, path, known in found if known is not None]

    def _digest(self, path: Path) -> tuple[_Stamp, str] | None:
        try:
            status = path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            with self._turn:
                known = self._digests.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, _sha256(path))
                with self._turn:
                    self._digests[path] = known
        except FileNotFoundError:  # taken away meanwhile
            return None
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror})") from error
        return known


def _sha256(path: Path) -> str:
    made = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(MOST_BODY):
            made.update(block)
    return made.hexdigest()
