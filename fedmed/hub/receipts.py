"""Which objects of devices the hub has: one SQLite file, a row for each, on the disk before a device is told so."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.hub.messages import Piece

_MADE = """
    CREATE TABLE IF NOT EXISTS held (
        digest TEXT PRIMARY KEY, device TEXT NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL, unix REAL NOT NULL
    ) WITHOUT ROWID
"""


class Receipts:
    """Safe from any thread, and after a kill at any moment: SQLite's own log is synced at every commit."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError for a file that is no such database, or that cannot be written."""
        self._path, self._turn = path, threading.Lock()
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute(_MADE)

    def holds(self, digest: str) -> bool:
        """Whether the object is here. Raises StoreError."""
        with self._turn, self._told():
            return self._base.execute("SELECT 1 FROM held WHERE digest = ?", (digest,)).fetchone() is not None

    def add(self, device: str, pieces: Sequence[Piece], unix: float) -> None:
        """These are here, in one step that is on the disk when this returns. Raises StoreError."""
        rows = [(each.digest, device, each.kind, each.size, unix) for each in pieces]
        with self._turn, self._told():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                self._base.executemany("INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?, ?)", rows)
                self._base.execute("COMMIT")
            except sqlite3.Error:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    def forget(self, before_unix: float) -> None:
        """Remove those that were written before; what comes again is kept again. Raises StoreError."""
        with self._turn, self._told():
            self._base.execute("DELETE FROM held WHERE unix < ?", (before_unix,))

    def count(self) -> int:
        """How many there are. Raises StoreError."""
        with self._turn, self._told():
            return int(self._base.execute("SELECT count(*) FROM held").fetchone()[0])

    def close(self) -> None:
        """Be done with the file."""
        self._base.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path}: {error}; make room, mend the disk, or put a copy of it back") from error
