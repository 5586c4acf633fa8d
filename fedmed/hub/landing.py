"""Where objects of devices arrive: named by their content, whole on the disk and verified before they are acknowledged.

arriving/DEVICE/DIGEST    what has come so far; its size is where the device goes on
held/DI/GEST              a receipt: the object was given to whoever keeps its kind, and is on the disk

An object is given on first, its receipt written after, its beginning removed last: a hub that is killed in between gives it
on once more, and a keeper that names things by their content has it once. A receipt holds for all devices of the clinic:
what one of them sent needs no other.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import ProtocolRefused, QuotaRefused, StoreError
from fedmed.hub.messages import HELD, MOST_PARTS, Piece
from fedmed.identity import files
from fedmed.wire.canonical import canonical

ARRIVING, RECEIPTS = "arriving", "held"
STALE_S = 30 * 86400.0
"""What was begun and not gone on with for so long is removed: its device is gone, or has dropped it."""


@dataclass(frozen=True)
class Arrived:
    """One whole object, its digest checked."""

    device: str
    piece: Piece
    content: bytes


Keep = Callable[[Arrived], None]
"""Has the object on the disk when it returns; called again for the same object after a crash. Raises StoreError."""


class Landing:
    """One folder; safe from any thread, and one device waits for itself alone."""

    def __init__(self, folder: Path, keepers: Mapping[str, Keep], open_bytes: int, clock: Clock) -> None:
        """`keepers` by kind of object; `open_bytes` that a device may have begun and not ended."""
        self.folder, self._keepers, self._open_bytes, self._clock = folder, dict(keepers), open_bytes, clock
        self._locks: dict[str, threading.Lock] = {}
        self._turn, self._large = threading.Lock(), threading.Lock()

    def offset(self, device: str, piece: Piece) -> int:
        """From where the device is to send; `HELD` where it need not. Raises ProtocolRefused for a kind nobody keeps."""
        self._keeper(piece)
        if self._receipt(piece.digest).exists():
            return HELD
        return min(_size(self._begun(device, piece.digest)), piece.size)

    def take(self, device: str, piece: Piece, offset: int, data: bytes) -> int:
        """Put `data` at `offset`; from where to go on, or `HELD` where the object is whole, verified and kept.

        Data for another offset than the next is not taken: the answer tells the right one. Raises ProtocolRefused where the
        whole has another digest than its name (it begins anew then), QuotaRefused, StoreError.
        """
        if offset + len(data) > piece.size:
            raise ProtocolRefused(f"{len(data)} bytes at {offset} of an object of {piece.size}")
        with self._lock(device):
            try:
                return self._taken(device, piece, offset, data)
            except OSError as error:
                raise StoreError(
                    f"the hub cannot keep what arrives ({error.strerror}); it needs room, or its disk mended"
                ) from error

    def _taken(self, device: str, piece: Piece, offset: int, data: bytes) -> int:
        known, begun = self.offset(device, piece), self._begun(device, piece.digest)
        if known != offset:
            return known
        if offset == 0 and len(data) == piece.size:
            return self._given(device, piece, data, begun)
        self._check_room(device, piece)
        begun.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
            file.seek(offset)
            file.write(data)
            file.truncate()
        if offset + len(data) < piece.size:
            return offset + len(data)
        with self._large:  # in memory whole, one at a time
            return self._given(device, piece, begun.read_bytes(), begun)

    def _given(self, device: str, piece: Piece, content: bytes, begun: Path) -> int:
        if hashlib.sha256(content).hexdigest() != piece.digest:
            begun.unlink(missing_ok=True)
            raise ProtocolRefused(f"object {piece.digest[:12]}: its {piece.size} bytes have another digest; send it anew")
        self._keeper(piece)(Arrived(device, piece, content))
        said = {"device": device, "kind": piece.kind, "size": piece.size, "unix": self._clock.unix()}
        files.replace(self._receipt(piece.digest), canonical(said) + b"\n", mark=f".{device}")
        begun.unlink(missing_ok=True)
        return HELD

    def _check_room(self, device: str, piece: Piece) -> None:
        others = [path for path in (self.folder / ARRIVING / device).glob("*") if path.name != piece.digest]
        begun = sum(_size(path) for path in others)
        if begun + piece.size > self._open_bytes or len(others) >= MOST_PARTS:
            raise QuotaRefused(
                f"{device!r} has begun {len(others)} objects of {begun} bytes, and one of {piece.size} more is beyond its "
                f"{MOST_PARTS} of {self._open_bytes}; end one first, or the clinic raises most_gigabytes_open in hub.yaml"
            )

    def forget(self, device: str) -> None:
        """Remove what a device began and will not end."""
        self._remove(self.folder / ARRIVING / device, float("-inf"))

    def sweep(self) -> None:
        """Remove what was not gone on with for `STALE_S`."""
        for folder in (self.folder / ARRIVING).glob("*"):
            self._remove(folder, STALE_S)

    def _remove(self, folder: Path, older_s: float) -> None:
        with self._lock(folder.name):
            for path in folder.glob("*"):
                if self._clock.unix() - path.stat().st_mtime > older_s:
                    path.unlink()

    def _keeper(self, piece: Piece) -> Keep:
        found = self._keepers.get(piece.kind)
        if found is None:
            raise ProtocolRefused(f"an object of kind {piece.kind!r}; this hub keeps {', '.join(sorted(self._keepers))}")
        return found

    def _begun(self, device: str, digest: str) -> Path:
        return self.folder / ARRIVING / device / digest

    def _receipt(self, digest: str) -> Path:
        return self.folder / RECEIPTS / digest[:2] / digest[2:]

    def _lock(self, device: str) -> threading.Lock:
        with self._turn:
            return self._locks.setdefault(device, threading.Lock())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
