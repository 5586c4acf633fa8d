"""What of the clinic's studies is in the archive: one SQLite file, its rows sealed with the archive's key; in clear are
names of packs, how many images each has, where it stands.

It is for lists and for what a crash left. Losing it loses nothing: packs tell themselves what they hold.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from fedmed.privacy.atrest import AtRest
from fedmed.privacy.keys import derived
from fedmed.store.journal import Journal
from fedmed.wire.canonical import canonical

_MADE = (
    "CREATE TABLE IF NOT EXISTS packs (name TEXT PRIMARY KEY, study TEXT NOT NULL, standing TEXT NOT NULL, "
    "objects INTEGER NOT NULL, row BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS of_study ON packs (study)",
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID",
)
_MARK = "mark"


class Standing(Enum):
    """Where the objects of a pack are."""

    LEAVING = "leaving"
    """There, whole and verified; those here are being removed."""
    AWAY = "away"
    """There alone."""
    COMING = "coming"
    """There; some may be here already."""
    BOTH = "both"
    """There, and recalled."""


@dataclass(frozen=True)
class Shelved:
    """One pack."""

    name: str
    study: str
    objects: int
    bytes: int
    came: float
    """When its newest object had come, seconds since 1970."""
    moved: float
    """When it was put into the archive, or found there."""
    standing: Standing


class Index:
    """Safe from any thread and process, and after a kill at any moment: a commit is on the disk."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Raises StoreError for a file that is no such database, or that cannot be written."""
        self._rest, self._naming = AtRest(key, "index of the archive"), derived(key, "studies in the index of the archive")
        self._journal = Journal(path, _MADE, "make room, mend the disk, or remove it: it is made anew")

    def rows(self) -> list[Shelved]:
        """All packs, those that came first first. Raises StoreError."""
        return self._found("")

    def of_study(self, study: str) -> list[Shelved]:
        """The packs of a study. Raises StoreError."""
        return self._found("WHERE study = ?", self._keyed(study))

    def beginning(self, name: str) -> list[Shelved]:
        """The packs whose names begin so. Raises StoreError."""
        return self._found("WHERE substr(name, 1, ?) = ?", len(name), name)

    def unsettled(self) -> list[Shelved]:
        """Those that a process was about to move, or is. Raises StoreError."""
        return self._found("WHERE standing IN (?, ?)", Standing.LEAVING.value, Standing.COMING.value)

    def away(self) -> int:
        """How many objects are there alone. Raises StoreError."""
        with self._journal.turn() as base:
            asked = "SELECT coalesce(sum(objects), 0) FROM packs WHERE standing = ?"
            return int(base.execute(asked, (Standing.AWAY.value,)).fetchone()[0])

    def names(self) -> set[str]:
        """The names of all packs. Raises StoreError."""
        with self._journal.turn() as base:
            return {name for (name,) in base.execute("SELECT name FROM packs")}

    def put(self, rows: Sequence[Shelved]) -> None:
        """These stand so now, all or none, on the disk when this returns. Raises StoreError."""
        made = [
            (row.name, self._keyed(row.study), row.standing.value, row.objects, self._closed(row.name, _said(row)))
            for row in rows
        ]
        with self._journal.step() as base:
            base.executemany("INSERT OR REPLACE INTO packs VALUES (?, ?, ?, ?, ?)", made)

    def mark(self) -> str | None:
        """Which archive this is the index of; None where it was never told. Raises StoreError."""
        with self._journal.turn() as base:
            found = base.execute("SELECT row FROM about WHERE name = ?", (_MARK,)).fetchone()
        return None if found is None else self._rest.opened(_MARK, found[0]).decode()

    def set_mark(self, mark: str) -> None:
        """Be the index of this archive. Raises StoreError."""
        sealed = b"".join(self._rest.closed(_MARK, [mark.encode()]))
        with self._journal.turn() as base:
            base.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (_MARK, sealed))

    def close(self) -> None:
        """Be done with the file."""
        self._journal.close()

    def _found(self, where: str, *given: object) -> list[Shelved]:
        with self._journal.turn() as base:
            found = base.execute(f"SELECT name, row FROM packs {where}", given).fetchall()
        return sorted((self._row(*each) for each in found), key=lambda row: (row.came, row.study, row.name))

    def _keyed(self, study: str) -> str:
        return hmac.new(self._naming, study.encode(), hashlib.sha256).hexdigest()

    def _closed(self, name: str, said: object) -> bytes:
        return b"".join(self._rest.closed(name, [canonical(said)]))

    def _row(self, name: str, row: bytes) -> Shelved:
        said = json.loads(self._rest.opened(name, row))
        return Shelved(**{**said, "standing": Standing(said["standing"])})


def _said(row: Shelved) -> dict[str, object]:
    return {**asdict(row), "standing": row.standing.value}
