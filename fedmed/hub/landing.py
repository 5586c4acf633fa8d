"""Where objects of devices arrive: named by their content, whole on the disk and verified before they are acknowledged.

arriving/DEVICE/DIGEST    what has come so far; its size is where the device goes on
held.sqlite               receipts: the object was given to whoever keeps its kind, and is on the disk

An object is given on first, its receipt written after, its beginning removed last: a hub that is killed in between gives it
on once more, and a keeper that names things by their content has it once. A receipt holds for all devices of the clinic:
what one of them sent needs no other.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import FedmedError, ProtocolRefused, QuotaRefused, StoreError
from fedmed.hub.messages import HELD, MOST_PARTS, Piece
from fedmed.hub.receipts import Receipts
from fedmed.wire.words import count

ARRIVING, RECEIPTS = "arriving", "held.sqlite"
STALE_S = 30 * 86400.0
"""What was begun and not gone on with for so long is removed: its device is gone, or has dropped it."""
KNOWN_S = 366 * 86400.0
"""What a device sends again after so long is taken again."""


@dataclass(frozen=True)
class Arrived:
    """One whole object, its digest checked."""

    device: str
    piece: Piece
    content: bytes


Keep = Callable[[Sequence[Arrived]], None]
"""Has the objects on the disk when it returns; called again for the same ones after a crash. Raises StoreError."""
Part = tuple[Piece, int, bytes]
"""Of an object, from an offset on, these bytes."""


class Landing:
    """One folder; safe from any thread, and one device waits for itself alone."""

    def __init__(self, folder: Path, keepers: Mapping[str, Keep], open_bytes: int, clock: Clock) -> None:
        """`keepers` by kind of object; `open_bytes` that a device may have begun and not ended. Raises StoreError."""
        self.folder, self._keepers, self._open_bytes, self._clock = folder, dict(keepers), open_bytes, clock
        self.receipts = Receipts(folder / RECEIPTS)
        self._locks: dict[str, threading.Lock] = {}
        self._turn, self._large = threading.Lock(), threading.Lock()

    def offset(self, device: str, piece: Piece) -> int:
        """From where the device is to send; `HELD` where it need not. Raises ProtocolRefused for a kind nobody keeps."""
        self._keeper(piece.kind)
        if self.receipts.holds(piece.digest):
            return HELD
        return min(_size(self._begun(device, piece.digest)), piece.size)

    def take(self, device: str, parts: Sequence[Part]) -> list[int | FedmedError]:
        """Of each part: from where to go on, `HELD` where the object is whole, verified and kept, or why it was refused.

        Data for another offset than the next is not taken: the answer tells the right one. What has another digest than its
        name is refused with ProtocolRefused, and begins anew; what is beyond a share with QuotaRefused; or StoreError.
        """
        with self._lock(device):
            answers: dict[int, int | FedmedError] = {}
            whole: dict[int, Arrived] = {}
            for index, part in enumerate(parts):
                with _caught(answers, [index]):
                    answers[index] = self._taken(device, part, index, whole)
            for kind in sorted({each.piece.kind for each in whole.values()}):
                of_kind = [index for index, each in whole.items() if each.piece.kind == kind]
                with _caught(answers, of_kind):
                    self._give(device, [whole[index] for index in of_kind])
        return [answers[index] for index in range(len(parts))]

    def _taken(self, device: str, part: Part, index: int, whole: dict[int, Arrived]) -> int:
        piece, offset, data = part
        if offset + len(data) > piece.size:
            raise ProtocolRefused(f"{len(data)} bytes at {offset} of an object of {piece.size}")
        known = self.offset(device, piece)
        if known != offset:
            return known
        if offset == 0 and len(data) == piece.size:
            whole[index] = self._checked(device, piece, data)
            return HELD
        self._check_room(device, piece)
        begun = self._begun(device, piece.digest)
        begun.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
            file.seek(offset)
            file.write(data)
            file.truncate()
        if offset + len(data) < piece.size:
            return offset + len(data)
        with self._large:  # in memory whole, one at a time
            self._give(device, [self._checked(device, piece, begun.read_bytes())])
        return HELD

    def _checked(self, device: str, piece: Piece, content: bytes) -> Arrived:
        if hashlib.sha256(content).hexdigest() != piece.digest:
            self._begun(device, piece.digest).unlink(missing_ok=True)
            raise ProtocolRefused(f"object {piece.digest[:12]}: its {piece.size} bytes have another digest; send it anew")
        return Arrived(device, piece, content)

    def _give(self, device: str, arrived: Sequence[Arrived]) -> None:
        """Objects of one kind, whole; once this returns they may be acknowledged."""
        self._keeper(arrived[0].piece.kind)(arrived)
        self.receipts.add(device, [each.piece for each in arrived], self._clock.unix())
        for each in arrived:
            self._begun(device, each.piece.digest).unlink(missing_ok=True)

    def _check_room(self, device: str, piece: Piece) -> None:
        others = [path for path in (self.folder / ARRIVING / device).glob("*") if path.name != piece.digest]
        begun = sum(_size(path) for path in others)
        if begun + piece.size > self._open_bytes or len(others) >= MOST_PARTS:
            raise QuotaRefused(
                f"{device!r} has begun {count(len(others), 'object')} of {begun} bytes, and one of {piece.size} more is "
                f"beyond its {MOST_PARTS} of {self._open_bytes}; end one first, or the clinic raises most_gigabytes_open in "
                "hub.yaml"
            )

    def forget(self, device: str) -> None:
        """Remove what a device began and will not end. Raises StoreError."""
        self._remove(self.folder / ARRIVING / device, float("-inf"))

    def sweep(self) -> None:
        """Remove what was not gone on with for `STALE_S`, and receipts after `KNOWN_S`. Raises StoreError."""
        self.receipts.forget(self._clock.unix() - KNOWN_S)
        for folder in (self.folder / ARRIVING).glob("*"):
            self._remove(folder, STALE_S)

    def _remove(self, folder: Path, older_s: float) -> None:
        with self._lock(folder.name):
            try:
                for path in folder.glob("*"):
                    if self._clock.unix() - path.stat().st_mtime > older_s:
                        path.unlink()
            except OSError as error:
                raise StoreError(f"{folder}: nothing can be removed there ({error.strerror}); mend the disk") from error

    def _keeper(self, kind: str) -> Keep:
        found = self._keepers.get(kind)
        if found is None:
            raise ProtocolRefused(f"an object of kind {kind!r}; this hub keeps {', '.join(sorted(self._keepers))}")
        return found

    def _begun(self, device: str, digest: str) -> Path:
        return self.folder / ARRIVING / device / digest

    def _lock(self, device: str) -> threading.Lock:
        with self._turn:
            return self._locks.setdefault(device, threading.Lock())


@contextmanager
def _caught(answers: dict[int, int | FedmedError], indices: Sequence[int]) -> Iterator[None]:
    """What is refused of these parts is their answer, and holds up no other."""
    try:
        yield
    except FedmedError as error:
        answers.update(dict.fromkeys(indices, error))
    except OSError as error:
        said = f"the hub cannot keep what arrives ({error.strerror}); it needs room, or its disk mended"
        answers.update(dict.fromkeys(indices, StoreError(said)))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
