"""A small SQLite file that holds what a service's next process has to know: a commit is on the disk when it is made."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from fedmed.errors import StoreError

BUSY_S = 60.0
"""For another process' commit to come to its end."""


class Journal:
    """Safe from any thread and process, and after a kill at any moment: SQLite's own log is synced at every commit."""

    def __init__(self, path: Path, tables: Sequence[str], todo: str) -> None:
        """`tables`: what makes them where they are not there; `todo`: what to do about a file that fails.

        Raises StoreError for a file that is no such database, or that cannot be written.
        """
        self._path, self._todo, self._lock = path, todo, threading.Lock()
        with ExitStack() as undo, self._told():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._base = undo.enter_context(
                closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False))
            )
            for each in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", *tables):
                self._base.execute(each)
            undo.pop_all()

    @contextmanager
    def turn(self) -> Iterator[sqlite3.Connection]:
        """This thread alone, each statement a commit of its own. Raises StoreError for what fails in the block."""
        with self._lock, self._told():
            yield self._base

    @contextmanager
    def step(self) -> Iterator[sqlite3.Connection]:
        """This thread alone, all statements one commit, or none. Raises StoreError for what fails in the block."""
        with self.turn() as base:
            base.execute("BEGIN IMMEDIATE")
            try:
                yield base
                base.execute("COMMIT")
            finally:
                if base.in_transaction:
                    base.execute("ROLLBACK")

    def close(self) -> None:
        """Be done with the file; whatever is asked after this is refused with StoreError."""
        with self._lock:
            self._base.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path}: {error}; {self._todo}") from error
