"""The durable spool of a device: what was put is on the disk when `put` returns, and a step is made once.

The order of calls is the protocol. `next` hands an entry out; until `turn`, `done` or `defer` names it, it is nobody else's,
and those behind it in its group wait. After a crash what was handed out is handed out again: a step whose `turn` returned is
made, any other is not. Any number of threads may use a spool; one process owns it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from fedmed.clock import Clock
from fedmed.errors import FedmedError, StoreError
from fedmed.store.disk import Disk
from fedmed.store.spool import opening, rescue
from fedmed.store.spool.ballast import Ballast
from fedmed.store.spool.entry import KINDS, MOST_PRIORITY, Counts, Entry, New, Put, Rescue, SpoolFull
from fedmed.store.spool.envelope import Closed, Envelope
from fedmed.store.spool.quota import DAMAGED, DAY_S, Quota, make_room, weight
from fedmed.store.spool.tables import Row, Tables

MOST_WAIT_S = DAY_S
"""Longest that an entry is deferred; what waits longer does so because the clock was set back, and is handed out."""
MOST_WHY = 200
COMMIT_BYTES = 16 * opening.PAGE
"""About what a commit adds to the log beside contents."""
T = TypeVar("T")


class Spool:
    """See the module. Methods raise StoreError where the disk refuses or the database is damaged; nothing changed then."""

    def __init__(
        self, folder: Path, clock: Clock, quota: Quota, dropped: Callable[[Entry, str], None], key: bytes | None = None
    ) -> None:
        """`dropped` is told, once it is on the disk, of each entry that went; again after a crash, and until it returns.

        Contents and facts are sealed with `key`, 32 bytes, where one is given. Raises StoreError where another process owns
        the spool, or it was made with another key; SpoolFull where the disk is full. A damaged one is set aside: `rescued`.
        """
        self.folder, self.quota = folder, quota
        self.rescued: Rescue | None = None
        self._clock, self._dropped, self._envelope = clock, dropped, Envelope(key)
        self._ballast, self._path = Ballast(folder, quota.ballast), folder / opening.NAME
        self._lock, self._telling = threading.Lock(), threading.Lock()
        self._taken, self._logged, self._untold = set[int](), 0, True
        try:
            Disk().make_folder(folder)
            self._owned = opening.lock(folder)
        except OSError as error:
            raise StoreError(f"{folder}: no spool can be kept there ({error.strerror}); name another folder") from error
        with ExitStack() as undo:
            undo.callback(os.close, self._owned)
            try:
                self._db = self._open()
            except OSError as error:
                raise StoreError(
                    f"{folder}: the spool cannot be opened ({error.strerror}); make room or mend the disk"
                ) from error
            undo.pop_all()
        self._tables = Tables(self._db)
        if quota.ballast:
            self._ballast.take()
        self._tell()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; what is in the spool stays there."""
        with self._lock, suppress(sqlite3.Error):
            self._db.close()
        if self._owned >= 0:
            os.close(self._owned)
            self._owned = -1

    def put(self, *new: New) -> list[Put]:
        """Keep these, all or none. A content of a kind that is here, or was finished within the quota's days, is not new.

        Raises SpoolFull where there is no room, by the quota or on the disk, and DataError for what a spool does not hold.
        """
        closed = [self._closed(each) for each in new]
        return self._change(lambda: self._insert(closed))

    def turn(self, number: int, *new: New) -> list[Put]:
        """An entry is finished, and what came of it is put: both or neither. Raises as `put`, and where it is not here."""
        return self.turn_all((number,), *new)

    def turn_all(self, numbers: Sequence[int], *new: New) -> list[Put]:
        """As `turn`, for what came of several entries together: all of it or nothing."""
        closed = [self._closed(each) for each in new]

        def work() -> list[Put]:
            if (found := self._finish(*numbers)) < len(numbers):
                told = f"entry {numbers[0]} is" if len(numbers) == 1 else f"of {len(numbers)} entries {found} are"
                raise StoreError(f"{told} not in the spool: a step is made once; go on with `next`")
            return self._insert(closed)

        made = self._change(work, drains=True)
        self._free(*numbers)
        return made

    def later(self, kind: str, number: int, most: int = 1024) -> list[Entry]:
        """Up to `most` entries of a kind that were put after the one of this number, in order; handed out to nobody.

        One whose head the disk changed is dropped, counted and told.
        """
        with self._lock:
            rows = self._reading(lambda: self._tables.later(kind, number, most))
        for row in rows:
            if not self._is_readable(row):
                self.drop(row.number, DAMAGED)
        return [self._entry(row) for row in rows if self._is_readable(row)]

    def has(self, kind: str, group: str) -> bool:
        """Whether anything of a kind and group is here."""
        with self._lock:
            return self._reading(lambda: self._tables.has_line(self._envelope.line(kind, group)))

    def next(self, kinds: Iterable[str], now: float, least: int = -MOST_PRIORITY) -> Entry | None:
        """The most urgent entry of these kinds that may go at `now` (seconds since 1970), and nobody works on; None: none.

        It has the priority `least` or a higher one.

        Among those of one priority the oldest; within a kind, never before another of its group that was put earlier.
        """
        return next(iter(self.batch(kinds, now, least, most=1)), None)

    def batch(
        self, kinds: Iterable[str], now: float, least: int = -MOST_PRIORITY, most: int = 256, most_bytes: int = 8 << 20
    ) -> list[Entry]:
        """What `next` would give, and those behind it in its group, in order: up to `most`, with up to `most_bytes` content.

        All are handed out at once, so that they can leave in one go and be `done` in one; the first comes at any size.
        """
        while True:
            with self._lock:
                rows = self._reading(lambda: self._several(kinds, now, least, most, most_bytes))
                self._taken.update(row.number for row in rows)
            try:
                return [self._entry(row) for row in rows]
            except StoreError:  # what can be read is handed out again, in the next round
                self._free(*(row.number for row in rows))
                for row in rows:
                    if not self._is_readable(row):
                        self.drop(row.number, DAMAGED)

    def content(self, entry: Entry) -> bytes:
        """What was put, byte for byte. Raises StoreError; one that the disk changed is dropped then, counted and told."""
        mark = self._envelope.content_mark(entry.kind, entry.digest)
        with self._lock:
            body = self._reading(lambda: self._tables.body(entry.number))
        if body is None:
            raise StoreError(f"entry {entry.number} is not in the spool: it was finished with, or dropped")
        try:
            return self._envelope.content(mark, entry.digest, body)
        except StoreError as error:
            self.drop(entry.number, DAMAGED)
            raise StoreError(
                f"entry {entry.number} of {entry.kind} was damaged on the disk and is dropped: {error}"
            ) from error

    def done(self, *numbers: int) -> None:
        """These are finished with; their contents are remembered. Those that are not here any more are passed over."""
        self._change(lambda: self._finish(*numbers), drains=True)
        self._free(*numbers)

    def defer(self, number: int, until_unix: float, why: str) -> None:
        """Hand an entry out again, and what is behind it in its group, when `until_unix` has come, in a day at most."""
        until = min(until_unix, self._clock.unix() + MOST_WAIT_S)
        try:
            self._change(lambda: self._tables.defer(number, until, why[:MOST_WHY]), drains=True)
        finally:  # on a disk that refuses it is handed out again at once, rather than never
            self._free(number)

    def drop(self, number: int, reason: str) -> None:
        """Let an entry go that nobody can use, such as one that is no DICOM: counted, and told."""
        self._change(lambda: self._let_go(number, reason[:MOST_WHY]), drains=True)
        self._free(number)

    def counts(self) -> Counts:
        """What is here, and what went."""
        now = self._clock.unix()
        with self._lock:
            return self._reading(lambda: self._counted(now))

    def _open(self) -> sqlite3.Connection:
        why = rescue.suspected(self.folder)
        try:
            if why is None:
                try:
                    return opening.open_sound(self._path, self._envelope.check)
                except SpoolFull:
                    if not self._ballast.let_go():
                        raise
                    return opening.open_sound(self._path, self._envelope.check)
        except opening.Damaged as error:
            rescue.suspect(self.folder, str(error))
        self._ballast.let_go()
        self.rescued = rescue.rescue(self.folder, self._clock.unix(), self._envelope)
        return opening.open_sound(self._path, self._envelope.check)

    def _change(self, work: Callable[[], T], drains: bool = False) -> T:
        """One transaction, on the disk when this returns; `drains` says that it makes room."""
        with self._lock:
            try:
                if self._logged >= opening.LOG_BYTES and not drains:
                    self._carry_over()
                made = self._commit(work)
            except sqlite3.Error as error:
                refused = self._refused(error)
                if not (drains and isinstance(refused, SpoolFull) and self._ballast.let_go()):
                    raise refused from error
                made = self._reading(lambda: self._commit(work))
        if self._untold:
            self._tell()
        return made

    def _commit(self, work: Callable[[], T]) -> T:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            made = work()
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
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
        if self.quota.ballast:
            self._ballast.take()

    def _reading(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: sqlite3.Error) -> StoreError:
        if self._owned < 0:
            return StoreError(f"{self.folder}: this spool was closed; open it again")
        refused = opening.translated(error, self._path)
        if isinstance(refused, opening.Damaged):
            with suppress(OSError):
                rescue.suspect(self.folder, str(refused))
            return StoreError(f"{self._path}: damaged ({refused}); it is set aside, and rescued, when the agent starts anew")
        return refused

    def _closed(self, new: New) -> Closed:
        return self._envelope.closed(new, self._clock.unix())

    def _insert(self, closed: list[Closed]) -> list[Put]:
        first = number = self._tables.next_number()
        made = list[Put]()
        for each in closed:
            entry = each.entry
            if (known := self._tables.of_mark(each.mark)) is not None:
                made.append(Put(self._entry(known), False))
            elif (was := self._tables.finished(each.mark, self._remembered)) is not None:
                made.append(Put(replace(entry, number=was), False))
            else:
                need = weight(len(each.head), len(each.body))
                self._make_room(need, entry, first)
                row = Row(number, entry.kind, each.mark, entry.priority, entry.size, entry.unix, each.head)
                self._tables.insert(row, each.line, need, each.body)
                self._logged += need
                made.append(Put(replace(entry, number=number), True))
                number += 1
        return made

    def _make_room(self, need: int, entry: Entry, first: int) -> None:
        candidates = (each for each in self._tables.least(first) if each.number not in self._taken)
        for drop in make_room(self.quota, self._tables.used(), need, entry.priority, entry.unix, candidates):
            self._let_go(drop.number, drop.reason)

    def _finish(self, *numbers: int) -> int:
        """How many of them were here; the first of a line last, so that only one that stays becomes the first."""
        self._tables.forget(self._remembered)
        return sum(self._tables.finish(number, self._clock.unix()) for number in sorted(numbers, reverse=True))

    @property
    def _remembered(self) -> float:
        """Since when finished contents are remembered."""
        return self._clock.unix() - self.quota.days * DAY_S

    def _let_go(self, number: int, reason: str) -> None:
        self._tables.drop(number, reason)
        self._untold = True

    def _several(self, kinds: Iterable[str], now: float, least: int, most: int, most_bytes: int) -> list[Row]:
        first = self._first(kinds, now, least)
        found = [] if first is None else [first]
        size = 0 if first is None else first.size
        for row, until in self._tables.behind(first.number, most - 1) if first is not None else ():
            size += row.size
            if row.number in self._taken or row.priority < least or now < until <= now + MOST_WAIT_S or size > most_bytes:
                break
            found.append(row)
        return found

    def _first(self, kinds: Iterable[str], now: float, least: int) -> Row | None:
        found = list[tuple[int, int]]()
        for kind in kinds:
            ready = self._tables.ready(kind, least, now, now + MOST_WAIT_S)
            found += [next(((-priority, number) for priority, number in ready if number not in self._taken), (0, 0))]
        best = min((each for each in found if each[1]), default=None)
        return None if best is None else self._tables.of_number(best[1])

    def _counted(self, now: float) -> Counts:
        totals, drops = self._tables.totals(), self._tables.drops()
        return Counts(
            {kind: totals[kind][0] for kind in KINDS},
            {kind: totals[kind][1] for kind in KINDS},
            self._tables.used(),
            self._tables.deferred(now),
            {reason: entries for reason, (entries, _) in drops.items()},
            sum(size for _, size in drops.values()),
            len(self._tables.untold()),
            self._tables.oldest(),
        )

    def _tell(self) -> None:
        """Of what went; what nobody takes note of is told again."""
        with self._telling:
            with self._lock:
                rows, self._untold = self._reading(self._tables.untold), False
            told = list[int]()
            try:
                for row, reason in rows:
                    self._dropped(self._entry_or_less(row), reason)
                    told.append(row.number)
            except (FedmedError, OSError):
                self._untold = True
            finally:
                if told:
                    with self._lock, suppress(sqlite3.Error):  # told twice rather than not at all
                        self._commit(lambda: self._tables.told(told))

    def _entry(self, row: Row) -> Entry:
        return self._envelope.opened(row)

    def _is_readable(self, row: Row) -> bool:
        with suppress(StoreError):
            return bool(self._entry(row).digest)
        return False

    def _entry_or_less(self, row: Row) -> Entry:
        """Without digest, group and facts where the disk changed them."""
        try:
            return self._entry(row)
        except StoreError:
            return Entry(row.number, "", row.kind, "", row.priority, {}, row.size, row.unix)

    def _free(self, *numbers: int) -> None:
        with self._lock:
            self._taken.difference_update(numbers)
