"""The journal of looks: which attempt of which look was given to whom, on the disk before that node is told.

It holds no pixel and no answer. What it is for: after a restart no older attempt counts as a new one, an answer that was
under way is still taken, and what hurts those that look at it is not tried for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedmed.store.journal import Journal

FILE = "looks.sqlite"
KEPT_S = 86400.0
_MADE = """
    CREATE TABLE IF NOT EXISTS looks (
        name TEXT PRIMARY KEY, attempt INTEGER NOT NULL, node TEXT NOT NULL, failures INTEGER NOT NULL, unix REAL NOT NULL
    ) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Given:
    """The newest attempt of a look."""

    attempt: int = 0
    node: str = ""
    """Empty where it is over."""
    failures: int = 0


class LookLog:
    """Safe from any thread, and after a kill at any moment."""

    def __init__(self, folder: Path) -> None:
        """Raises StoreError for a file that is no such database, or that cannot be written."""
        self._journal = Journal(folder / FILE, [_MADE], "make room, or remove it where it is damaged")

    def of(self, name: str) -> Given:
        """What is known of a look. Raises StoreError."""
        with self._journal.turn() as base:
            row = base.execute("SELECT attempt, node, failures FROM looks WHERE name = ?", (name,)).fetchone()
        return Given() if row is None else Given(int(row[0]), str(row[1]), int(row[2]))

    def note(self, name: str, given: Given, unix: float) -> None:
        """An attempt is given to a node, or is over; on the disk when this returns. Raises StoreError."""
        row = name, given.attempt, given.node, given.failures, unix
        with self._journal.turn() as base:
            base.execute("INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?)", row)

    def forget(self, before_unix: float) -> None:
        """Remove those that were written before. Raises StoreError."""
        with self._journal.turn() as base:
            base.execute("DELETE FROM looks WHERE unix < ?", (before_unix,))

    def close(self) -> None:
        """Be done with the file."""
        self._journal.close()
