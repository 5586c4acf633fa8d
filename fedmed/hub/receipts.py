"""Which objects of devices the hub has: one SQLite file, a row for each, on the disk before a device is told so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedmed.hub.messages import Piece
from fedmed.store.journal import Journal

_MADE = """
    CREATE TABLE IF NOT EXISTS held (
        digest TEXT PRIMARY KEY, device TEXT NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL, unix REAL NOT NULL
    ) WITHOUT ROWID
"""


class Receipts:
    """Safe from any thread, and after a kill at any moment."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError for a file that is no such database, or that cannot be written."""
        self._journal = Journal(path, [_MADE], "make room, mend the disk, or put a copy of it back")

    def holds(self, digest: str) -> bool:
        """Whether the object is here. Raises StoreError."""
        with self._journal.turn() as base:
            return base.execute("SELECT 1 FROM held WHERE digest = ?", (digest,)).fetchone() is not None

    def add(self, device: str, pieces: Sequence[Piece], unix: float) -> None:
        """These are here, in one step that is on the disk when this returns. Raises StoreError."""
        rows = [(each.digest, device, each.kind, each.size, unix) for each in pieces]
        with self._journal.step() as base:
            base.executemany("INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?, ?)", rows)

    def forget(self, before_unix: float) -> None:
        """Remove those that were written before; what comes again is kept again. Raises StoreError."""
        with self._journal.turn() as base:
            base.execute("DELETE FROM held WHERE unix < ?", (before_unix,))

    def count(self) -> int:
        """How many there are. Raises StoreError."""
        with self._journal.turn() as base:
            return int(base.execute("SELECT count(*) FROM held").fetchone()[0])

    def close(self) -> None:
        """Be done with the file."""
        self._journal.close()
