"""A damaged database is set aside under a name, and what of it can be read goes into a new one.

Each step can be repeated after a crash, from `suspect.json` on, which is there until the new database is in its place.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from fedmed.errors import StoreError
from fedmed.store.disk import Disk, replace_file
from fedmed.store.spool.ballast import Ballast
from fedmed.store.spool.contents import FOLDER, Contents
from fedmed.store.spool.entry import Rescue, SpoolFull
from fedmed.store.spool.envelope import Envelope
from fedmed.store.spool.opening import NAME, Damaged, connect, open_sound, translated
from fedmed.store.spool.quota import DAMAGED
from fedmed.store.spool.tables import ROW, Body, Row, Tables
from fedmed.store.syncing import sync_folder
from fedmed.wire.canonical import canonical

SUSPECT = "suspect.json"
BATCH = 64
PARTS = (f"{NAME}-wal", f"{NAME}-wal.torn", f"{NAME}-shm", NAME)


def opened(folder: Path, unix: float, envelope: Envelope, ballast: Ballast) -> tuple[sqlite3.Connection, Rescue | None]:
    """A sound database, and what was rescued where the one that lay there was not. Raises StoreError, SpoolFull, OSError."""
    why = suspected(folder)
    try:
        if why is None:
            try:
                return open_sound(folder / NAME, envelope.check), None
            except SpoolFull:
                if not ballast.let_go():
                    raise
                return open_sound(folder / NAME, envelope.check), None
    except Damaged as error:
        suspect(folder, str(error))
    ballast.let_go()
    rescued = rescue(folder, unix, envelope)
    return open_sound(folder / NAME, envelope.check), rescued


def suspect(folder: Path, why: str) -> None:
    """Have the database set aside when it is opened next. Raises OSError."""
    replace_file(Disk(), folder / SUSPECT, canonical({"why": why, "aside": ""}))


def suspected(folder: Path) -> str | None:
    """Why the database is to be set aside."""
    try:
        return str(json.loads((folder / SUSPECT).read_bytes())["why"])
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError):
        return "it was found damaged before"


def rescue(folder: Path, unix: float, envelope: Envelope) -> Rescue:
    """Set the database aside and make a new one from it. Raises StoreError, OSError; opened again, it goes on."""
    why, aside = suspected(folder) or "", _aside(folder, unix)
    replace_file(Disk(), folder / SUSPECT, canonical({"why": why, "aside": aside.name}))
    aside.mkdir(exist_ok=True, mode=0o700)
    for part in PARTS:
        if (folder / part).exists() and not (aside / NAME).exists():
            (folder / part).rename(aside / part)
    sync_folder(aside)
    sync_folder(folder)
    fresh = folder / f"{NAME}.new"
    for part in ("", "-wal", "-shm"):
        fresh.with_name(fresh.name + part).unlink(missing_ok=True)
    contents = Contents(folder)
    try:
        kept, lost, named = _copy(aside / NAME, fresh, envelope, contents, unix)
    except sqlite3.Error as error:
        raise translated(error, fresh) from error
    loose = _set_aside(contents, named, aside / FOLDER)
    fresh.rename(folder / NAME)
    sync_folder(folder)
    (folder / SUSPECT).unlink()
    sync_folder(folder)
    return Rescue(aside, why, kept, lost, loose)


def _set_aside(contents: Contents, named: set[int], aside: Path) -> int:
    """Move what no entry names any more to where the damaged files are; how many are there."""
    loose = {name: size for name, size in contents.names().items() if name not in named}
    if any(loose.values()):
        aside.mkdir(exist_ok=True, mode=0o700)
    for name, size in loose.items():
        if size:
            contents.set_aside(name, aside)
    contents.begin(named)
    return sum(1 for _ in aside.iterdir()) if aside.exists() else 0


def _aside(folder: Path, unix: float) -> Path:
    """The folder that was begun, or a new one."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        if name := str(json.loads((folder / SUSPECT).read_bytes())["aside"]):
            return folder / Path(name).name
    number = 0
    while (found := folder / f"damaged-{int(unix)}{f'-{number}' if number else ''}").exists():
        number += 1
    return found


def _copy(damaged: Path, fresh: Path, envelope: Envelope, contents: Contents, unix: float) -> tuple[int, int, set[int]]:
    """How many entries are in the new database now, how many are known to be lost, and the files that are named."""
    with closing(connect(fresh)) as target, closing(_reader(damaged)) as source:
        tables = Tables(target)
        tables.create(envelope.check)
        target.execute("BEGIN IMMEDIATE")
        numbers, lost = sorted(set(_numbers(source))), 0
        for count, number in enumerate(numbers):
            lost += not _carry(source, target, number, envelope, contents)
            tables.settle([number])
            if count % BATCH == BATCH - 1:
                target.execute("COMMIT")
                target.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                target.execute("BEGIN IMMEDIATE")
        _carry_past(source, target, int(unix))
        tables.number_from(numbers[-1] + 1 if numbers else 1)
        if lost:
            target.execute(
                "INSERT INTO dropped VALUES (?, ?, 0) "
                "ON CONFLICT (reason) DO UPDATE SET entries = entries + excluded.entries",
                (DAMAGED, lost),
            )
        target.execute("COMMIT")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        named = tables.files()
    handle = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return len(numbers) - lost, lost, named


def _reader(damaged: Path) -> sqlite3.Connection:
    """Read-only: what was set aside stays as it was found. A file that is no database reads as an empty one."""
    connection = sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA writable_schema = on").fetchone()  # a file that was cut off is read as far as it goes
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        return sqlite3.connect(":memory:", isolation_level=None)
    return connection


def _numbers(source: sqlite3.Connection) -> Iterator[int]:
    """Of all entries that any way through the tables leads to: what one damaged page hides, another may show."""
    for statement in (
        "SELECT number FROM entries NOT INDEXED ORDER BY number",
        "SELECT number FROM entries NOT INDEXED ORDER BY number DESC",
        "SELECT number FROM entries INDEXED BY entries_least",
        "SELECT number FROM entries INDEXED BY entries_line",
    ):
        yield from (number for (number,) in _readable(source, statement) if isinstance(number, int))


def _carry(
    source: sqlite3.Connection, target: sqlite3.Connection, number: int, envelope: Envelope, contents: Contents
) -> bool:
    """Whether the entry is whole, and now in the new database; one with a readable head is told as lost."""
    try:
        values = source.execute(
            f"SELECT {ROW}, line, weight FROM entries NOT INDEXED WHERE number = ?", (number,)
        ).fetchone()
        row, line, weight = Row(*values[:-2]), bytes(values[-2]), int(values[-1])
        entry = envelope.opened(row)
    except (sqlite3.Error, StoreError, TypeError, ValueError):
        return False
    if (body := _body(source, row, entry.digest, envelope, contents)) is not None:
        target.execute("SAVEPOINT one")
        try:
            Tables(target).insert(row, line, weight, body)
        except sqlite3.IntegrityError:  # the same content twice: one of the two rows is a phantom of the damage
            target.execute("ROLLBACK TO one")
        else:
            return True
        finally:
            target.execute("RELEASE one")
    fields = (row.number, row.kind, row.mark, row.priority, row.size, row.unix, row.head, DAMAGED)
    with suppress(sqlite3.IntegrityError):
        target.execute("INSERT OR REPLACE INTO untold VALUES (?, ?, ?, ?, ?, ?, ?, ?)", fields)
    return False


def _body(source: sqlite3.Connection, row: Row, digest: str, envelope: Envelope, contents: Contents) -> Body | None:
    """The content as it lies there, or the file that it is, where every byte of it is as it was put."""
    with suppress(sqlite3.Error, StoreError, OSError, TypeError, ValueError):
        found = source.execute("SELECT content FROM bodies WHERE number = ?", (row.number,)).fetchone()
        body: Body = Tables(source).file(row.number) or 0 if found is None else bytes(found[0])
        there = contents.read(body) if isinstance(body, int) else body
        if len(envelope.content(row.mark, digest, there)) == row.size:
            return body
    return None


def _carry_past(source: sqlite3.Connection, target: sqlite3.Connection, beyond: int) -> None:
    """What was finished, what was dropped and not told, and the next number; `beyond` all, where that cannot be read."""
    for select, insert in (
        ("SELECT mark, number, unix FROM finished ORDER BY id", "finished (mark, number, unix) VALUES (?, ?, ?)"),
        ("SELECT reason, entries, bytes FROM dropped", "dropped VALUES (?, ?, ?)"),
        (f"SELECT {ROW}, reason FROM untold", "untold VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
    ):
        for values in _readable(source, select):
            target.execute(f"INSERT OR IGNORE INTO {insert}", values)
    following = [number for (number,) in _readable(source, "SELECT entries FROM totals WHERE kind = 'next'")]
    Tables(target).number_from(following[0] if following and isinstance(following[0], int) else beyond)


def _readable(source: sqlite3.Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    """Rows up to the first that cannot be read."""
    with suppress(sqlite3.Error):
        yield from source.execute(statement)
