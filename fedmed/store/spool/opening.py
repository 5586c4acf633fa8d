"""Opens a spool's database: one process at a time, known by its marks, and never a damaged one as if it were sound.

    spool.db, -wal      the database, WAL with synchronous=FULL: a commit is on the disk when it returns
    contents/           large contents, a file each: see `contents`
    spool.lock          held by the process that owns the spool, with its number
    suspect.json        the database is damaged, or was found so while it was used: it is set aside at the next opening
    damaged-UNIX/       what was set aside

SQLite trusts its log as far as the chain of checksums in it reaches, and passes over what follows, as after a crash it must.
A flipped bit would so take acknowledged commits with it, unseen. Each commit is synced before the next begins, so only one
can be torn; a second one behind the break was acknowledged, and the spool is treated as damaged.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import ExitStack, closing, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.store.locks import is_held
from fedmed.store.spool.contents import Contents
from fedmed.store.spool.entry import SpoolFull
from fedmed.store.spool.tables import APPLICATION, VERSION, Tables
from fedmed.store.syncing import sync_folder

NAME, LOCK = "spool.db", "spool.lock"
PAGE = 8192
LOG_BYTES = 4 << 20
"""The log is carried over into the database when it is about this long: a writer waits for that, and a reader with it."""
UNCHECKED = "bodies"
"""All other tables are checked with their indexes when a spool is opened: half a second for 86,400 entries. Contents have a
digest each, which is checked when one is read; to read them all would take minutes."""
_HEADER = struct.Struct(">16s52xI")  # of the database: its magic, and at 68 whose it is
_LOG_HEADER, _FRAME = struct.Struct(">8I"), struct.Struct(">6I")  # sqlite.org/fileformat2.html, section 4.1
_LOG_MAGIC = (0x377F0682, 0x377F0683)


class Damaged(StoreError):
    """The database is not what a spool wrote."""


def lock(folder: Path) -> int:
    """The handle that holds the folder's lock until it is closed. Raises StoreError where another process has it."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if is_held(handle):
        owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise StoreError(
            f"{folder}: process {owner} owns this spool; a spool has one owner: stop that one, or name another folder"
        )
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the spool's settings; the file is made where there is none. Raises sqlite3.Error, OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with ExitStack() as undo:
        undo.enter_context(closing(connection))
        for setting in (
            f"page_size = {PAGE}",
            "locking_mode = exclusive",
            "journal_mode = wal",
            "synchronous = full",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {2 * LOG_BYTES}",
            "cell_size_check = on",
            "trusted_schema = off",
            "temp_store = memory",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
        undo.pop_all()
    return connection


def open_sound(path: Path, check: bytes) -> sqlite3.Connection:
    """The database, made where there is none, and proven to be a spool's, whole, and of this key.

    Raises Damaged, StoreError for another version or another key, SpoolFull, sqlite3.OperationalError.
    """
    try:
        _refuse_foreign(path)
        with ExitStack() as undo:
            connection = undo.enter_context(closing(connect(path)))
            _prove(connection, path, check)
            undo.pop_all()
    except sqlite3.Error as error:
        raise translated(error, path) from error
    return connection


def why_not_its_key(folder: Path, check: bytes) -> str:
    """Why the spool in a folder would not open with the key of this `check`; empty where it would, or is none yet.

    Reads alone, and nothing but the database itself: for a spool that no process owns.
    """
    path = folder / NAME
    if not path.is_file() or path.stat().st_size == 0:
        return ""
    try:
        _refuse_foreign(path)
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as connection:
            made_with = Tables(connection).check()
    except (OSError, sqlite3.Error, Damaged) as error:
        return f"{path} is damaged or cannot be read ({error})"
    return "" if made_with == check else f"{path} was made with another key"


def _refuse_foreign(path: Path) -> None:
    """Before SQLite touches a file that is not ours. Raises Damaged."""
    if path.exists() and not path.with_name(f"{path.name}-wal").exists():
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
        if header and (len(header) < _HEADER.size or _HEADER.unpack(header) != (b"SQLite format 3\0", APPLICATION)):
            raise Damaged("it is no database, or that of another program")
        if path.stat().st_size % PAGE:
            raise Damaged(f"it was cut off: {path.stat().st_size} bytes are no whole pages of {PAGE}")


def _prove(connection: sqlite3.Connection, path: Path, check: bytes) -> None:
    log, frames = path.with_name(f"{path.name}-wal"), -1
    with suppress(sqlite3.OperationalError):  # on a full disk the log stays as it is, for the next opening
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if frames >= 0 and (behind := commits_behind(log, frames)):
        log.rename(f"{log}.torn")  # SQLite removes its log when it closes
        raise Damaged(
            f"its log breaks off after {frames} frames, with {behind} or more acknowledged commits behind the break"
        )
    (application,), (version,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    schema = Tables(connection).schema()
    if not schema and (application, version) == (0, 0):
        if any(Contents(path.parent).names().values()):
            raise Damaged("it is empty, and contents of entries are beside it")
        Tables(connection).create(check)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        sync_folder(path.parent)
        return
    if application != APPLICATION:
        raise Damaged("it is the database of another program")
    if version > VERSION:
        raise StoreError(f"{path}: a spool of version {version}; this fedmed knows {VERSION}: install the newer one again")
    if 0 < version < VERSION:
        _refuse_key(connection, path, check)
        raise Damaged(f"it is of version {version}, and this fedmed writes {VERSION}: what it holds is carried over")
    if schema != _own_schema():
        raise Damaged("its schema is not that of a spool")
    for table in sorted(name for kind, name, _ in schema if kind == "table" and name != UNCHECKED):
        ((said, *_), *_) = connection.execute(f"PRAGMA integrity_check('{table}')").fetchall()
        if said != "ok":
            raise Damaged(f"table {table}: {said}")
    if not Tables(connection).is_in_order():
        raise Damaged("the first of each group is not marked")
    _refuse_key(connection, path, check)


def _refuse_key(connection: sqlite3.Connection, path: Path, check: bytes) -> None:
    if (made_with := Tables(connection).check()) is None:
        raise Damaged("what tells its key is not what was written")
    if made_with != check:
        raise StoreError(
            f"{path}: this spool was made with another key, or with none; start it with the key that it was made with"
        )


def _own_schema() -> set[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        Tables(memory).create(b"")
        return Tables(memory).schema()


def commits_behind(log: Path, frames: int) -> int:
    """Acknowledged commits in a log behind its first `frames` frames, all that SQLite takes to be sound; at least."""
    try:
        with log.open("rb") as file:
            header = file.read(_LOG_HEADER.size)
            if not header:
                return 0
            if len(header) < _LOG_HEADER.size:
                return 1
            magic, _, page, _, *salts, _, _ = _LOG_HEADER.unpack(header)
            size = file.seek(0, os.SEEK_END)
            if magic not in _LOG_MAGIC or page != PAGE:
                return 1
            found = 0
            for place in range(_LOG_HEADER.size + frames * (page + _FRAME.size), size - _FRAME.size, page + _FRAME.size):
                file.seek(place)
                _, commit, *theirs, _, _ = _FRAME.unpack(file.read(_FRAME.size))
                found += bool(commit) and theirs == salts
    except FileNotFoundError:
        return 0
    return max(found - 1, 0)


def translated(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """What SQLite or the system says, as an error of ours."""
    text = str(error)
    if "disk is full" in text or (isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT)):
        return SpoolFull(
            f"{path}: the disk is full; make room on it: nothing that was acknowledged is lost, and work goes on by itself"
        )
    if type(error) is not sqlite3.DatabaseError:  # SQLite's two words for damage come as the bare class
        return StoreError(
            f"{path}: the disk cannot be written or read ({text}); make room or mend it, nothing of this was kept"
        )
    return Damaged(text)
