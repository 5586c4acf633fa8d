"""What left a site: one line a thing, chained by digests, synced before anything is let go.

A ledger is a JSONL file. Each line is `{"body": {...}, "before": sha256 of the line before}`; beside it, `NAME.head` holds
how many lines there are and the digest of the last one, so that a ledger cut short at a line's end is found as well. Who may
write both files can rewrite history: the chain shows accidents and clumsy hands; against the rest, keep the head
elsewhere too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.store.locks import alone
from fedmed.store.syncing import sync_folder
from fedmed.wire.canonical import canonical
from fedmed.wire.tensors import sha256

FIRST = "0" * 64  # what comes before the first line
MAX_BYTES = 1024**3


@dataclass(frozen=True)
class Entry:
    """One thing that left the site."""

    what: str
    sha256: str
    """Of the statement's text as it was sent."""
    dataset: str
    """Version of the data set that it tells of: a digest."""
    pipeline: str
    purpose: str
    """The run, in words."""
    approved: str
    """Who let it go."""
    unix: float
    """Seconds since 1970."""
    statement: str
    """What was sent, whole, so that the same question has the same answer."""


class Ledger:
    """The ledger of one site; verified whenever it is opened."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError, naming the line, where the ledger is not what was written."""
        self.path = path
        self.entries = verify(path)

    def find(self, what: str, dataset: str, pipeline: str) -> Entry | None:
        """The entry of what was sent before of this version under this pipeline."""
        wanted = (what, dataset, pipeline)
        return next((e for e in self.entries if (e.what, e.dataset, e.pipeline) == wanted), None)


def once(
    path: Path, clock: Clock, key: tuple[str, str, str], purpose: str, make: Callable[[], tuple[str, str] | None]
) -> str | None:
    """The statement `(what, dataset, pipeline)`: the recorded one, or a new one that is recorded before it is returned.

    `make` returns the statement and who approved it, or None where it may not leave; it is asked at most once in the life
    of the ledger for what is then recorded. Raises StoreError where the ledger is damaged or cannot be written: nothing
    may leave then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.with_name(f".{path.name}.lock")):
            ledger = Ledger(path)
            if (found := ledger.find(*key)) is not None:
                return found.statement
            made = make()
            if made is None:
                return None
            statement, approved = made
            digest = sha256(statement.encode())
            _append(ledger, Entry(key[0], digest, key[1], key[2], purpose, approved, clock.unix(), statement))
            return statement
    except OSError as error:
        raise StoreError(
            f"the ledger {path} cannot be written ({error.strerror or error}); nothing leaves without it"
        ) from error


def verify(path: Path) -> list[Entry]:
    """The entries, every digest checked. Raises StoreError saying which line is wrong and how."""
    count, last = _head(path)
    lines = _lines(path)
    whole, before, entries = [line for line in lines if line.endswith(b"\n")], FIRST, []
    if len(whole) < count:
        raise StoreError(f"{path} has {len(whole)} lines; {count} were written: it has been cut short")
    for number, line in enumerate(whole, 1):
        entry, link = _entry(path, number, line)
        if link != before:
            raise StoreError(
                f"{path}, line {number}: it does not follow the line above; one was changed, moved or taken out"
            )
        before = sha256(line)
        if number == count and before != last:
            raise StoreError(f"{path}, line {number}: it is not the last line that was written; it has been changed")
        entries.append(entry)
    return entries


def _entry(path: Path, number: int, line: bytes) -> tuple[Entry, str]:
    try:
        read: dict[str, Any] = json.loads(line)
        entry = Entry(**read["body"])
        link = str(read["before"])
        sound = sha256(entry.statement.encode()) == entry.sha256 and canonical(read) + b"\n" == line
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{path}, line {number}: it cannot be read ({type(error).__name__}); it has been changed"
        ) from error
    if not sound:
        raise StoreError(f"{path}, line {number}: it does not have the digest it was written with; it has been changed")
    return entry, link


def _lines(path: Path) -> list[bytes]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StoreError(f"{path} has more than {MAX_BYTES} bytes; it is not a ledger of ours")
        return path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error})") from error


def _head_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def _head(path: Path) -> tuple[int, str]:
    try:
        count, last = _head_of(path).read_text(encoding="ascii").split()
        return int(count), last
    except FileNotFoundError:
        return 0, FIRST
    except (OSError, ValueError) as error:
        raise StoreError(f"{_head_of(path)} cannot be read ({type(error).__name__}); put the copy of it back") from error


def _append(ledger: Ledger, entry: Entry) -> None:
    """Write a line, then the head. What a kill left half written was never let go, and is cut off."""
    whole = [line for line in _lines(ledger.path) if line.endswith(b"\n")]
    line = canonical({"before": sha256(whole[-1]) if whole else FIRST, "body": asdict(entry)}) + b"\n"
    with ledger.path.open("ab") as file:
        file.truncate(sum(map(len, whole)))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    temporary = _head_of(ledger.path).with_name(f".{ledger.path.name}.head")
    with temporary.open("wb") as file:
        file.write(f"{len(whole) + 1} {sha256(line)}".encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(_head_of(ledger.path))
    sync_folder(ledger.path.parent)
