"""What a spool holds, and what may be put into it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedmed.errors import DataError, StoreError
from fedmed.wire.canonical import canonical
from fedmed.wire.words import count

INSTANCE, SERIES, RESULT, STUDY, UPDATE = KINDS = ("instance", "series", "result", "study", "update")
"""An image as it came; one that waits for the rest of its series, or a note of what was told of that; what the model said; a
de-identified image for the hub; a device's partial update."""
REAL_TIME, SOON, USUAL, LATER = 40, 30, 20, 10
"""Priorities that the agent uses; higher is more urgent, and from REAL_TIME on somebody waits beside the patient."""
MOST_CONTENT = 512 << 20
"""Bytes of one entry; SQLite itself ends at 10^9."""
MOST_FACTS = 64 << 10
MOST_GROUP = 256
MOST_PRIORITY = 1000


class SpoolFull(StoreError):
    """There is no room, by the quota or on the disk: nothing of this was kept, and trying later may help."""


@dataclass(frozen=True)
class Entry:
    """One piece of work on the disk."""

    number: int
    """Ascending in the order of putting; never used twice."""
    digest: str
    """SHA-256 of the content, hexadecimal."""
    kind: str
    group: str
    """Whose order is kept, such as a study: within a kind, one entry of a group after the other."""
    priority: int
    facts: Mapping[str, Any]
    size: int
    """Bytes of the content."""
    unix: float
    """When it was put, seconds since 1970."""


@dataclass(frozen=True)
class New:
    """What is to be put; `facts` are JSON."""

    kind: str
    group: str
    priority: int
    facts: Mapping[str, Any]
    content: bytes = field(repr=False)

    def checked(self) -> bytes:
        """The facts as canonical JSON. Raises DataError where anything is not what a spool holds."""
        if self.kind not in KINDS:
            raise DataError(f"an entry of kind {self.kind!r}; a spool holds {', '.join(KINDS)}")
        if not self.group or len(self.group) > MOST_GROUP:
            raise DataError(f"a group of {len(self.group)} letters; name one with 1 to {MOST_GROUP}")
        if abs(self.priority) > MOST_PRIORITY:
            raise DataError(f"a priority of {self.priority}; allowed is {-MOST_PRIORITY} to {MOST_PRIORITY}")
        if len(self.content) > MOST_CONTENT:
            raise DataError(f"a content of {len(self.content)} bytes; the most is {MOST_CONTENT}: split it")
        try:
            facts = canonical(dict(self.facts))
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(
                f"the facts of an entry of {self.group[:80]} are no JSON ({error}); give plain values"
            ) from error
        if len(facts) > MOST_FACTS:
            raise DataError(f"facts of {len(facts)} bytes; the most is {MOST_FACTS}: put what is long into the content")
        return facts

    @property
    def digest(self) -> str:
        """SHA-256 of the content, hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Put:
    """What became of a `New`: the entry that holds its content, and whether that is a new one.

    Where the content was finished with before, `entry` carries the number that it had then.
    """

    entry: Entry
    is_new: bool


@dataclass(frozen=True)
class Counts:
    """What a spool holds, and what it had to let go since it was made."""

    entries: Mapping[str, int]
    """By kind; all kinds are there."""
    bytes: Mapping[str, int]
    """Of content, by kind."""
    used: int
    """Bytes that count against the quota: what the entries take on the disk."""
    deferred: Mapping[str, int]
    """Groups that wait, by the reason that was given."""
    dropped: Mapping[str, int]
    """Entries by reason, since the spool was made."""
    dropped_bytes: int
    untold: int
    """Drops that nobody has taken note of yet; told again at the next change."""
    oldest: float | None
    """When the oldest entry was put, seconds since 1970."""


@dataclass(frozen=True)
class Rescue:
    """What was found damaged when a spool was opened, and what of it could be read."""

    aside: Path
    """Where the damaged files are now."""
    why: str
    kept: int
    """Entries that are in the new spool, each with the content it was put with."""
    lost: int
    """Entries that were seen there and could not be read; counted among the dropped as `damaged`."""
    loose: int = 0
    """Contents that no entry names any more; they are with the damaged files."""

    def __str__(self) -> str:
        kept = count(self.kept, "entry was", "entries were")
        loose = f"{count(self.loose, 'content has', 'contents have')} no entry any more; " if self.loose else ""
        return (
            f"the spool was damaged ({self.why}): {kept} rescued, {self.lost} known to be lost; {loose}the damaged files "
            f"are in {self.aside}: keep them for whoever mends the disk, or remove them"
        )
