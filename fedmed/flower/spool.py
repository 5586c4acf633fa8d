"""What a clinic's node owes its center, on disk: messages it has begun on, and answers that are not all sent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from fedmed.flower.parcels import Parcel
from fedmed.identity.files import replace, sync_folder

INBOX, OUTBOX, HEAD = "inbox", "outbox", "head"


class Spool:
    """Two folders; a file is whole or not there."""

    def __init__(self, folder: Path) -> None:
        """Make the folders; what a killed process left half-written goes."""
        self._inbox, self._outbox = folder / INBOX, folder / OUTBOX
        for each in (self._inbox, self._outbox):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        for box in list(self._outbox.iterdir()):
            if not (box / HEAD).exists():
                shutil.rmtree(box)

    def keep_order(self, message_id: str, head: bytes) -> None:
        """Remember a message before anything is done about it."""
        replace(self._inbox / message_id, head)

    def orders(self) -> list[bytes]:
        """Messages that were begun on and not answered."""
        return [each.read_bytes() for each in sorted(self._inbox.iterdir()) if not each.name.startswith(".")]

    def drop_order(self, message_id: str) -> None:
        """The message is answered, or nobody waits for an answer."""
        (self._inbox / message_id).unlink(missing_ok=True)

    def keep_answer(self, parcel: Parcel) -> None:
        """Remember an answer, on the disk, before the center is told that its message is dealt with."""
        box = self._outbox / parcel.id
        box.mkdir(exist_ok=True, mode=0o700)
        for name, content in parcel.objects.items():
            with (box / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        replace(box / HEAD, parcel.head_bytes())
        sync_folder(self._outbox)

    def answers(self) -> Iterator[tuple[str, bytes]]:
        """Ids and heads of the answers that are not all sent."""
        for box in sorted(self._outbox.iterdir()):
            yield box.name, (box / HEAD).read_bytes()

    def object(self, answer: str, name: str) -> bytes:
        """One object of an answer."""
        return (self._outbox / answer / name).read_bytes()

    def drop_answer(self, answer: str) -> None:
        """The answer is sent, or nobody waits for it."""
        shutil.rmtree(self._outbox / answer, ignore_errors=True)
