"""The spool's database: its schema, and each statement that reads or changes it. The caller holds the transaction.

    entries    one row each, with the sealed head; `ahead` marks the first of its kind and group: the only one that may go
    bodies     contents, apart: a change of a row would write its content again
    files      names of those contents that are files beside the database (`contents`), `sure` once those are on the disk
    finished   marks of contents that were finished with, in the order of time
    totals     entries, bytes and weight by kind, and the next number (in `entries` of the row `next`)
    dropped    how many entries and bytes went, by reason
    untold     entries that went, until somebody took note of it

Triggers keep `ahead`, `bodies`, `files` and `totals`, so that no change of an entry can forget one of them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Container, Generator, Iterable, Iterator
from dataclasses import dataclass

from fedmed.store.spool.entry import KINDS, Counts
from fedmed.store.spool.quota import Candidate

APPLICATION, VERSION = 0x666D7370, 2  # "fmsp"
MOST_FINISHED = 5_000_000
"""Marks kept, 0.5 GB: a peer that sends ever new images does not fill the disk with what is remembered of them."""
FORGOTTEN_AT_ONCE = 256
_SUM = 8
TABLES = f"""
CREATE TABLE entries (number INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN {KINDS}),
    mark BLOB NOT NULL, line BLOB NOT NULL,
    priority INTEGER NOT NULL, size INTEGER NOT NULL, weight INTEGER NOT NULL, unix REAL NOT NULL,
    ahead INTEGER NOT NULL CHECK (ahead IN (0, 1)), until REAL NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '',
    head BLOB NOT NULL);
CREATE UNIQUE INDEX entries_mark ON entries (mark);
CREATE INDEX entries_line ON entries (line, number);
CREATE INDEX entries_ahead ON entries (kind, priority DESC, number, until) WHERE ahead;
CREATE INDEX entries_least ON entries (priority, number);
CREATE TABLE bodies (number INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE files (number INTEGER PRIMARY KEY, name INTEGER NOT NULL UNIQUE,
    sure INTEGER NOT NULL DEFAULT 0 CHECK (sure IN (0, 1)));
CREATE INDEX files_unsure ON files (number) WHERE NOT sure;
CREATE TABLE finished (id INTEGER PRIMARY KEY, mark BLOB NOT NULL UNIQUE, number INTEGER NOT NULL, unix REAL NOT NULL);
CREATE TABLE totals (kind TEXT PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL, weight INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE dropped (reason TEXT PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE untold (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, mark BLOB NOT NULL, priority INTEGER NOT NULL,
    size INTEGER NOT NULL, unix REAL NOT NULL, head BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TRIGGER entry_in AFTER INSERT ON entries BEGIN
    UPDATE totals SET entries = entries + 1, bytes = bytes + NEW.size, weight = weight + NEW.weight WHERE kind = NEW.kind;
    UPDATE totals SET entries = max(entries, NEW.number + 1) WHERE kind = 'next';
END;
CREATE TRIGGER entry_out AFTER DELETE ON entries BEGIN
    DELETE FROM bodies WHERE number = OLD.number;
    DELETE FROM files WHERE number = OLD.number;
    UPDATE totals SET entries = entries - 1, bytes = bytes - OLD.size, weight = weight - OLD.weight WHERE kind = OLD.kind;
END;
CREATE TRIGGER first_out AFTER DELETE ON entries WHEN OLD.ahead BEGIN
    UPDATE entries SET ahead = 1 WHERE number = (SELECT number FROM entries WHERE line = OLD.line ORDER BY number LIMIT 1);
END;
INSERT INTO totals VALUES ('next', 1, 0, 0){"".join(f", ('{kind}', 0, 0, 0)" for kind in KINDS)};
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True)
class Row:
    """An entry as it lies in the database, without its content."""

    number: int
    kind: str
    mark: bytes
    priority: int
    size: int
    unix: float
    head: bytes


Body = bytes | int
"""A content as it lies on the disk, or the name of the file that it is."""
ROW = "number, kind, mark, priority, size, unix, head"


class Tables:
    """Statements on an open connection. All raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.loose = list[int]()
        """Names of files whose entries went; the caller removes them once that is on the disk, and clears this."""

    def create(self, check: bytes) -> None:
        """Make the schema in an empty database; `check` tells its key from others."""
        self._db.executescript(f"BEGIN IMMEDIATE;{TABLES}")
        self._db.execute("INSERT INTO facts VALUES ('check', ?)", (check + _sum(check),))
        self._db.execute("COMMIT")

    def schema(self) -> set[tuple[str, str, str | None]]:
        """Kind, name and statement of each part of the schema."""
        return set(self._db.execute("SELECT type, name, sql FROM sqlite_master"))

    def check(self) -> bytes | None:
        """What tells the key that it was made with; None where the disk changed it: no key is blamed for that."""
        found = self._db.execute("SELECT value FROM facts WHERE name = 'check'").fetchone()
        check, proof = (bytes(found[0][:-_SUM]), bytes(found[0][-_SUM:])) if found else (b"", b"")
        return check if proof == _sum(check) else None

    def insert(self, row: Row, line: bytes, weight: int, body: Body) -> None:
        """A new entry, at the end of its line."""
        self._db.execute(
            "INSERT INTO entries (number, kind, mark, line, priority, size, weight, unix, ahead, head) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, NOT EXISTS (SELECT 1 FROM entries WHERE line = ?), ?)",
            (row.number, row.kind, row.mark, line, row.priority, row.size, weight, row.unix, line, row.head),
        )
        into = "files (number, name)" if isinstance(body, int) else "bodies"
        self._db.execute(f"INSERT INTO {into} VALUES (?, ?)", (row.number, body))

    def is_in_order(self) -> bool:
        """Whether each line has one entry that is ahead."""
        lines, ahead = self._db.execute("SELECT count(DISTINCT line), total(ahead) FROM entries").fetchone()
        return bool(lines == ahead)

    def next_number(self) -> int:
        """The number of the next new entry."""
        return int(self._db.execute("SELECT entries FROM totals WHERE kind = 'next'").fetchone()[0])

    def number_from(self, number: int) -> None:
        """Let no new entry have a number below `number`."""
        self._db.execute("UPDATE totals SET entries = max(entries, ?) WHERE kind = 'next'", (number,))

    def of_mark(self, mark: bytes) -> Row | None:
        """The entry that holds this content."""
        found = self._db.execute(f"SELECT {ROW} FROM entries WHERE mark = ?", (mark,)).fetchone()
        return None if found is None else Row(*found)

    def of_number(self, number: int) -> Row | None:
        """The entry of this number."""
        found = self._db.execute(f"SELECT {ROW} FROM entries WHERE number = ?", (number,)).fetchone()
        return None if found is None else Row(*found)

    def finished(self, mark: bytes, since: float) -> int | None:
        """The number that a content had that was finished with, since then."""
        found = self._db.execute("SELECT number FROM finished WHERE mark = ? AND unix >= ?", (mark, since)).fetchone()
        return None if found is None else int(found[0])

    def later(self, kind: str, number: int, most: int) -> list[Row]:
        """Entries of a kind behind a number, in order."""
        rows = self._db.execute(
            f"SELECT {ROW} FROM entries NOT INDEXED WHERE number > ? AND kind = ? ORDER BY number LIMIT ?",
            (number, kind, most),
        )
        return [Row(*row) for row in rows]

    def has_line(self, line: bytes) -> bool:
        """Whether anything of a line is here."""
        return self._db.execute("SELECT 1 FROM entries WHERE line = ? LIMIT 1", (line,)).fetchone() is not None

    def body(self, number: int) -> Body | None:
        """A content."""
        found = self._db.execute("SELECT content FROM bodies WHERE number = ?", (number,)).fetchone()
        return self.file(number) if found is None else bytes(found[0])

    def file(self, number: int) -> int | None:
        """The name of a content that is a file."""
        found = self._db.execute("SELECT name FROM files WHERE number = ?", (number,)).fetchone()
        return None if found is None else int(found[0])

    def settle(self, numbers: Iterable[int]) -> None:
        """The contents of these are on the disk."""
        self._db.executemany("UPDATE files SET sure = 1 WHERE number = ?", [(number,) for number in numbers])

    def unsettled(self) -> list[Row]:
        """Entries whose contents may not be on the disk."""
        ours = f"SELECT {ROW} FROM entries WHERE number IN (SELECT number FROM files WHERE NOT sure) ORDER BY number"
        return [Row(*row) for row in self._db.execute(ours)]

    def withdraw(self, numbers: Iterable[int]) -> None:
        """Entries that were never acknowledged go."""
        for number in numbers:
            self._delete(number)

    def files(self) -> set[int]:
        """The names of all contents that are files."""
        return {int(name) for (name,) in self._db.execute("SELECT name FROM files")}

    def ready(self, kind: str, least: int, now: float, latest: float) -> Iterator[tuple[int, int]]:
        """Priority and number of the first of each line, the most urgent first; `until` beyond `latest` counts as passed."""
        rows = self._db.execute(
            "SELECT priority, number FROM entries WHERE ahead AND kind = ? AND priority >= ? AND (until <= ? OR until > ?) "
            "ORDER BY priority DESC, number",
            (kind, least, now, latest),
        )
        yield from rows

    def first(self, kinds: Iterable[str], least: int, now: float, latest: float, taken: Container[int]) -> Row | None:
        """The most urgent of these kinds that is `ready` and not `taken`."""
        found = list[tuple[int, int]]()
        for kind in kinds:
            ready = self.ready(kind, least, now, latest)
            found += [next(((-priority, number) for priority, number in ready if number not in taken), (0, 0))]
        best = min((each for each in found if each[1]), default=None)
        return None if best is None else self.of_number(best[1])

    def behind(self, number: int, most: int) -> Iterator[tuple[Row, float]]:
        """Those behind an entry in its line, up to `most`, and until when each is deferred."""
        rows = self._db.execute(
            f"SELECT {ROW}, until FROM entries WHERE line = (SELECT line FROM entries WHERE number = ?) AND number > ? "
            "ORDER BY number LIMIT ?",
            (number, number, most),
        )
        yield from ((Row(*row[:-1]), row[-1]) for row in rows)

    def defer(self, numbers: Iterable[int], until: float, why: str) -> None:
        """Let entries wait; those that are not here are passed over."""
        rows = [(until, why, number) for number in numbers]
        self._db.executemany("UPDATE entries SET until = ?, why = ? WHERE number = ?", rows)

    def rank(self, number: int, priority: int, head: bytes) -> None:
        """Give an entry another priority, and the head that says so."""
        self._db.execute("UPDATE entries SET priority = ?, head = ? WHERE number = ?", (priority, head, number))

    def finish(self, number: int, unix: float) -> int:
        """An entry is done with, its content remembered; how many there were of this number."""
        self._db.execute(
            "INSERT OR REPLACE INTO finished (mark, number, unix) SELECT mark, number, ? FROM entries WHERE number = ?",
            (unix, number),
        )
        return self._delete(number)

    def forget(self, before: float) -> None:
        """The oldest contents that were finished before, some of them, and those that are too many."""
        first = self._db.execute("SELECT id, unix FROM finished ORDER BY id LIMIT ?", (FORGOTTEN_AT_ONCE,)).fetchall()
        newest = self._db.execute("SELECT max(id) FROM finished").fetchone()[0] or 0
        gone = [(number,) for number, unix in first if unix < before or number <= newest - MOST_FINISHED]
        self._db.executemany("DELETE FROM finished WHERE id = ?", gone)

    def least(self, below: int) -> Generator[Candidate, None, None]:
        """Entries of numbers before `below`, the least urgent first, of these the oldest; to be closed by who breaks off."""
        rows = self._db.execute(
            "SELECT number, priority, weight, unix FROM entries WHERE number < ? ORDER BY priority, number", (below,)
        )
        yield from (Candidate(*row) for row in rows)

    def drop(self, number: int, reason: str) -> int:
        """An entry goes, counted and to be told; how many there were of this number."""
        values = "SELECT number, kind, mark, priority, size, unix, head, ? FROM entries WHERE number = ?"
        self._db.execute(f"INSERT OR REPLACE INTO untold {values}", (reason, number))
        self._db.execute(
            "INSERT INTO dropped SELECT ?, 1, size FROM entries WHERE number = ? "
            "ON CONFLICT (reason) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes",
            (reason, number),
        )
        return self._delete(number)

    def _delete(self, number: int) -> int:
        if (name := self.file(number)) is not None:
            self.loose.append(name)
        return self._db.execute("DELETE FROM entries WHERE number = ?", (number,)).rowcount

    def untold(self) -> list[tuple[Row, str]]:
        """Entries that went and that nobody took note of yet, with the reasons."""
        rows = self._db.execute(f"SELECT {ROW}, reason FROM untold ORDER BY number").fetchall()
        return [(Row(*row[:-1]), row[-1]) for row in rows]

    def told(self, numbers: Iterable[int]) -> None:
        """Somebody took note."""
        self._db.executemany("DELETE FROM untold WHERE number = ?", [(number,) for number in numbers])

    def used(self) -> int:
        """Weight of all entries."""
        return int(self._db.execute("SELECT sum(weight) FROM totals").fetchone()[0])

    def totals(self) -> dict[str, tuple[int, int]]:
        """Entries and bytes by kind."""
        rows = self._db.execute("SELECT kind, entries, bytes FROM totals WHERE kind != 'next'")
        return {kind: (entries, size) for kind, entries, size in rows}

    def drops(self) -> dict[str, tuple[int, int]]:
        """Entries and bytes that went, by reason."""
        return {reason: (entries, size) for reason, entries, size in self._db.execute("SELECT * FROM dropped")}

    def counted(self, now: float) -> Counts:
        """What is here, and what went."""
        totals, drops = self.totals(), self.drops()
        return Counts(
            {kind: totals[kind][0] for kind in KINDS},
            {kind: totals[kind][1] for kind in KINDS},
            self.used(),
            self.deferred(now),
            {reason: entries for reason, (entries, _) in drops.items()},
            sum(size for _, size in drops.values()),
            len(self.untold()),
            self.oldest(),
        )

    def deferred(self, now: float) -> dict[str, int]:
        """Lines that wait, by reason."""
        rows = self._db.execute("SELECT why, count(*) FROM entries WHERE ahead AND until > ? GROUP BY why", (now,))
        return dict(rows.fetchall())

    def oldest(self) -> float | None:
        """When the first entry was put."""
        found = self._db.execute("SELECT unix FROM entries ORDER BY number LIMIT 1").fetchone()
        return None if found is None else float(found[0])


def _sum(check: bytes) -> bytes:
    return hashlib.blake2b(check, digest_size=_SUM).digest()
