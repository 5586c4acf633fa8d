"""The durable spool of a device: what was put is on the disk when `put` returns, and a step is made once.

The order of calls is the protocol. `next` hands an entry out; until `turn`, `done` or `defer` names it, it is nobody else's,
and those behind it in its group wait. After a crash what was handed out is handed out again: a step whose `turn` returned is
made, any other is not. Any number of threads may use a spool; one process owns it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from fedmed.clock import Clock
from fedmed.errors import FedmedError, StoreError
from fedmed.store.disk import Disk
from fedmed.store.spool import opening, rescue
from fedmed.store.spool.ballast import Ballast
from fedmed.store.spool.commits import Commits
from fedmed.store.spool.contents import APART, Contents
from fedmed.store.spool.entry import MOST_PRIORITY, Counts, Entry, New, Put, SpoolFull
from fedmed.store.spool.envelope import Closed, Envelope
from fedmed.store.spool.quota import DAMAGED, DAY_S, Drop, Quota, make_room, weight
from fedmed.store.spool.tables import Body, Row

MOST_WAIT_S = DAY_S
"""Longest that an entry is deferred; what waits longer does so because the clock was set back, and is handed out."""
MOST_WHY = 200
MOST_NUMBER = 2**63 - 1
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
        self._clock, self._dropped, self._envelope = clock, dropped, Envelope(key)
        self._ballast, self._path = Ballast(folder, quota.ballast), folder / opening.NAME
        self._contents, self._telling = Contents(folder), threading.Lock()
        self._taken, self._untold = set[int](), True
        try:
            Disk().make_folder(folder)
            self._owned = opening.lock(folder)
        except OSError as error:
            raise StoreError(f"{folder}: no spool can be kept there ({error.strerror}); name another folder") from error
        with ExitStack() as undo:
            undo.callback(os.close, self._owned)
            try:
                database, self.rescued = rescue.opened(folder, clock.unix(), self._envelope, self._ballast)
                self._commits = Commits(database, self._path, self._ballast)
                self._tables, self._lock = self._commits.tables, self._commits.lock
                self._contents.begin(self._reading(self._tables.files))
            except OSError as error:
                raise StoreError(
                    f"{folder}: the spool cannot be opened ({error.strerror}); make room or mend the disk"
                ) from error
            undo.pop_all()
        if quota.ballast:
            self._ballast.take()
        self._settle()
        self._tell()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; what is in the spool stays there."""
        with suppress(StoreError):  # what is not written down is looked at when the spool is opened
            self._commits.change(lambda: None, drains=True)
        self._commits.close()
        self._contents.close()
        if self._owned >= 0:
            os.close(self._owned)
            self._owned = -1

    def put(self, *new: New) -> list[Put]:
        """Keep these, all or none. A content of a kind that is here, or was finished within the quota's days, is not new.

        Raises SpoolFull where there is no room, by the quota or on the disk, and DataError for what a spool does not hold.
        """
        return self._add(new)

    def turn(self, number: int, *new: New) -> list[Put]:
        """An entry is finished, and what came of it is put: both or neither. Raises as `put`, and where it is not here."""
        return self.turn_all((number,), *new)

    def turn_all(self, numbers: Sequence[int], *new: New) -> list[Put]:
        """As `turn`, for what came of several entries together: all of it or nothing."""
        made = self._add(new, numbers)
        self._free(*numbers)
        return made

    def later(self, kind: str, number: int, most: int = 1024) -> list[Entry]:
        """Up to `most` entries of a kind that were put after the one of this number, in order; handed out to nobody.

        One whose head the disk changed is dropped, counted and told.
        """
        rows = self._reading(lambda: self._tables.later(kind, number, most))
        for row in rows:
            if not self._is_readable(row):
                self.drop(row.number, DAMAGED)
        return [self._entry(row) for row in rows if self._is_readable(row)]

    def has(self, kind: str, group: str) -> bool:
        """Whether anything of a kind and group is here."""
        return self._reading(lambda: self._tables.has_line(self._envelope.line(kind, group)))

    def next(self, kinds: Iterable[str], now: float, least: int = -MOST_PRIORITY) -> Entry | None:
        """The most urgent entry of these kinds that may go at `now` (seconds since 1970), and nobody works on; None: none.

        It has the priority `least` or a higher one. Among those of one priority the oldest; within a kind, never before
        another of its group that was put earlier.
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
                rows = self._commits.reading(lambda: self._several(kinds, now, least, most, most_bytes))
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
        body = self._body(entry.number)
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

    def defer(self, numbers: Sequence[int], until_unix: float, why: str) -> None:
        """Hand entries out again, and what is behind them in their groups, when `until_unix` has come, in a day at most."""
        until = min(until_unix, self._clock.unix() + MOST_WAIT_S)
        try:
            self._change(lambda: self._tables.defer(numbers, until, why[:MOST_WHY]), drains=True)
        finally:  # on a disk that refuses they are handed out again at once, rather than never
            self._free(*numbers)

    def rank(self, number: int, priority: int) -> None:
        """Hand an entry out again, as of another priority; its place in its group stays."""
        if row := self._reading(lambda: self._tables.of_number(number)):
            head = self._envelope.head(replace(self._entry(row), priority=priority))
            self._change(lambda: self._tables.rank(number, priority, head))
        self._free(number)

    def drop(self, number: int, reason: str) -> None:
        """Let an entry go that nobody can use, such as one that is no DICOM: counted, and told."""
        self._change(lambda: self._let_go(number, reason[:MOST_WHY]), drains=True)
        self._free(number)

    def counts(self) -> Counts:
        """What is here, and what went."""
        now = self._clock.unix()
        return self._reading(lambda: self._tables.counted(now))

    def _settle(self) -> None:
        """Look at the contents that may not have come to the disk before the end of who put them."""
        for row in self._reading(self._tables.unsettled):
            with suppress(StoreError):  # dropped, counted and told then; or the disk cannot be read now
                self.content(self._entry(row))
                self._commits.settled(row.number)

    def _add(self, new: Iterable[New], finished: Sequence[int] = ()) -> list[Put]:
        """Contents that are files, and the transaction that names them and finishes entries, if some are given."""
        closed = [self._envelope.closed(each, self._clock.unix()) for each in new]
        bodies, others = self._set_down(closed, drains=bool(finished)), list[int]()

        def work() -> list[Put]:
            if finished and (found := self._finish(*finished)) < len(finished):
                told = f"entry {finished[0]} is" if len(finished) == 1 else f"of {len(finished)} entries {found} are"
                raise StoreError(f"{told} not in the spool: a step is made once; go on with `next`")
            return self._insert(closed, bodies, others)

        try:
            made = self._change(work, drains=bool(finished))
        except StoreError as error:
            # Of a commit that failed halfway the log may hold all, and the next opening would find it: then the files stay.
            if isinstance(error, SpoolFull) or error.__cause__ is None:
                self._forget(bodies)
            raise
        named = {made[index].entry.number: body for index, body in bodies.items() if made[index].is_new}
        self._forget({index: body for index, body in bodies.items() if not made[index].is_new})
        self._wait({number: body for number, body in named.items() if isinstance(body, int)}, others)
        return made

    def _set_down(self, closed: list[Closed], drains: bool) -> dict[int, Body]:
        """The bodies by their places in `closed`, those that are large in files; without those that are known.

        Where an entry is finished with them they are on the disk: after a crash nothing else would be left of it.
        """
        bodies = dict[int, Body]()
        try:
            for index, each in enumerate(closed):
                if each.size < APART:
                    bodies[index] = each.body()
                elif self._is_welcome(each, drains):
                    bodies[index] = name = self._contents.keep(each.fill)
                    if drains:
                        self._contents.wait(name)
        except (StoreError, OSError) as error:
            self._forget(bodies)
            refused = error if isinstance(error, StoreError) else opening.translated(error, self._path)
            if drains and isinstance(refused, SpoolFull) and self._ballast.let_go():
                return self._set_down(closed, drains)
            raise refused from error
        return bodies

    def _forget(self, bodies: Mapping[int, Body]) -> None:
        """Files that no row names."""
        for body in bodies.values():
            if isinstance(body, int):
                with suppress(OSError):
                    self._contents.wait(body)
                self._contents.remove(body)

    def _wait(self, named: Mapping[int, int], others: Iterable[int]) -> None:
        """Until the files of these entries are on the disk, and `others`, which hold the same as what was put.

        Raises StoreError where that cannot be; what was put is not kept then.
        """
        try:
            for name in (*named.values(), *others):
                self._contents.wait(name)
        except OSError as error:
            self._change(lambda: self._tables.withdraw(named), drains=True)
            raise opening.translated(error, self._path) from error
        self._commits.settled(*named)

    def _is_welcome(self, each: Closed, drains: bool) -> bool:
        """Whether it is new; raises SpoolFull where the quota has no room for it. The transaction asks again."""

        def look() -> bool:
            if self._known(each) is not None:
                return False
            if not drains:
                self._drops(weight(len(each.head), each.size), each.entry, MOST_NUMBER)
            return True

        return self._reading(look)

    def _body(self, number: int) -> bytes | None:
        """A content as it lies on the disk; None where there is no such entry."""
        body = self._reading(lambda: self._tables.body(number))
        if not isinstance(body, int):
            return body
        try:
            return self._contents.read(body)
        except FileNotFoundError:
            is_here = self._reading(lambda: self._tables.file(number)) == body
            return b"" if is_here else None  # no entry with a file is empty: its digest tells
        except OSError as error:
            raise opening.translated(error, self._path) from error

    def _change(self, work: Callable[[], T], drains: bool = False) -> T:
        """One transaction, on the disk when this returns; `drains` says that it makes room."""
        made = self._commits.change(work, drains)
        self._contents.remove(*self._commits.gone())
        if self._untold:
            self._tell()
        return made

    def _reading(self, work: Callable[[], T]) -> T:
        with self._commits.lock:
            return self._commits.reading(work)

    def _insert(self, closed: list[Closed], bodies: Mapping[int, Body], others: list[int]) -> list[Put]:
        """`others` becomes the names of the files that hold what is known already."""
        first = number = self._tables.next_number()
        made = list[Put]()
        others.clear()
        for index, each in enumerate(closed):
            if (known := self._known(each)) is not None:
                made.append(Put(known, False))
                others += filter(None, [self._tables.file(known.number)])
                continue
            entry, need = each.entry, weight(len(each.head), each.size)
            for drop in self._drops(need, entry, first):
                self._let_go(drop.number, drop.reason)
            row = Row(number, entry.kind, each.mark, entry.priority, entry.size, entry.unix, each.head)
            body = bodies[index] if index in bodies else each.body()
            self._tables.insert(row, each.line, need, body)
            self._commits.logged(0 if isinstance(body, int) else need)
            made.append(Put(replace(entry, number=number), True))
            number += 1
        return made

    def _known(self, each: Closed) -> Entry | None:
        """The entry that holds this content, or held it."""
        if (known := self._tables.of_mark(each.mark)) is not None:
            return self._entry(known)
        was = self._tables.finished(each.mark, self._remembered)
        return None if was is None else replace(each.entry, number=was)

    def _drops(self, need: int, entry: Entry, first: int) -> list[Drop]:
        """What has to go for it, of entries before `first`."""
        with closing(
            self._tables.least(first)
        ) as found:  # what an error held on to would keep the log from being carried over
            candidates = (each for each in found if each.number not in self._taken)
            return make_room(self.quota, self._tables.used(), need, entry.priority, entry.unix, candidates)

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
        first = self._tables.first(kinds, least, now, now + MOST_WAIT_S, self._taken)
        found = [] if first is None else [first]
        size = 0 if first is None else first.size
        for row, until in self._tables.behind(first.number, most - 1) if first is not None else ():
            size += row.size
            if row.number in self._taken or row.priority < least or now < until <= now + MOST_WAIT_S or size > most_bytes:
                break
            found.append(row)
        return found

    def _tell(self) -> None:
        """Of what went; what nobody takes note of is told again."""
        with self._telling:
            with self._lock:
                rows, self._untold = self._commits.reading(self._tables.untold), False
            told = list[int]()
            try:
                for row, reason in rows:
                    self._dropped(self._entry_or_less(row), reason)
                    told.append(row.number)
            except (FedmedError, OSError):
                self._untold = True
            finally:
                if told:
                    with suppress(StoreError):  # told twice rather than not at all
                        self._commits.change(lambda: self._tables.told(told), drains=True)

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
