"""Transactions on a spool's database: each is on the disk when `change` returns, and those that come at once share one.

Who comes while nobody writes, writes; who comes meanwhile waits, and the first of them writes for all, so that four
associations do not wait for four syncs in a row. There is no thread and no delay in it. Within a transaction each change has
a savepoint of its own: one that is refused takes nothing with it. Where SQLite or the disk refuses all, each is tried alone.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fedmed.errors import StoreError
from fedmed.store.spool import opening, rescue
from fedmed.store.spool.ballast import Ballast
from fedmed.store.spool.entry import SpoolFull
from fedmed.store.spool.tables import Tables

COMMIT_BYTES = 16 * opening.PAGE
"""About what a change adds to the log beside contents."""
MOST_TOGETHER = 64
T = TypeVar("T")


@dataclass
class _Job:
    """One change, and what became of it."""

    work: Callable[[], Any]
    drains: bool
    made: Any = None
    error: StoreError | None = None
    is_over: bool = False


class Commits:
    """All access to the database, by one thread at a time: `lock` is held while it is read or changed."""

    def __init__(self, database: sqlite3.Connection, path: Path, ballast: Ballast) -> None:
        """`path`: of the database, for messages."""
        self.lock = threading.Lock()
        self.tables = Tables(database)
        self._db, self._path, self._ballast = database, path, ballast
        self._jobs, self._loose, self._settled = deque[_Job](), list[int](), list[int]()
        self._logged, self._is_closed = 0, False

    def close(self) -> None:
        """Nothing is read or changed any more."""
        with self.lock, suppress(sqlite3.Error):
            self._is_closed = True
            self._db.close()

    def change(self, work: Callable[[], T], drains: bool = False) -> T:
        """What `work` gives, in a transaction that is on the disk then; `drains` says that it makes room.

        `work` may be called twice, the first time without effect. Raises StoreError: nothing of it is kept.
        """
        job = _Job(work, drains)
        self._jobs.append(job)
        with self.lock:
            while not job.is_over:
                self._work_off()
        if job.error is not None:
            error, job.error = job.error, None
            try:
                raise error
            finally:
                del error  # it would lead back to itself, and hold the contents until Python looks for such circles
        made: T = job.made
        return made

    def reading(self, work: Callable[[], T]) -> T:
        """What `work` reads, by who holds the lock. Raises StoreError."""
        try:
            return work()
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def logged(self, count: int) -> None:
        """So many bytes of contents went into the log."""
        self._logged += count

    def settled(self, *numbers: int) -> None:
        """The contents of these entries are on the disk; the next transaction writes that down."""
        self._settled += numbers

    def gone(self) -> list[int]:
        """Names of files whose entries went, and that is on the disk; each is said once."""
        with self.lock:
            gone, self._loose = self._loose, []
        return gone

    def _work_off(self) -> None:
        jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), MOST_TOGETHER))]
        try:
            if len(jobs) == 1 or not self._together(jobs):
                for job in jobs:
                    self._alone(job)
        finally:
            for job in jobs:
                if not job.is_over:
                    job.error = StoreError(f"{self._path}: the transaction that this was in was broken off; do it again")
                    job.is_over = True

    def _together(self, jobs: Sequence[_Job]) -> bool:
        """Whether one transaction could take them all, but for those that it refused."""
        try:
            if self._logged >= opening.LOG_BYTES:
                self._carry_over()
            self._commit(lambda: self._within(jobs))
        except sqlite3.Error:
            return False
        for job in jobs:
            job.is_over = True
        return True

    def _within(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            loose = len(self.tables.loose)
            self._db.execute("SAVEPOINT job")
            try:
                job.made = job.work()
            except StoreError as error:
                self._db.execute("ROLLBACK TO job")
                del self.tables.loose[loose:]
                job.error = error
            self._db.execute("RELEASE job")

    def _alone(self, job: _Job) -> None:
        job.error = None
        try:
            try:
                if self._logged >= opening.LOG_BYTES and not job.drains:
                    self._carry_over()
                job.made = self._commit(job.work)
            except sqlite3.Error as error:
                refused = self._refused(error)
                if not (job.drains and isinstance(refused, SpoolFull) and self._ballast.let_go()):
                    raise refused from error
                job.made = self.reading(lambda: self._commit(job.work))
        except StoreError as error:
            job.error = error
        job.is_over = True

    def _commit(self, work: Callable[[], T]) -> T:
        self.tables.loose.clear()
        settled = self._settled[:]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            made = work()
            self.tables.settle(settled)
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        self._loose += self.tables.loose
        del self._settled[: len(settled)]
        self._logged += COMMIT_BYTES
        if self._logged >= opening.LOG_BYTES:
            with suppress(sqlite3.Error):  # this commit is on the disk; the next that takes something in says what is wrong
                self._carry_over()
        return made

    def _carry_over(self) -> None:
        """The log into the database: where the disk has no room for that, nothing more is taken in until it has.

        So the log holds little that the database has no room for, and the ballast lasts for what makes room.
        """
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._logged = 0
        if self._ballast.size:
            self._ballast.take()

    def _refused(self, error: sqlite3.Error) -> StoreError:
        if self._is_closed:
            return StoreError(f"{self._path.parent}: this spool was closed; open it again")
        refused = opening.translated(error, self._path)
        if isinstance(refused, opening.Damaged):
            with suppress(OSError):
                rescue.suspect(self._path.parent, str(refused))
            return StoreError(f"{self._path}: damaged ({refused}); it is set aside, and rescued, when the agent starts anew")
        return refused
