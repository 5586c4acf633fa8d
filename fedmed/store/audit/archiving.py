"""Closed segments are compressed, and taken away once they are older than retention; their anchors stay for good."""

from __future__ import annotations

import lzma
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import ConfigError, StoreError
from fedmed.identity.member import Identity
from fedmed.store import chain
from fedmed.store.audit import label, reading, segments
from fedmed.store.audit.anchors import Anchor
from fedmed.store.audit.event import event
from fedmed.store.audit.log import AuditLog
from fedmed.store.disk import Disk, replace_file
from fedmed.wire.canonical import canonical

YEARS, LEAST_YEARS = 7.0, 0.5
YEAR_S = 365.2425 * 86_400
KIND, VERSION = "fedmed-audit-anchor", 1


@dataclass(frozen=True)
class Retention:
    """How long what happened can be looked up."""

    years: float = YEARS

    def __post_init__(self) -> None:
        if not math.isfinite(self.years) or self.years < LEAST_YEARS:
            raise ConfigError(
                f"a retention of {self.years:g} years; allowed are {LEAST_YEARS:g} (six months) and more: rules for health "
                f"data ask for that at least, many for six years. Leave it out for {YEARS:g}"
            )

    def is_over(self, anchor: Anchor, now: float) -> bool:
        """Whether even the latest event of a segment is older."""
        return anchor.until + self.years * YEAR_S < now


@dataclass(frozen=True)
class Pruned:
    """What was taken away, and why no more was."""

    segments: tuple[Anchor, ...]
    kept_because: str


def anchor_json(owner: Identity, anchor: Anchor) -> dict[str, Any]:
    """What lies beside an archived segment, so that it is verified without the log."""
    return {"kind": KIND, "version": VERSION, "owner": label.identity_json(owner), "anchor": anchor.as_json()}


def archive(folder: Path, to: Path | None = None, disk: Disk | None = None) -> list[Path]:
    """Compress every closed segment, in its folder or in another one; returns the new files.

    A segment's file goes only once what was compressed was read back and is the same. Raises StoreError.
    """
    disk, done, opened = disk or Disk(), [], reading.opened(folder, to)
    target = folder if to is None else to
    try:
        disk.make_folder(target)
        for anchor in opened.anchors.kept:
            plain = segments.path_of(folder, anchor.start)
            if plain.exists():
                done.append(_compressed(disk, plain, target, opened.owner, anchor))
    except OSError as error:
        raise StoreError(
            f"{target}: a segment cannot be archived ({error.strerror or error}); those that were not stay as they are"
        ) from error
    return done


def prune(log: AuditLog, who: str, now: float, retention: Retention, archived_in: Path | None = None) -> Pruned:
    """Take away archived segments that are older than retention, the oldest first; the log itself tells of it.

    `who`: the person who asked for it. Raises StoreError.
    """
    folder, gone = log.folder, []
    opened = reading.opened(folder, archived_in)
    _sweep(folder, opened, archived_in)
    reason = "none is closed" if not opened.anchors.kept else "all that were closed are gone"
    for anchor in opened.anchors.kept:
        name = segments.path_of(folder, anchor.start).name
        if not retention.is_over(anchor, now):
            reason = f"{name} is not {retention.years:g} years old"
            break
        if segments.path_of(folder, anchor.start).exists():
            reason = f"{name} is old enough, and not archived; archive it first"
            break
        segments.lines_of(folder, anchor, archived_in)  # what is damaged is looked at by people first
        why = f"older than {retention.years:g} years"
        log.append(event(now, who, "operator", "prune", name, reason=why, segment=anchor.start, number=anchor.size))
        log.forget(anchor.start)
        gone.append(anchor)
    _sweep(folder, reading.opened(folder, archived_in), archived_in)
    return Pruned(tuple(gone), reason)


def _compressed(disk: Disk, plain: Path, target: Path, owner: Identity, anchor: Anchor) -> Path:
    path = target / segments.archived(plain).name
    content = b"".join(segments.content_of(plain, anchor))
    replace_file(disk, segments.anchor_beside(path), canonical(anchor_json(owner, anchor)) + b"\n")
    replace_file(disk, path, lzma.compress(content))
    segments.content_of(path, anchor)
    for old in (plain, chain.head_of(plain)):
        if old.exists():
            disk.remove(old)
    disk.sync_folder(plain.parent)
    return path


def _sweep(folder: Path, opened: reading.Opened, archived_in: Path | None) -> None:
    """Remove the files of segments that the log says are taken away."""
    for anchor in opened.anchors.closed:
        if anchor.start in opened.anchors.pruned:
            for place in {folder, archived_in or folder}:
                path = segments.archived(segments.path_of(place, anchor.start))
                for file in (path, segments.anchor_beside(path)):
                    try:
                        file.unlink(missing_ok=True)
                    except OSError as error:
                        raise StoreError(f"{file} cannot be removed ({error.strerror}); remove it by hand") from error
